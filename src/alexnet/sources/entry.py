"""What every source of labeled images yields: images to read, and files that are not used."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.sources.regular_files import open_regular

UNLABELED = -1


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes inside an uncompressed archive: `size` of them from byte `offset` of `path`."""

    path: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """The bytes; fewer than `size` of them where the file has been cut since."""
        with open_regular(self.path) as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass(frozen=True, slots=True)
class Entry:
    """One image: its split, its name in the source, its label and where its content is.

    The name is relative, separated by "/" and unique in the source. The label is an index into
    the classes of the source, or −1. The content is a file, a slice of a file, encoded bytes
    (compressed archives cannot be sliced), or pixels: uint8, H W or H W 3.
    """

    split: str
    name: str
    label: int
    content: Path | Span | bytes | np.ndarray


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something in the source that is not used: its name, a short reason and the detail of it."""

    split: str
    name: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Source:
    """Labeled images that were found somewhere: their classes, their splits, and the images."""

    kind: str
    path: Path
    classes: tuple[str, ...]
    wordnet_ids: tuple[str, ...] | None
    splits: tuple[str, ...]
    remarks: tuple[str, ...]  # what a person should know of the whole source, in sentences
    native_size: int | None  # pixels a side where all images share it; None for photographs
    stream: Callable[[str], Iterator[Entry | Skipped]] = field(repr=False, compare=False)
    division: dict[str, Any] | None = None
    """What decides which images are held out for validation; None where none are."""

    def entries(self, split: str) -> Iterator[Entry | Skipped]:
        """Everything in one split, used or not, in an order that is the same at every call."""
        if split not in self.splits:
            known = ", ".join(self.splits)
            raise ValueError(f"no split {split!r} in {self.path}: name one of {known}")
        return self.stream(split)
