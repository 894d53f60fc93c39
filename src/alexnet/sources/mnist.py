"""MNIST, Fashion-MNIST and other data sets in IDX files, compressed by gzip or not.

An IDX file has a big-endian header, then one byte per pixel or per label:

    train-images-idx3-ubyte   0x00000803 │ count │ height │ width │ image 0 │ image 1 │ …
    train-labels-idx1-ubyte   0x00000801 │ count │ label 0 │ label 1 │ …

The split called t10k becomes "val". Source: http://yann.lecun.com/exdb/mnist. `recognition` calls
`recognize`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from alexnet.sources.entry import Entry, Skipped, Source
from alexnet.sources.fixed_size_records import (
    check_record_size,
    read_integers,
    read_label_bytes,
    read_records,
)
from alexnet.sources.reader import DamagedError, ForwardReader
from alexnet.sources.tree import Tree, join

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
           "Bag", "Ankle boot")  # fmt: skip
IMAGES, LABELS = 0x803, 0x801  # magic numbers: unsigned bytes in three dimensions, and in one
_FILE = re.compile(r"(train|t10k)-(images|labels)[-.]idx[31]-ubyte(\.gz)?", re.IGNORECASE)
_SPLITS = {"train": "train", "t10k": "val"}


def recognize(tree: Tree, top: str) -> Source | None:
    """Recognize IDX files in the folder `top` by their usual names; else return None."""
    files = {}
    for name in sorted(tree.list_files(top), reverse=True):  # "x" replaces "x.gz"
        if match := _FILE.fullmatch(name):
            files[_SPLITS[match[1].lower()], match[2].lower()] = join(top, name)
    splits = tuple(s for s in ("train", "val") if {(s, "images"), (s, "labels")} <= files.keys())
    return _build_source(_IdxFiles(tree, files), splits, top) if splits else None


def _build_source(idx: "_IdxFiles", splits: tuple[str, ...], top: str) -> Source:
    is_fashion = "fashion" in f"{idx.tree.path.resolve()}/{top}".lower()
    sizes = {idx.read_size(split) for split in splits}
    height, width = sizes.pop()
    if sizes or height != width or not height:
        raise ValueError(f"{idx.tree.path} has images of several shapes, or none that are square")
    classes = 1 + max(max(idx.read_labels(split), default=0) for split in splits)
    return Source(
        kind="fashion_mnist" if is_fashion else "mnist",
        path=idx.tree.path,
        classes=FASHION
        if is_fashion and classes <= 10
        else tuple(str(label) for label in range(max(classes, 10))),
        wordnet_ids=None,
        splits=splits,
        remarks=("Its test split (t10k) is used for validation, under the name 'val'.",),
        native_size=height,
        stream=idx.entries,
    )


@dataclass(frozen=True)
class _IdxFiles:
    """The names of the files, by split and "images" or "labels"."""

    tree: Tree
    files: dict[tuple[str, str], str]

    def read_size(self, split: str) -> tuple[int, int]:
        """Height and width of the images of a split, from the header."""
        with self._open(split, "images") as reader:
            _, height, width = self._read_header(reader, split, "images")
        check_record_size(height * width, self.files[split, "images"])
        return height, width

    def read_labels(self, split: str) -> bytes:
        """The labels of a split, one byte each."""
        with self._open(split, "labels") as reader:
            (count,) = self._read_header(reader, split, "labels")
            return read_label_bytes(reader, count, self.files[split, "labels"])

    def entries(self, split: str) -> Iterator[Entry | Skipped]:
        """The images of a split; images without a label are Skipped."""
        labels, file = self.read_labels(split), self.files[split, "images"]
        with self._open(split, "images") as reader:
            count, height, width = self._read_header(reader, split, "images")
            for index, image in enumerate(read_records(reader, height * width, count, split, file)):
                name = f"{split}/{index:05d}"
                if isinstance(image, Skipped):
                    yield image
                elif index < len(labels):
                    yield Entry(split, name, labels[index], image.reshape(height, width))
                else:
                    yield Skipped(split, name, "unlabeled", f"there are {len(labels):,} labels")

    def _open(self, split: str, content: str) -> ForwardReader:
        return self.tree.open_file(self.files[split, content])

    def _read_header(self, reader: ForwardReader, split: str, content: str) -> tuple[int, ...]:
        """Check the magic number, and return the sizes that follow it."""
        expected = IMAGES if content == "images" else LABELS
        try:
            (magic,) = read_integers(reader, ">I")
            if magic == expected:
                return read_integers(reader, ">III" if content == "images" else ">I")
        except DamagedError:
            magic = 0
        raise ValueError(
            f"{self.files[split, content]} in {self.tree.path} is not an IDX file of {content}: "
            f"it begins with {magic:#x}, not {expected:#x}"
        )
