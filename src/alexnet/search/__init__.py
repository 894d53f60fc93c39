"""Features of images, kept in an index, and the images whose features are nearest to a query's.

Section 6.1 of the paper: if two images produce activations with a small Euclidean distance in the
last hidden layer, the network considers them similar. This is the whole format of an index of N
images with features of D numbers:

    INDEX/
      index.json            the metadata (`schema.IndexMetadata`); written last, so a folder
                            without it is not a finished index
      features-00000.npy    float16 or float32  (n, D)   features of n images in order, one row each
      features-00001.npy    …
      labels.npy            int64  (N,)   index into `classes` of index.json; −1: no label
      names.txt             N lines of UTF-8: path in the source, escaped as in a pack

The images are those of one or more splits of a pack, split after split, each in the order of the
pack. A shard holds images of one split. Every .npy file has a header of exactly 128 bytes, as in
a pack, and may be memory-mapped. index.json holds a CRC-32 of every file, the SHA-256 of the
checkpoint whose network made the features, and the checksum of the pack.

    schema      the fields of index.json and what they may hold
    index       opens an index: `open_index`, `FeatureIndex`
    writing     computes features and writes the files of an index, resumably
    build       makes an index of a run and a pack: `build_index`
    distances   distances from direct differences; the nearest of some candidates
    bounds      how far the distances of a matrix product can be off
    exact       the nearest rows, exactly: `ExactSearch`
    similar     the images of an index that are most similar to others: `SimilarImages`

Nothing in this folder may import `show`, `screen` or a command.
"""
