"""From the bytes of an image file to a record, for packing, prediction and evaluation alike.

A record is one image as uint8 of one fixed size (see `records`). Every record of the package is
made by `preparation.prepare`, so a network gets the same bytes in training, evaluation and
prediction.

How the parts work together, for one image:

    Entry (sources)          the image: a file, a part of an archive, bytes, or pixels
      │
      │   preparation        read it, call the others, return a PreparationResult; raises nothing
      ▼
    encoded bytes ──► decoding ──┬── jpeg      the usual JPEGs, by simplejpeg
                                 └── pillow    everything else, by Pillow
                                       │  heif         HEIF, by pillow-heif
                                       │  modes        Pillow's modes → RGB
                                       │  orientation  EXIF orientation
                                       └  memory       limits on pixels and bytes
      ▼
    pixels, uint8 (H, W, 3) ──► resizing ──► (size, size, 3) ──► records ──► record

Many images are decoded in separate processes, so that bytes that crash or hang a decoder affect
only one image:

    decoder_pool      groups of processes, kept between the calls of a classifier
      └ decoder_group      the processes of one pass over many images, results in order
          └ decoder_process     one process as its parent sees it: shared memory, pipe, restarts
              └ decoder_program      what runs inside that process: calls `preparation.prepare`

`decoded` has the result and the error of a decoder, `compilation` compiles the loops of `resizing`
and `records` with Numba, and `png` writes PNG files.

Nothing here imports torch: the decoding processes must start fast and stay small.
"""
