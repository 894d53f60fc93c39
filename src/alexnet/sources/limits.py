"""Limits on the sizes that a file may claim before memory is allocated for it.

Every size that a file claims is compared with these limits, and with the size of the file, before
memory is allocated. All modules that read sources import them from here. Together they bound the
memory of `alexnet pack` for any input: see `PACKING_MEMORY`.
"""

PACKING_MEMORY = 1 << 31
"""Bytes that the packing process and the memory shared with its decoding processes stay below, for
any source. In addition, each decoding process takes one encoded file (`LARGEST_FILE`), the memory
of its decoder, and sixteen records of the requested size. A test packs hostile sources and measures
the memory."""

LARGEST_FILE = 1 << 30
"""Bytes of an image file; larger ones are not read."""

LARGEST_MEMBER = 1 << 28
"""Bytes of a member of an archive; one that claims more is not read."""

IN_FLIGHT = 1 << 28
"""Bytes of the images that wait in memory to be packed (encoded ones from compressed archives, and
pixels). At this limit, no further image is taken from the source."""

LONGEST_NAME = 4096
"""Characters of a path in an archive or a list, or of a class; Linux opens no longer paths."""

MOST_NAMES = 1 << 20
"""Folders that are read, names of an archive's folders, or classes of a list."""

MOST_LISTED = 1 << 22
"""Files of a folder and of the folders that contain it, whose names are in memory at a time."""

MOST_CHARACTERS = 1 << 26
"""Characters of all those names together."""

MOST_IMAGES = 1 << 24
"""Images named in one archive or list: finding repeated names takes eight bytes per image."""

LARGEST_DICTIONARY = 1 << 27
"""Bytes that decompressing xz may take; `xz -9` takes 65 MiB."""

LARGEST_TABLE = 1 << 26
"""Bytes of labels in one file of MNIST or small NORB."""

LARGEST_RECORD = 1 << 22
"""Bytes of one image in a file of fixed-size records."""

LARGEST_TEXT = 1 << 24
"""Bytes of a file in a development kit; the published ones have about a million."""

LONGEST_LINE = 1 << 20
"""Characters of a line in a CSV or JSONL file."""
