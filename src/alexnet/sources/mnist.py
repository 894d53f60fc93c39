"""MNIST, Fashion-MNIST and what else is published as idx files of images and labels."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from alexnet.sources.entry import Entry, Skipped, Source
from alexnet.sources.fixed_size_records import check_size, integers, records, table
from alexnet.sources.reader import DamagedError, ForwardReader
from alexnet.sources.tree import Tree, join

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
           "Bag", "Ankle boot")  # fmt: skip
IMAGES, LABELS = 0x803, 0x801  # unsigned bytes in three dimensions, in one
_FILE = re.compile(r"(train|t10k)-(images|labels)[-.]idx[31]-ubyte(\.gz)?", re.IGNORECASE)
_SPLITS = {"train": "train", "t10k": "val"}


def recognize(tree: Tree, top: str) -> Source | None:
    """idx files by their usual names, compressed or not."""
    files = {}
    for name in sorted(tree.files(top), reverse=True):  # a file before its .gz, if both are there
        if match := _FILE.fullmatch(name):
            files[_SPLITS[match[1].lower()], match[2].lower()] = join(top, name)
    splits = tuple(s for s in ("train", "val") if {(s, "images"), (s, "labels")} <= files.keys())
    return _source(_Idx(tree, files), splits, top) if splits else None


def _source(idx: "_Idx", splits: tuple[str, ...], top: str) -> Source:
    is_fashion = "fashion" in f"{idx.tree.path.resolve()}/{top}".lower()
    sizes = {idx.size(split) for split in splits}
    height, width = sizes.pop()
    if sizes or height != width or not height:
        raise ValueError(f"{idx.tree.path} has images of several shapes, or none that are square")
    classes = 1 + max(max(idx.labels(split), default=0) for split in splits)
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
class _Idx:
    """The files of images and of labels of each split."""

    tree: Tree
    files: dict[tuple[str, str], str]

    def size(self, split: str) -> tuple[int, int]:
        with self._open(split, "images") as reader:
            _, height, width = self._header(reader, split, "images")
        check_size(height * width, self.files[split, "images"])
        return height, width

    def labels(self, split: str) -> bytes:
        with self._open(split, "labels") as reader:
            (count,) = self._header(reader, split, "labels")
            return table(reader, count, self.files[split, "labels"])

    def entries(self, split: str) -> Iterator[Entry | Skipped]:
        labels, file = self.labels(split), self.files[split, "images"]
        with self._open(split, "images") as reader:
            count, height, width = self._header(reader, split, "images")
            for index, image in enumerate(records(reader, height * width, count, split, file)):
                name = f"{split}/{index:05d}"
                if isinstance(image, Skipped):
                    yield image
                elif index < len(labels):
                    yield Entry(split, name, labels[index], image.reshape(height, width))
                else:
                    yield Skipped(split, name, "unlabeled", f"there are {len(labels):,} labels")

    def _open(self, split: str, what: str) -> ForwardReader:
        return self.tree.open(self.files[split, what])

    def _header(self, reader: ForwardReader, split: str, what: str) -> tuple[int, ...]:
        """The sizes that a file begins with, after a number that says what it is."""
        wanted = IMAGES if what == "images" else LABELS
        try:
            (found,) = integers(reader, ">I")
            if found == wanted:
                return integers(reader, ">III" if what == "images" else ">I")
        except DamagedError:
            found = 0
        raise ValueError(
            f"{self.files[split, what]} in {self.tree.path} is no idx file of {what}: it begins "
            f"with {found:#x}, not {wanted:#x}"
        )
