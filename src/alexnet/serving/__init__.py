"""The web page and the HTTP API of `alexnet serve`: a trained network for a browser and programs.

How the parts work together, for one image that a client posts to /v1/predict:

    server    listens, closes idle connections, shuts down at a signal
      │
    guard     refuses foreign hosts and cross-site requests, adds security headers, counts
      │
    app       which handler answers which path; errors as JSON
      │
    handlers  what each path does
      ├ query     reads the parameters
      ├ body      receives the image's bytes: limits on type, size, time and total memory
      │
    service   admits a bounded number of images, the others are told to come back (503)
      ├ decoding: threads that each hand one image at a time to a guarded process (images)
      │
    batcher   one thread; collects the records of a few milliseconds into a batch
      │
    forward   one forward pass per batch → probabilities, features, and what explains them
      │
    pictures  crop, heat map and first-layer responses as PNG files

`neighbors` finds the nearest images in an index, `metrics` writes Prometheus text, `openapi`
describes the API, `limits` has every number that bounds a request, and `static/` holds the page:
HTML, CSS and JavaScript as they are served, without a build step and without outside assets.

`commands.serve` calls `server.serve`. Nothing here makes outgoing requests, and nothing imports
`show`.
"""
