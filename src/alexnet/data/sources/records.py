"""Files of equally long records, as the small classical data sets are published."""

import struct
from collections.abc import Iterator

import numpy as np

from alexnet.data.sources.entry import Skipped
from alexnet.data.sources.reader import DamagedError, Reader


def records(
    reader: Reader, size: int, count: int | None, split: str, name: str
) -> Iterator[np.ndarray | Skipped]:
    """`count` records of `size` bytes as uint8, or as many as there are; then what is missing."""
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


def integers(reader: Reader, layout: str) -> tuple[int, ...]:
    """A few numbers as `struct` names them; DamagedError where the file ends before."""
    return struct.unpack(layout, reader.exactly(struct.calcsize(layout)))
