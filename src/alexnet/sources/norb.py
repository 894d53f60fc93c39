"""Small NORB: stereo pairs of gray 96×96 photographs of toys, in binary matrix files.

A matrix file has a little-endian header, then the elements, last dimension fastest:

    …-dat.mat   0x1E3D4C55 (bytes)    │ 4 │ images, 2, 96, 96  │ pair 0 │ pair 1 │ …
    …-cat.mat   0x1E3D4C54 (integers) │ 1 │ images, 1, 1       │ category 0 │ category 1 │ …

The header is: a magic number for the type of the elements, the number of dimensions, the sizes (at
least three are stored). The first image of each pair is used. The split called "testing" becomes
"val". Source: LeCun, Huang & Bottou, "Learning methods for generic object recognition with
invariance to pose and lighting" (CVPR 2004). `recognition` calls `recognize`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from alexnet.sources.entry import Entry, Skipped, Source
from alexnet.sources.fixed_size_records import (
    check_record_size,
    read_integers,
    read_label_bytes,
    read_records,
)
from alexnet.sources.reader import DamagedError, ForwardReader
from alexnet.sources.tree import Tree, join

CLASSES = ("animal", "human", "airplane", "truck", "car")
BYTES, INTEGERS = 0x1E3D4C55, 0x1E3D4C54  # magic numbers for the type of the elements
_FILE = re.compile(r"smallnorb-.*-(training|testing)-(dat|cat)\.mat(\.gz)?", re.IGNORECASE)
_SPLITS = {"training": "train", "testing": "val"}


def recognize(tree: Tree, top: str) -> Source | None:
    """Recognize small NORB in the folder `top` by the names of its files; else return None."""
    files = {}
    for name in sorted(tree.list_files(top), reverse=True):  # "x" replaces "x.gz"
        if match := _FILE.fullmatch(name):
            files[_SPLITS[match[1].lower()], match[2].lower()] = join(top, name)
    splits = tuple(s for s in ("train", "val") if {(s, "dat"), (s, "cat")} <= files.keys())
    return _build_source(_NorbFiles(tree, files), splits) if splits else None


def _build_source(norb: "_NorbFiles", splits: tuple[str, ...]) -> Source:
    sides = [norb.read_side(split) for split in splits]
    return Source(
        kind="norb",
        path=norb.tree.path,
        classes=CLASSES,
        wordnet_ids=None,
        splits=splits,
        remarks=(
            "Only the images of the first camera are used.",
            "Its testing split is used for validation, under the name 'val'.",
        ),
        native_size=sides[0],
        stream=norb.entries,
    )


@dataclass(frozen=True)
class _NorbFiles:
    """The names of the files, by split and "dat" (images) or "cat" (categories)."""

    tree: Tree
    files: dict[tuple[str, str], str]

    def read_side(self, split: str) -> int:
        """Width and height of the images of a split, from the header."""
        with self._open(split, "dat") as reader:
            _, cameras, height, width = self._read_shape(reader, split)
        check_record_size(cameras * height * width, self.files[split, "dat"])
        return height

    def entries(self, split: str) -> Iterator[Entry | Skipped]:
        """The first image of each pair of a split, with its category as the label."""
        labels = self._read_labels(split)
        with self._open(split, "dat") as reader:
            count, cameras, height, width = self._read_shape(reader, split)
            size = cameras * height * width
            pairs = read_records(reader, size, count, split, self.files[split, "dat"])
            for index, pair in enumerate(pairs):
                if isinstance(pair, Skipped):
                    yield pair
                else:
                    first = pair[: height * width].reshape(height, width)
                    yield self._to_entry(split, index, labels, first)

    def _to_entry(
        self, split: str, index: int, labels: np.ndarray, image: np.ndarray
    ) -> Entry | Skipped:
        name = f"{split}/{index:05d}"
        if index >= len(labels):
            return Skipped(split, name, "unlabeled", f"there are {len(labels):,} labels")
        label = int(labels[index])
        if not 0 <= label < len(CLASSES):
            return Skipped(split, name, "unknown_class", f"category {label} of {len(CLASSES)}")
        return Entry(split, name, label, image)

    def _read_labels(self, split: str) -> np.ndarray:
        """The category of each pair of a split, as int32."""
        with self._open(split, "cat") as reader:
            (count, *_) = self._read_dimensions(reader, split, "cat", INTEGERS)
            label_bytes = read_label_bytes(reader, 4 * count, self.files[split, "cat"])
        return np.frombuffer(label_bytes[: len(label_bytes) // 4 * 4], "<i4")

    def _read_shape(self, reader: ForwardReader, split: str) -> tuple[int, ...]:
        """The sizes (images, cameras, height, width) of the images of a split."""
        shape = self._read_dimensions(reader, split, "dat", BYTES)
        if len(shape) != 4 or shape[2] != shape[3] or 0 in shape:
            raise ValueError(
                f"{self.files[split, 'dat']} in {self.tree.path} has the shape {shape}: expected "
                "images, cameras, and two equal sides"
            )
        return shape

    def _read_dimensions(
        self, reader: ForwardReader, split: str, content: str, expected: int
    ) -> tuple[int, ...]:
        """Check the magic number, and return the sizes of the matrix."""
        try:
            magic, dimensions = read_integers(reader, "<II")
            if magic == expected and 1 <= dimensions <= 8:
                return read_integers(reader, f"<{max(dimensions, 3)}I")[:dimensions]
        except DamagedError:
            magic = 0
        raise ValueError(
            f"{self.files[split, content]} in {self.tree.path} is not a matrix file of small NORB: "
            f"it begins with {magic:#x}, not {expected:#x}"
        )

    def _open(self, split: str, content: str) -> ForwardReader:
        return self.tree.open_file(self.files[split, content])
