"""Opens a pack: images as memory maps, labels, names and metadata.

The format is described in `alexnet.packs`. Everything that trains, evaluates or exports opens packs
through `open_pack`. Files are checked before they are used, because a pack may have been
damaged, truncated or edited: an error names the file and says to pack again. Never import
`alexnet.packing` here.
"""

from __future__ import annotations

import functools
import html
import itertools
import os
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.files import hold_folder, release_folder
from alexnet.images.records import Format, record_shape
from alexnet.packs.checked_files import check_array, check_exists, map_array, read_names
from alexnet.packs.schema import LARGEST, check_metadata
from alexnet.sources.names import quote_names
from alexnet.terminal import escape_unprintable, format_count
from alexnet.validate import read_json

SHOWN_CLASSES = 20
"""Classes that a notebook shows of a pack, at most."""
Records = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Split:
    """The images of one split in order, with their labels and names."""

    folder: Path
    shape: tuple[int, ...]
    """Shape of one record: (size, size, 3) for rgb, (size · size · 3/2,) for yuv420."""
    files: tuple[str, ...]
    """Names of the shards, in order."""
    counts: tuple[int, ...]
    """Number of images in each shard."""
    classes: int
    """Number of classes of the pack; labels are below it."""

    def __len__(self) -> int:
        return sum(self.counts)

    @functools.cached_property
    def shards(self) -> list[Records]:
        """One read-only memory map per shard: uint8 (n, *shape)."""
        return [
            map_array(self.folder / file, (count, *self.shape), np.uint8)
            for file, count in zip(self.files, self.counts, strict=True)
        ]

    @functools.cached_property
    def labels(self) -> NDArray[np.int64]:
        """Indices into the pack's classes, int64 (N,); −1 for an unlabeled image.

        Raises ValueError if a label is outside this range.
        """
        path = self.folder / "labels.npy"
        labels = np.array(map_array(path, (len(self),), np.int64))
        if len(labels) and not -1 <= labels.min() <= labels.max() < self.classes:
            raise ValueError(
                f"the pack is damaged: {path} has labels from {labels.min()} to {labels.max()}, "
                f"but with {self.classes} classes they must be from -1 to {self.classes - 1}. "
                "Pack again"
            )
        return labels

    @functools.cached_property
    def names(self) -> Sequence[str]:
        """The names of the N images: their paths in the source, relative, separated by "/".

        Raises ValueError if names.txt is damaged or has another number of names.
        """
        path = self.folder / "names.txt"
        names = list(itertools.islice(read_names(path), len(self) + 1))
        if len(names) != len(self):
            found = len(names) if len(names) < len(self) else f"more than {len(self)}"
            raise ValueError(
                f"the pack is damaged: {path} has {found} names for {len(self)} images. Pack again"
            )
        return names

    def name(self, index: int) -> str:
        """Return the name of the image at `index`."""
        return self.names[index]

    def gather(self, indices: Any, out: Records | None = None) -> Records:
        """Copy the records at `indices`, in that order, into `out` or a new array.

        Returns uint8 (len(indices), *shape). Raises IndexError if an index is outside the split.
        """
        indices = np.asarray(indices, dtype=np.int64).reshape(-1)
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(
                f"indices from {indices.min()} to {indices.max()} are out of range for a split "
                f"of {format_count(len(self), 'image')}"
            )
        if out is None:
            out = np.empty((len(indices), *self.shape), np.uint8)
        if len(self.shards) == 1:  # mode="clip" lets NumPy write into `out` without a buffer
            return np.take(self.shards[0], indices, axis=0, out=out, mode="clip")
        shards = np.searchsorted(self._starts, indices, side="right") - 1
        offsets = indices - self._starts[shards]
        for row, (shard, offset) in enumerate(zip(shards, offsets, strict=True)):
            out[row] = self.shards[shard][offset]
        return out

    @functools.cached_property
    def _starts(self) -> NDArray[np.int64]:
        """Index in the split of the first image of each shard."""
        return np.cumsum((0, *self.counts), dtype=np.int64)[:-1]


@dataclass(frozen=True, eq=False)
class Pack:
    """A pack that `open_pack` has opened: labeled images of one size, in splits.

    >>> pack = alexnet.open_pack("photos.pack")
    >>> pack
    Pack('photos.pack': 48 train, 12 val images of 32×32 pixels; 2 classes: 'cats', 'dogs')
    >>> pack.classes[pack.splits["val"].labels[0]], pack.splits["val"].names[0][:5]
    ('cats', 'cats/')
    """

    path: Path
    size: int
    """Width and height of the images in pixels."""
    pixels: Format
    """How a record stores its image: rgb or yuv420."""
    classes: tuple[str, ...]
    wordnet_ids: tuple[str, ...] | None
    """The WordNet id of each class, for ImageNet; None for other sources."""
    components: NDArray[np.float64]
    """Principal components of the RGB values of the training images, one per column: (3, 3)."""
    deviations: NDArray[np.float64]
    """The standard deviation along each component, ascending: (3,)."""
    checksum: str
    """SHA-256 of everything that a training depends on: images, labels, classes and mean."""
    source: dict[str, Any]
    """Where the images came from: kind, path, splits."""
    splits: dict[str, Split]
    metadata: dict[str, Any]
    """The content of pack.json, checked against `schema.PackMetadata`."""

    def __repr__(self) -> str:
        """Return the path, the number of images in each split, and the classes on one line."""
        counts = ", ".join(f"{len(split):,} {name}" for name, split in self.splits.items())
        return (
            f"Pack({str(self.path)!r}: {counts} images of {self.size}×{self.size} pixels; "
            f"{format_count(len(self.classes), 'class')}: {quote_names(self.classes)})"
        )

    def _repr_html_(self) -> str:
        """Return a table of images per class and split for a notebook. Names are escaped."""
        counts = [
            np.bincount(split.labels[split.labels >= 0], minlength=len(self.classes))
            for split in self.splits.values()
        ]
        rows = [
            "".join(f"<td>{html.escape(escape_unprintable(str(x)))}</td>" for x in row)
            for row in zip(self.classes[:SHOWN_CLASSES], *counts, strict=False)
        ]
        heads = "".join(f"<th>{html.escape(name)}</th>" for name in ("class", *self.splits))
        body = "".join(f"<tr>{row}</tr>" for row in (heads, *rows))
        return f"<p>{html.escape(repr(self))}</p><table>{body}</table>"

    def __fspath__(self) -> str:
        """Return the pack's folder: a Pack can be given wherever a pack is named by its path."""
        return str(self.path)

    @property
    def folder(self) -> Path:
        """The folder of the files: `path` or, of a pack that was updated, a folder inside it."""
        return self.path / self.metadata.get("folder", "")

    @property
    def facts(self) -> dict[str, Any]:
        """The metadata, by the name that earlier versions gave it."""
        return self.metadata

    @functools.cached_property
    def mean(self) -> NDArray[np.float32]:
        """The mean of the training images in RGB: float32 (size, size, 3).

        Raises ValueError if a value is infinite or not a number.
        """
        path = self.folder / "mean.npy"
        mean = np.array(map_array(path, (self.size, self.size, 3), np.float32))
        if not np.isfinite(mean).all():
            raise ValueError(
                f"the pack is damaged: {path} holds NaN or infinite values. Pack again"
            )
        return mean

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickle only the path: the receiving process memory-maps the files itself.
        return open_pack, (self.path,)


def open_pack(path: str | os.PathLike[str]) -> Pack:
    """Open a finished pack.

    While the Pack exists, its files stay as they are, even if the pack is updated meanwhile. Raises
    FileNotFoundError if `path` holds no finished pack, and ValueError if the pack is
    damaged or its format is newer than this program.

    >>> pack = alexnet.open_pack("photos.pack")
    >>> pack.classes, len(pack.splits["train"])
    (('cats', 'dogs'), 48)
    >>> pack.splits["train"].gather([0, 1]).shape
    (2, 32, 32, 3)
    """
    path = Path(path)
    metadata, held = _read_and_hold(path)
    try:
        pack = _make_pack(path, metadata)
    except BaseException:
        release_folder(held)
        raise
    weakref.finalize(pack, release_folder, held)
    return pack


def _read_and_hold(path: Path) -> tuple[dict[str, Any], int | None]:
    """Read pack.json and hold the folder that it names, which an update may replace meanwhile."""
    while True:
        metadata = read_metadata(path)
        held = hold_folder(path / metadata.get("folder", ""))
        with suppress(OSError, ValueError):
            if read_metadata(path).get("folder", "") == metadata.get("folder", ""):
                return metadata, held
        release_folder(held)


def _make_pack(path: Path, metadata: dict[str, Any]) -> Pack:
    """Make the Pack that pack.json describes, and check that its files are there."""
    folder = path / metadata.get("folder", "")
    wordnet_ids, classes = metadata["wordnet_ids"], tuple(metadata["classes"])
    shape = record_shape(metadata["size"], metadata["pixels"])
    pack = Pack(
        path,
        metadata["size"],
        metadata["pixels"],
        classes=classes,
        wordnet_ids=None if wordnet_ids is None else tuple(wordnet_ids),
        components=np.array(metadata["components"], np.float64),
        deviations=np.array(metadata["deviations"], np.float64),
        checksum=metadata["checksum"],
        source=metadata["source"],
        splits={
            name: _make_split(folder / name, shape, split, len(classes))
            for name, split in metadata["splits"].items()
        },
        metadata=metadata,
    )
    _check_files(pack)
    return pack


def read_metadata(path: Path) -> dict[str, Any]:
    """Read and check pack.json. If it is missing, say whether a packing was interrupted."""
    try:
        raw = read_json(path / "pack.json", LARGEST)
    except (FileNotFoundError, NotADirectoryError):
        begun = [*path.glob("packing.json"), *path.glob("version-*/packing.json")]
        state = (
            "its packing has not finished. Resume it" if begun else "it has no pack.json. Make one"
        )
        message = f"no pack at {path}: {state}: alexnet pack IMAGES {path}"
        raise FileNotFoundError(message) from None
    except ValueError as error:
        raise ValueError(f"{error}. The file is damaged: pack again") from error
    return check_metadata(raw, path / "pack.json")


def _make_split(
    folder: Path, shape: tuple[int, ...], metadata: dict[str, Any], classes: int
) -> Split:
    files = tuple(Path(shard["file"]).name for shard in metadata["shards"])
    counts = tuple(shard["images"] for shard in metadata["shards"])
    return Split(folder, shape, files, counts, classes)


def _check_files(pack: Pack) -> None:
    """Check that every file exists and has the right type, shape and length.

    A damaged pack then fails when it is opened and not in the middle of a training.
    """
    for split in pack.splits.values():
        for file, count in zip(split.files, split.counts, strict=True):
            check_array(split.folder / file, (count, *split.shape), np.uint8)
        check_array(split.folder / "labels.npy", (len(split),), np.int64)
        check_exists(split.folder / "names.txt")
    check_array(pack.folder / "mean.npy", (pack.size, pack.size, 3), np.float32)
