"""From the bytes of an image file to a record: what packing, predicting and evaluating share.

A record is one image as a network reads it: uint8 of one fixed size (see `records`). Every record
of the package is made by `preparation.prepare`, so a network is shown the same bytes in training,
evaluation and prediction.

How the parts work together, for one image:

    Entry (sources)          where the image is: a file, a part of an archive, bytes, or pixels
      │
      │   preparation        read it, call the others, return a PreparationResult; raises nothing
      ▼
    encoded bytes ──► decoding ──┬── jpeg      the usual JPEGs, by simplejpeg
                                 └── pillow    everything else, by Pillow
                                       │  modes        Pillow's modes → RGB
                                       │  orientation  EXIF orientation
                                       └  memory       limits on pixels and bytes
      ▼
    pixels, uint8 (H, W, 3) ──► resizing ──► (size, size, 3) ──► records ──► record

and for many images, in processes of their own, so that bytes that crash or hang a decoder cost one
image and nothing else:

    decoder_pool      groups of processes, kept between calls: for a classifier that is asked again
      └ decoder_group      the processes of one pass over many images, results in order
          └ decoder_process     one process as its parent sees it: shared memory, pipe, restarts
              └ decoder_program      what runs inside that process: calls `preparation.prepare`

`decoded` holds what a decoder returns or raises, `compilation` compiles the loops of `resizing` and
`records` with Numba, and `png` writes PNG files.

Nothing here imports torch: the decoding processes must start fast and stay small.
"""
