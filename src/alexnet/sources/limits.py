"""What is believed of a source before memory is taken for it.

Every size that a file claims is compared with these limits, and with what is there, before memory
is taken. Whoever reads a source imports them from here. Together they bound the memory of
`alexnet pack` whatever it is given: see `PACKING_MEMORY`.
"""

PACKING_MEMORY = 1 << 31
"""Bytes: the packing process and the memory that it shares with its decoding processes stay below
this, whatever the source. Each decoding process takes one encoded file (`LARGEST_FILE`) and what
its decoder needs in addition; sixteen records of the size that was asked for come to each. A test
packs hostile sources and measures."""

LARGEST_FILE = 1 << 30
"""Bytes of an image file: a larger one is not read."""

LARGEST_MEMBER = 1 << 28
"""Bytes: a member of an archive that claims more is not read."""

IN_FLIGHT = 1 << 28
"""Bytes: encoded images from compressed archives, and pixels, that wait to be packed. When these
are reached, no further image is taken."""

LONGEST_NAME = 4096
"""Characters of a path in an archive or a list, or of a class; Linux opens no longer ones."""

MOST_NAMES = 1 << 20
"""Folders that are read, names of an archive's folders, or classes of a list."""

MOST_LISTED = 1 << 22
"""Files of one folder, and of those around it, whose names are sorted at a time."""

MOST_CHARACTERS = 1 << 26
"""Characters of all those names together."""

MOST_IMAGES = 1 << 24
"""Images named in one archive or list: repeated names are found by eight bytes an image."""

LARGEST_DICTIONARY = 1 << 27
"""Bytes that decompressing xz may take; `xz -9` takes 65 MiB."""

LARGEST_TABLE = 1 << 26
"""Bytes of labels in one file of MNIST or small NORB."""

LARGEST_RECORD = 1 << 22
"""Bytes of one image in a file of equally long records."""

LARGEST_TEXT = 1 << 24
"""Bytes of a file in a development kit; the published ones have about a million."""

LONGEST_LINE = 1 << 20
"""Characters of a line in a CSV or JSONL file."""
