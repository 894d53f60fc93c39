"""CIFAR-10 and CIFAR-100, binary version: files of records without a header.

A record of CIFAR-10 has 1 + 3072 bytes, one of CIFAR-100 2 + 3072:

    [coarse label] │ label │ 32×32 red │ 32×32 green │ 32×32 blue

Source: Krizhevsky, "Learning multiple layers of features from tiny images" (2009), and
https://www.cs.toronto.edu/~kriz/cifar.html. `recognition` calls `recognize`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from alexnet.sources.entry import Entry, Skipped, Source
from alexnet.sources.fixed_size_records import read_records
from alexnet.sources.reader import DamagedError
from alexnet.sources.tree import Tree, join

SIDE = 32
PIXELS = 3 * SIDE * SIDE


@dataclass(frozen=True)
class CifarDataset:
    """One of the two data sets: the names of its files, and the layout of its records."""

    kind: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    class_names: str
    classes: int
    label_bytes: int  # the last one is the label; in CIFAR-100 the coarse label comes before it


DATASETS = (
    CifarDataset("cifar10", tuple(f"data_batch_{i}.bin" for i in range(1, 6)), ("test_batch.bin",),
         "batches.meta.txt", 10, 1),
    CifarDataset("cifar100", ("train.bin",), ("test.bin",), "fine_label_names.txt", 100, 2),
)  # fmt: skip


def recognize(tree: Tree, top: str) -> Source | None:
    """Recognize CIFAR-10 or CIFAR-100 in the folder `top` by the names of their files.

    Returns None for anything else. Raises ValueError for the Python version of CIFAR, because
    reading a pickle would run code from the file.
    """
    files = set(tree.list_files(top))
    if files & {"data_batch_1", "test_batch"} or {"meta", "train", "test"} <= files:
        raise ValueError(
            f"{tree.path} is the Python version of CIFAR, whose pickles are not read. "
            "Get the binary version: cifar-10-binary.tar.gz or cifar-100-binary.tar.gz"
        )
    for dataset in DATASETS:
        if {dataset.train[0], dataset.val[0]} & files and {
            dataset.class_names,
            *dataset.val,
        } & files:
            return _build_source(_CifarFiles(tree, top, dataset), files)
    return None


def _build_source(cifar: "_CifarFiles", files: set[str]) -> Source:
    dataset = cifar.dataset
    missing = [name for name in (*dataset.train, *dataset.val) if name not in files]
    remarks = ["Its test split is used for validation, under the name 'val'."]
    remarks += [f"{name} is missing." for name in missing]
    classes, remark = cifar.read_class_names(files)
    return Source(
        kind=dataset.kind,
        path=cifar.tree.path,
        classes=classes,
        wordnet_ids=None,
        splits=tuple(s for s in ("train", "val") if cifar.has_split(s, files)),
        remarks=(*remarks, *remark),
        native_size=SIDE,
        stream=cifar.entries,
    )


@dataclass(frozen=True)
class _CifarFiles:
    """The files of one of the data sets in the folder `top` of a tree."""

    tree: Tree
    top: str
    dataset: CifarDataset

    def read_class_names(self, files: set[str]) -> tuple[tuple[str, ...], list[str]]:
        """The class names from their file; if their count is wrong, numbers, and a remark."""
        names: list[str] = []
        if self.dataset.class_names in files:
            with self.tree.open_file(join(self.top, self.dataset.class_names)) as reader:
                try:
                    names = reader.read(1 << 20).decode("utf-8", "replace").split()
                except DamagedError:
                    names = []  # as if the file were missing
        if len(names) == self.dataset.classes:
            return tuple(names), []
        remark = (
            f"{self.dataset.class_names} has {len(names)} names, not {self.dataset.classes}: "
            "the classes are named by number."
        )
        return tuple(str(label) for label in range(self.dataset.classes)), [remark]

    def has_split(self, split: str, files: set[str]) -> bool:
        """Whether any file of a split is among these names."""
        return not files.isdisjoint(self.dataset.train if split == "train" else self.dataset.val)

    def entries(self, split: str) -> Iterator[Entry | Skipped]:
        """The images of a split, file by file; missing files are Skipped."""
        present = set(self.tree.list_files(self.top))
        for file in self.dataset.train if split == "train" else self.dataset.val:
            if file in present:
                yield from self._read_file(split, file)
            else:
                yield Skipped(split, file, "missing", "a file of the data set is missing")

    def _read_file(self, split: str, file: str) -> Iterator[Entry | Skipped]:
        """The images of one file, named `file/00000`, `file/00001`, …"""
        size = self.dataset.label_bytes + PIXELS
        with self.tree.open_file(join(self.top, file)) as reader:
            for index, record in enumerate(read_records(reader, size, None, split, file)):
                name = f"{file}/{index:05d}"
                yield record if isinstance(record, Skipped) else self._to_entry(split, name, record)

    def _to_entry(self, split: str, name: str, record: np.ndarray) -> Entry | Skipped:
        """A record as an image: its planes (3, 32, 32) become (32, 32, 3)."""
        label = int(record[self.dataset.label_bytes - 1])
        if label >= self.dataset.classes:
            return Skipped(split, name, "unknown_class", f"label {label} of {self.dataset.classes}")
        planes = record[self.dataset.label_bytes :].reshape(3, SIDE, SIDE)
        return Entry(split, name, label, np.ascontiguousarray(planes.transpose(1, 2, 0)))
