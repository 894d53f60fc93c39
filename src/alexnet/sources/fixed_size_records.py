"""Files of equally long records, as the small classical data sets are published."""

import struct
from collections.abc import Iterator

import numpy as np

from alexnet.sources.entry import Skipped
from alexnet.sources.limits import LARGEST_RECORD, LARGEST_TABLE
from alexnet.sources.reader import DamagedError, ForwardReader


def records(
    reader: ForwardReader, size: int, count: int | None, split: str, name: str
) -> Iterator[np.ndarray | Skipped]:
    """`count` records of `size` bytes as uint8, or as many as there are; then what is missing.

    Raises ValueError for records that are too large to be images of such a data set.
    """
    check_size(size, name)
    done = 0
    try:
        while done != count and len(content := reader.read(size)) == size:
            yield np.frombuffer(content, np.uint8)
            done += 1
    except DamagedError as damage:
        yield Skipped(split, name, "truncated_archive", f"{damage}, after {done:,} images")
        return
    if done != count and (content or count is not None):
        wanted = "a whole number of" if count is None else f"{count:,}"
        detail = f"{wanted} images of {size:,} bytes expected, the file ends after {done:,}"
        yield Skipped(split, name, "truncated_archive", detail)


def check_size(size: int, name: str) -> None:
    """Raise ValueError if records of `size` bytes are too large for such a data set."""
    if size > LARGEST_RECORD:
        raise ValueError(
            f"{name} says that each of its images has {size:,} bytes: at most {LARGEST_RECORD:,} "
            "are read"
        )


def table(reader: ForwardReader, size: int, name: str) -> bytes:
    """`size` bytes, or as many as there are. Raises ValueError if that is too large a table."""
    if size > LARGEST_TABLE:
        raise ValueError(
            f"{name} says that it has {size:,} bytes of labels: at most {LARGEST_TABLE:,} are read"
        )
    try:
        return reader.read(size)
    except DamagedError:
        return b""


def integers(reader: ForwardReader, layout: str) -> tuple[int, ...]:
    """A few numbers as `struct` names them; DamagedError where the file ends before."""
    return struct.unpack(layout, reader.exactly(struct.calcsize(layout)))
