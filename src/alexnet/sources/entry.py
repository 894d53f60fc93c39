"""The items that every source yields: `Entry` (an image) and `Skipped` (a file that is not used).

`open_source` returns a `Source`. Packing, evaluation and prediction use all three; `images` reads
the content of an Entry.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.sources.regular_files import open_regular

UNLABELED = -1
"""The label of an image without one: test images of the challenge, and images to predict."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of an uncompressed archive: `size` bytes from byte `offset` of the file `path`."""

    path: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """Read the bytes; fewer than `size` if the file has become shorter in the meantime."""
        with open_regular(self.path) as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass(frozen=True, slots=True)
class Entry:
    """One image: its split, its name in the source, its label and its content.

    The name is relative, with "/" as the separator, and unique in the source. The label is an index
    into the classes of the source, or UNLABELED. The content is a file, a part of an archive,
    encoded bytes (from a compressed archive, which can only be read sequentially), or pixels: uint8
    of shape (H, W) or (H, W, 3).
    """

    split: str
    name: str
    label: int
    content: Path | Span | bytes | np.ndarray


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that is not used: its name, the reason as one word, and details."""

    split: str
    name: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Source:
    """Labeled images: their classes, their splits, and a stream of the images of each split."""

    kind: str
    """Which kind of source it is: folder, list, ilsvrc2012, cifar10, mnist, …"""
    path: Path
    classes: tuple[str, ...]
    """Names of the classes; a label is an index into them."""
    wordnet_ids: tuple[str, ...] | None
    """The WordNet id of each class, if they are known."""
    splits: tuple[str, ...]
    """The splits of the source: some of "train", "val" and "test"."""
    remarks: tuple[str, ...]
    """Sentences about the whole source, which packing prints."""
    native_size: int | None
    """Width and height in pixels if all images have the same; None for photographs."""
    stream: Callable[[str], Iterator[Entry | Skipped]] = field(repr=False, compare=False)
    """Yields everything in a split; call `entries`, which checks the name of the split."""
    division: dict[str, Any] | None = None
    """The rule by which images are held out for validation (`holdout`); None if none are."""
    evaluation_split: str = ""
    """If the source has no validation images and is only to be measured: the split to measure."""

    def entries(self, split: str) -> Iterator[Entry | Skipped]:
        """Yield everything in one split, used or not, in an order that is the same at every call.

        Raises ValueError if there is no such split.
        """
        if split not in self.splits:
            known = ", ".join(self.splits)
            raise ValueError(f"{self.path} has no split {split!r}, but only {known}")
        return self.stream(split)
