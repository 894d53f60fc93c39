"""Small NORB: stereo photographs of toys, 96×96 and gray, in its binary matrix files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from alexnet.sources.entry import Entry, Skipped, Source
from alexnet.sources.fixed_size_records import check_size, integers, records, table
from alexnet.sources.reader import DamagedError, ForwardReader
from alexnet.sources.tree import Tree, join

CLASSES = ("animal", "human", "airplane", "truck", "car")
BYTES, INTEGERS = 0x1E3D4C55, 0x1E3D4C54  # what the elements of a matrix are
_FILE = re.compile(r"smallnorb-.*-(training|testing)-(dat|cat)\.mat(\.gz)?", re.IGNORECASE)
_SPLITS = {"training": "train", "testing": "val"}


def recognize(tree: Tree, top: str) -> Source | None:
    """The files of small NORB by their names, compressed or not."""
    files = {}
    for name in sorted(tree.files(top), reverse=True):  # a file before its .gz, if both are there
        if match := _FILE.fullmatch(name):
            files[_SPLITS[match[1].lower()], match[2].lower()] = join(top, name)
    splits = tuple(s for s in ("train", "val") if {(s, "dat"), (s, "cat")} <= files.keys())
    return _source(_Norb(tree, files), splits) if splits else None


def _source(norb: "_Norb", splits: tuple[str, ...]) -> Source:
    sides = [norb.side(split) for split in splits]
    return Source(
        kind="norb",
        path=norb.tree.path,
        classes=CLASSES,
        wordnet_ids=None,
        splits=splits,
        remarks=(
            "Of the two cameras the first is used.",
            "Its testing split is used for validation, under the name 'val'.",
        ),
        native_size=sides[0],
        stream=norb.entries,
    )


@dataclass(frozen=True)
class _Norb:
    """The files of pictures (dat) and categories (cat) of each split."""

    tree: Tree
    files: dict[tuple[str, str], str]

    def side(self, split: str) -> int:
        with self._open(split, "dat") as reader:
            _, cameras, height, width = self._shape(reader, split)
        check_size(cameras * height * width, self.files[split, "dat"])
        return height

    def entries(self, split: str) -> Iterator[Entry | Skipped]:
        labels = self._labels(split)
        with self._open(split, "dat") as reader:
            count, cameras, height, width = self._shape(reader, split)
            size = cameras * height * width
            pairs = records(reader, size, count, split, self.files[split, "dat"])
            for index, pair in enumerate(pairs):
                if isinstance(pair, Skipped):
                    yield pair
                else:
                    first = pair[: height * width].reshape(height, width)
                    yield self._entry(split, index, labels, first)

    def _entry(
        self, split: str, index: int, labels: np.ndarray, image: np.ndarray
    ) -> Entry | Skipped:
        name = f"{split}/{index:05d}"
        if index >= len(labels):
            return Skipped(split, name, "unlabeled", f"there are {len(labels):,} labels")
        label = int(labels[index])
        if not 0 <= label < len(CLASSES):
            return Skipped(split, name, "unknown_class", f"category {label} of {len(CLASSES)}")
        return Entry(split, name, label, image)

    def _labels(self, split: str) -> np.ndarray:
        with self._open(split, "cat") as reader:
            (count, *_) = self._dimensions(reader, split, "cat", INTEGERS)
            content = table(reader, 4 * count, self.files[split, "cat"])
        return np.frombuffer(content[: len(content) // 4 * 4], "<i4")

    def _shape(self, reader: ForwardReader, split: str) -> tuple[int, ...]:
        shape = self._dimensions(reader, split, "dat", BYTES)
        if len(shape) != 4 or shape[2] != shape[3] or 0 in shape:
            raise ValueError(
                f"{self.files[split, 'dat']} in {self.tree.path} has the shape {shape}: expected "
                "images, cameras, and two equal sides"
            )
        return shape

    def _dimensions(
        self, reader: ForwardReader, split: str, what: str, wanted: int
    ) -> tuple[int, ...]:
        """The sizes a matrix file begins with: at least three are stored, whatever their number."""
        try:
            found, dimensions = integers(reader, "<II")
            if found == wanted and 1 <= dimensions <= 8:
                return integers(reader, f"<{max(dimensions, 3)}I")[:dimensions]
        except DamagedError:
            found = 0
        raise ValueError(
            f"{self.files[split, what]} in {self.tree.path} is no matrix file of small NORB: it "
            f"begins with {found:#x}, not {wanted:#x}"
        )

    def _open(self, split: str, what: str) -> ForwardReader:
        return self.tree.open(self.files[split, what])
