"""Errors of trained networks: counting, averaging over networks, saving, submitting.

Top-1 and top-5 error are the shares of the images whose label is not the most probable class, or
not among the five most probable classes.

* `counts`: probabilities of views, ranks of labels, and the counting of errors on a split.
* `confusion`: confusion matrices; precision, recall and F1 of each class.
* `measured_pack`: the pack that a run is measured on; images that are not a pack are packed first.
* `scores`: the errors of one run on one split, and the `scores.json` that holds them.
* `ensemble`: averages of the probabilities of several networks, with weights.
* `submission`: the text file for the ILSVRC challenge.

Training counts validation errors with `counts`; exporting, claims and the command line use all of
it. This folder must not import any of them.
"""
