"""Files of records of one size, as CIFAR, MNIST and small NORB are published.

    header (not in CIFAR) │ record 0 │ record 1 │ record 2 │ …       each of `size` bytes

`cifar`, `mnist` and `norb` call these functions. (The records of a pack are another thing: see
`images.records`.)
"""

import struct
from collections.abc import Iterator

import numpy as np

from alexnet.sources.entry import Skipped
from alexnet.sources.limits import LARGEST_RECORD, LARGEST_TABLE
from alexnet.sources.reader import DamagedError, ForwardReader


def read_records(
    reader: ForwardReader, size: int, count: int | None, split: str, name: str
) -> Iterator[np.ndarray | Skipped]:
    """Yield `count` records of `size` bytes as uint8 arrays, or all records if `count` is None.

    If the file is truncated or damaged, the last item is a Skipped (truncated_archive) of `split`
    that names the file. Raises ValueError for records that are too large for such a data set.
    """
    check_record_size(size, name)
    done = 0
    try:
        while done != count and len(content := reader.read(size)) == size:
            yield np.frombuffer(content, np.uint8)
            done += 1
    except DamagedError as damage:
        yield Skipped(split, name, "truncated_archive", f"{damage}, after {done:,} images")
        return
    if done != count and (content or count is not None):
        expected = "a whole number of" if count is None else f"{count:,}"
        detail = f"{expected} images of {size:,} bytes expected, the file ends after {done:,}"
        yield Skipped(split, name, "truncated_archive", detail)


def check_record_size(size: int, name: str) -> None:
    """Raise ValueError if records of `size` bytes are too large for such a data set."""
    if size > LARGEST_RECORD:
        raise ValueError(
            f"{name} says that each of its images has {size:,} bytes: at most {LARGEST_RECORD:,} "
            "are read"
        )


def read_label_bytes(reader: ForwardReader, size: int, name: str) -> bytes:
    """Read `size` bytes of labels, or as many as there are; none if the file is damaged.

    Raises ValueError if the file claims more than LARGEST_TABLE bytes of labels.
    """
    if size > LARGEST_TABLE:
        raise ValueError(
            f"{name} says that it has {size:,} bytes of labels: at most {LARGEST_TABLE:,} are read"
        )
    try:
        return reader.read(size)
    except DamagedError:
        return b""


def read_integers(reader: ForwardReader, layout: str) -> tuple[int, ...]:
    """Read a few numbers, in a layout of the `struct` module; DamagedError if the file ends."""
    return struct.unpack(layout, reader.read_exactly(struct.calcsize(layout)))
