"""The pack: a folder of decoded images of one size, opened, described and checked here.

This is the whole format. `size` is S, the number of images of a split is N, and each shard holds
at most `shard_images` records, so that its size is about 512 MiB.

    PACK/
      pack.json           the metadata (`schema.PackMetadata`); written last, so a folder
                          without it is not a finished pack
      mean.npy            float32  (S, S, 3)        mean of the training images, RGB
      skipped.jsonl       one object per image that was not used: split, path, reason, detail
      duplicates.jsonl    one object per image that also occurs in an earlier split
      train/              one folder per split, named as in the source
        images-00000.npy  uint8    (n, S, S, 3)     a shard of `rgb` records, or
                          uint8    (n, S·S·3/2)     a shard of `yuv420` records
        images-00001.npy  …
        labels.npy        int64    (N,)             index into `classes`; −1: no label
        names.txt         N lines of UTF-8          path in the source, escaped by `escape`
        origins.npy       uint64   (N, 14)          the file of each image: `packing.origins`
      version-2/          of a pack that was updated: all of the above but pack.json, which names
                          this folder; that of the version before is gone

Every .npy file has a header of exactly 128 bytes, so that its shape can be corrected in place and
its records can be memory-mapped. pack.json holds a CRC-32 of every file but the two .jsonl lists, a
`checksum` of everything a training depends on, and a digest of its own fields. It also holds a
`chain` per split: a digest of the items of the source in order, each hashed together with the
digest before it. Equal chains mean that the source is unchanged.

    pack               opens a pack: `open_pack`, `Pack`, `Split`
    checked_files      its arrays and names, checked before they are used
    schema             the fields of pack.json and their valid values; checksums of metadata
    statistics         the mean image and the color components, from exact integer sums
    summary            a pack described in words, and a contact sheet
    balance            uneven classes, counted
    unused             files that were not used, by kind, with advice
    verification       every byte of a pack compared with its metadata
    background_check   the same checksums, compared in a thread during training and evaluation
    samples            a few images of a pack, kept in the folder of a run

`alexnet.packing` makes packs. Nothing in this folder may import it.
"""
