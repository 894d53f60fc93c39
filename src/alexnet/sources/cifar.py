"""CIFAR-10 and CIFAR-100 in the binary form: label bytes, then 32×32 red, green and blue."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from alexnet.sources.entry import Entry, Skipped, Source
from alexnet.sources.fixed_size_records import records
from alexnet.sources.reader import DamagedError
from alexnet.sources.tree import Tree, join

SIDE = 32
PIXELS = 3 * SIDE * SIDE


@dataclass(frozen=True)
class Form:
    """One of the two data sets: how its files are named and where in a record the label is."""

    kind: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    class_names: str
    classes: int
    label_bytes: int  # the last one is the label; CIFAR-100 has its coarse label before it


FORMS = (
    Form("cifar10", tuple(f"data_batch_{i}.bin" for i in range(1, 6)), ("test_batch.bin",),
         "batches.meta.txt", 10, 1),
    Form("cifar100", ("train.bin",), ("test.bin",), "fine_label_names.txt", 100, 2),
)  # fmt: skip


def recognize(tree: Tree, top: str) -> Source | None:
    """CIFAR-10 or CIFAR-100, by the names of their files."""
    files = set(tree.files(top))
    if files & {"data_batch_1", "test_batch"} or {"meta", "train", "test"} <= files:
        raise ValueError(
            f"{tree.path} is CIFAR in the Python form, whose pickles are not read. "
            "Get the binary version: cifar-10-binary.tar.gz or cifar-100-binary.tar.gz"
        )
    for form in FORMS:
        if {form.train[0], form.val[0]} & files and {form.class_names, *form.val} & files:
            return _source(_Cifar(tree, top, form), files)
    return None


def _source(cifar: "_Cifar", files: set[str]) -> Source:
    form = cifar.form
    missing = [name for name in (*form.train, *form.val) if name not in files]
    remarks = ["Its test split is used for validation, under the name 'val'."]
    remarks += [f"{name} is missing." for name in missing]
    classes, remark = cifar.class_names(files)
    return Source(
        kind=form.kind,
        path=cifar.tree.path,
        classes=classes,
        wordnet_ids=None,
        splits=tuple(s for s in ("train", "val") if cifar.present(s, files)),
        remarks=(*remarks, *remark),
        native_size=SIDE,
        stream=cifar.entries,
    )


@dataclass(frozen=True)
class _Cifar:
    """Where the files of one of the data sets are."""

    tree: Tree
    top: str
    form: Form

    def class_names(self, files: set[str]) -> tuple[tuple[str, ...], list[str]]:
        """The names in the file of names; numbers, and a remark, where it does not fit."""
        names: list[str] = []
        if self.form.class_names in files:
            with self.tree.open(join(self.top, self.form.class_names)) as reader:
                try:
                    names = reader.read(1 << 20).decode("utf-8", "replace").split()
                except DamagedError:
                    names = []  # as many as a file of names that is not there
        if len(names) == self.form.classes:
            return tuple(names), []
        remark = (
            f"{self.form.class_names} has {len(names)} names: the classes are called by number."
        )
        return tuple(str(label) for label in range(self.form.classes)), [remark]

    def present(self, split: str, files: set[str]) -> bool:
        return not files.isdisjoint(self.form.train if split == "train" else self.form.val)

    def entries(self, split: str) -> Iterator[Entry | Skipped]:
        present = set(self.tree.files(self.top))
        for file in self.form.train if split == "train" else self.form.val:
            if file in present:
                yield from self._batch(split, file)
            else:
                yield Skipped(split, file, "missing", "a file of the data set is not there")

    def _batch(self, split: str, file: str) -> Iterator[Entry | Skipped]:
        size = self.form.label_bytes + PIXELS
        with self.tree.open(join(self.top, file)) as reader:
            for index, record in enumerate(records(reader, size, None, split, file)):
                name = f"{file}/{index:05d}"
                yield record if isinstance(record, Skipped) else self._entry(split, name, record)

    def _entry(self, split: str, name: str, record: np.ndarray) -> Entry | Skipped:
        label = int(record[self.form.label_bytes - 1])
        if label >= self.form.classes:
            return Skipped(split, name, "unknown_class", f"label {label} of {self.form.classes}")
        planes = record[self.form.label_bytes :].reshape(3, SIDE, SIDE)
        return Entry(split, name, label, np.ascontiguousarray(planes.transpose(1, 2, 0)))
