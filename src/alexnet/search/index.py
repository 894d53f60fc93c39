"""Opens an index: features as memory maps, names, labels and metadata.

The format is described in `alexnet.search`. Everything that searches opens indexes through
`open_index`, which checks the files as `packs.pack.open_pack` does, because an index may have been
damaged, truncated or edited: an error names the file and says how to make the index anew. Never
import `search.build`, the classifier or torch here.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.packs.checked_files import check_array, check_exists, crc32, map_array, read_names
from alexnet.packs.pack import Pack, open_pack
from alexnet.search.schema import LARGEST, IndexMetadata, check_metadata
from alexnet.terminal import format_count
from alexnet.validate import read_json

KINDS: dict[str, type[np.generic]] = {"float16": np.float16, "float32": np.float32}
"""The NumPy type of stored features by its name in index.json."""


@dataclass(frozen=True, eq=False)
class FeatureIndex:
    """An index that `open_index` has opened: the features, names and labels of N images.

    >>> index = alexnet.open_index("photos.index")
    >>> index
    FeatureIndex('photos.index': 60 images, 576 features of pool3, float16)
    >>> index.features[0].shape, index.classes[index.labels[0]]  # a shard for each split
    ((48, 576), 'cats')
    """

    path: Path
    metadata: IndexMetadata
    """The content of index.json."""

    def __len__(self) -> int:
        return self.metadata.images

    def __repr__(self) -> str:
        """Return what is in the index on one line."""
        return (
            f"FeatureIndex({str(self.path)!r}: {format_count(len(self), 'image')}, "
            f"{format_count(self.dimensions, 'feature')} "
            f"of {self.layer}, {self.metadata.origin.dtype})"
        )

    def __fspath__(self) -> str:
        """Return the folder: an index can be given wherever one is named by its path."""
        return str(self.path)

    @property
    def layer(self) -> str:
        """The name of the layer whose outputs are the features, such as `fc7`."""
        return self.metadata.origin.layer

    @property
    def dimensions(self) -> int:
        """D, the number of features of an image."""
        return self.metadata.origin.dimensions

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; labels are positions in it."""
        return self.metadata.origin.classes

    @functools.cached_property
    def features(self) -> list[NDArray[Any]]:
        """One read-only memory map per shard, float16 or float32 (n, D).

        Raises ValueError if a file is missing or has another shape or type.
        """
        return [
            map_array(path, shape, kind, report_damaged_index) for path, shape, kind in self._arrays
        ]

    @property
    def _arrays(self) -> Iterator[tuple[Path, tuple[int, ...], type[np.generic]]]:
        """Yield the path, shape and type of each shard."""
        for shard in self.metadata.shards:
            kind = KINDS[self.metadata.origin.dtype]
            yield self.path / shard.file, (shard.images, self.dimensions), kind

    @functools.cached_property
    def labels(self) -> NDArray[np.int64]:
        """Indices into `classes`, int64 (N,); −1 for an unlabeled image.

        Raises ValueError if a label is outside this range.
        """
        path = self.path / "labels.npy"
        labels = np.array(map_array(path, (len(self),), np.int64, report_damaged_index))
        if not -1 <= labels.min() <= labels.max() < len(self.classes):
            raise report_damaged_index(
                f"{path} has labels from {labels.min()} to {labels.max()}, but with "
                f"{len(self.classes)} classes they must be from -1 to {len(self.classes) - 1}"
            )
        return labels

    @functools.cached_property
    def names(self) -> Sequence[str]:
        """The names of the N images: their paths in the source, relative, separated by "/".

        Raises ValueError if names.txt is damaged or has another number of names.
        """
        path = self.path / "names.txt"
        names = list(itertools.islice(read_names(path, report_damaged_index), len(self) + 1))
        if len(names) != len(self):
            found = len(names) if len(names) < len(self) else f"more than {len(self)}"
            raise report_damaged_index(f"{path} has {found} names for {len(self)} images")
        return names

    @functools.cached_property
    def ranges(self) -> dict[str, range]:
        """For each split, by name, the indices of its images."""
        parts = self.metadata.origin.splits
        ends = list(itertools.accumulate(part.images for part in parts))
        return {
            part.name: range(end - part.images, end) for part, end in zip(parts, ends, strict=True)
        }

    def locate(self, index: int) -> tuple[str, int]:
        """Return the split of an image and its position there.

        Raises IndexError if there is no image of this index.
        """
        for name, indices in self.ranges.items():
            if index in indices:
                return name, index - indices.start
        raise IndexError(
            f"index {index} is out of range for an index of {format_count(len(self), 'image')}"
        )

    def gather(self, indices: Any) -> NDArray[np.float32]:
        """Copy the features of the images at `indices`, in that order: float32 (M, D).

        Raises IndexError if an index is outside the index.
        """
        indices = np.asarray(indices, dtype=np.int64).reshape(-1)
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(
                f"indices from {indices.min()} to {indices.max()} are out of range for an index "
                f"of {format_count(len(self), 'image')}"
            )
        return gather_rows(self.features, self._starts, indices)

    @functools.cached_property
    def _starts(self) -> NDArray[np.int64]:
        """Index of the first image of each shard, and N."""
        counts = (shard.images for shard in self.metadata.shards)
        return np.cumsum((0, *counts), dtype=np.int64)

    def round_features(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Round features (M, D) as those of the index are stored: float32 (M, D).

        The features of an image that is in the index are then nearly or exactly those stored for
        it: those of other batches or processors can differ in their last bits before the rounding.
        """
        return features.astype(KINDS[self.metadata.origin.dtype]).astype(np.float32)

    def open_pack(self, path: str | os.PathLike[str] | None = None) -> Pack:
        """Open the pack that the images come from, at its old path, or relative to the index.

        `path` names it where it is now. Raises FileNotFoundError if no pack with the same content
        is there, ValueError if that at `path` is damaged or has other images.
        """
        described = self.metadata.origin.pack
        if path is not None:
            pack = open_pack(path)
            if pack.checksum != described.checksum:
                raise ValueError(
                    f"{self.path} was not made of {path}, which has other images. Name the pack "
                    f"that it was made of; it was at {described.path}"
                )
            return pack
        candidates = Path(described.path), self.path.resolve() / described.relative
        for path in candidates:
            try:
                pack = open_pack(path)
            except (OSError, ValueError):
                continue
            if pack.checksum == described.checksum:
                return pack
        raise FileNotFoundError(
            f"the pack that {self.path} was made of is not at {described.path}, or is another one "
            "now. Name it: --pack PACK"
        )

    def verify(self) -> None:
        """Read every byte and compare it with the checksums of index.json.

        Raises ValueError, which lists the files that differ, and OSError for an unreadable file.
        """
        expected = {shard.file: shard.crc32 for shard in self.metadata.shards}
        expected |= {
            "labels.npy": self.metadata.labels_crc32,
            "names.txt": self.metadata.names_crc32,
        }
        if wrong := [name for name, crc in expected.items() if crc32(self.path / name) != crc]:
            raise report_damaged_index(f"{self.path} has other bytes in {', '.join(wrong)}")

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickle only the path: the receiving process memory-maps the files itself.
        return open_index, (self.path,)


def gather_rows(
    shards: Sequence[NDArray[Any]], starts: NDArray[np.int64], indices: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Copy the rows at `indices` of several arrays (n, D) that follow each other: float32 (M, D).

    `starts` holds the index of the first row of each array, and more at its end.
    """
    out = np.empty((len(indices), shards[0].shape[1]), np.float32)
    numbers = np.searchsorted(starts, indices, side="right") - 1
    for number in np.unique(numbers):
        rows = np.flatnonzero(numbers == number)
        out[rows] = shards[number][indices[rows] - starts[number]]
    return out


def open_index(path: str | os.PathLike[str]) -> FeatureIndex:
    """Open a finished index.

    Raises FileNotFoundError if `path` holds no finished index, and ValueError if the index is
    damaged or its format is newer than this program.

    >>> len(alexnet.open_index("photos.index"))
    60
    """
    path = Path(path)
    index = FeatureIndex(path, _read_metadata(path))
    for file, shape, kind in index._arrays:
        check_array(file, shape, kind, report_damaged_index)
    check_array(path / "labels.npy", (len(index),), np.int64, report_damaged_index)
    check_exists(path / "names.txt", report_damaged_index)
    return index


def _read_metadata(path: Path) -> IndexMetadata:
    """Read and check index.json. If it is missing, say whether the making was interrupted."""
    try:
        return check_metadata(read_json(path / "index.json", LARGEST), path / "index.json")
    except (FileNotFoundError, NotADirectoryError):
        begun = (path / "features.json").exists()
        state = "it is not finished. Go on" if begun else "it has no index.json. Make one"
        message = f"no index at {path}: {state}: alexnet features RUN PACK {path}"
        raise FileNotFoundError(message) from None
    except ValueError as error:
        raise ValueError(
            f"{error}. Delete the index and make it again: alexnet features RUN PACK {path}"
        ) from error


def report_damaged_index(problem: str) -> ValueError:
    """Make the error for a problem of an index's file, which tells the user to make it again."""
    return ValueError(
        f"the index is damaged: {problem}. Delete it and make it again: alexnet features RUN PACK "
        "INDEX"
    )
