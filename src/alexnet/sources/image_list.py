"""A list of images as a source: each line of a CSV or JSONL file has a path, a label and a split.

The labels are class names, the split is optional, and paths are relative to the folder of the list:

    path,label,split
    photos/1.jpg,cat,train
    photos/2.jpg,dog,val

`list_lines` parses the lines. The list is read once for its classes and splits (`_Survey`), once
more if images are held out for validation, and once per split that is used; it is never kept in
memory. `recognition` calls `open_list`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from alexnet.sources.class_folders import SPLIT_NAMES
from alexnet.sources.entry import UNLABELED, Entry, Skipped, Source
from alexnet.sources.holdout import Divided, HoldOut
from alexnet.sources.list_lines import BadLine, ListedImage, has_column, read_lines
from alexnet.sources.names import WORDNET_ID, class_remarks, quote_names
from alexnet.sources.repeats import NameBudget, NameCounter, RepeatedNames

_SPLITS = {"": "train"} | {name: split for split, names in SPLIT_NAMES.items() for name in names}


def open_list(path: Path, hold_out: HoldOut) -> Source:
    """A CSV or JSONL file as a Source. Raises ValueError for a list without a class."""
    if hold_out.group_by and has_column(path, hold_out.group_by):
        hold_out = replace(hold_out, is_column=True)
    survey = _Survey.of(path)
    hold_out.check_usable(path, survey.labels)
    classes = survey.find_classes()
    splitting, remarks = survey.choose_splitting(hold_out, classes)
    remarks += survey.difference_remarks(classes) + class_remarks(classes)
    splits = splitting.splits(survey.labels)
    return Source(
        kind="list",
        path=path,
        classes=classes,
        wordnet_ids=classes if all(WORDNET_ID.fullmatch(name) for name in classes) else None,
        splits=tuple(split for split in SPLIT_NAMES if split in splits),
        remarks=tuple(remarks),
        native_size=None,
        stream=_List(path, classes, splitting, survey.repeated).entries,
        division=splitting.division.metadata() if splitting.division else None,
    )


@dataclass(frozen=True)
class _Splitting:
    """Decides the split of a line: the one it names, which may be renamed, or a held-out one."""

    rename: dict[str, str] = field(default_factory=dict)
    division: Divided | None = None
    column: str = ""
    """The column of the groups; "" if there is none."""

    def find_split(self, row: ListedImage) -> str:
        """The split of a line."""
        named_split = _named_split(row)
        if self.division and named_split == "train":
            return self.division.find_split(row.label, row.path, _key(row, self.column))
        return self.rename.get(named_split, named_split)

    def splits(self, named_splits: Iterable[str]) -> set[str]:
        """The splits that result if the lines name these."""
        own = {self.rename.get(split, split) for split in named_splits}
        return own if self.division is None else own - {"train"} | set(self.division.splits)

    @property
    def leftover_split(self) -> str:
        """The split in which bad lines are reported as Skipped."""
        return self.division.leftover_split if self.division else "train"


@dataclass(frozen=True)
class _Survey:
    """Labels, splits and repeated paths of a list, from one pass before any image is yielded."""

    path: Path
    labels: dict[str, set[str]]  # the labels that occur in each split
    repeated: RepeatedNames  # paths that more than one line names
    has_splits: bool  # whether any line names its split

    @classmethod
    def of(cls, path: Path) -> "_Survey":
        """Read the list once."""
        labels: dict[str, set[str]] = defaultdict(set)
        budget, paths, has_splits = NameBudget(path), NameCounter(path), False
        for row in read_lines(path):
            if isinstance(row, ListedImage):
                known = labels[_known_split(path, row)]
                if row.label not in known:
                    budget.spend(row.label)
                    known.add(row.label)
                has_splits = has_splits or bool(row.split)
                paths.add(row.path)
        return cls(path, dict(labels), paths.find_repeated(), has_splits)

    def find_classes(self) -> tuple[str, ...]:
        """The classes of the training split, or of all splits if there is none, sorted."""
        labels = self.labels.get("train") or set().union(*self.labels.values())
        if not labels - {""}:
            raise ValueError(
                f"{self.path} names no class for any image: write a path and a label on each line, "
                "in this order or under the column names 'path' and 'label'"
            )
        return tuple(sorted(labels - {""}))

    def choose_splitting(
        self, hold_out: HoldOut, classes: tuple[str, ...]
    ) -> tuple[_Splitting, list[str]]:
        """Choose the images to validate on: val, else a labeled test split, else held-out images.

        Returns the splitting and remarks.
        """
        if "train" not in self.labels:
            return _Splitting(), ["There is no training split."]
        if "val" in self.labels:
            held_out = "It has a validation split, so none of the training images is held out."
            return _Splitting(), [held_out] if hold_out.fraction else []
        has_labels = bool(self.labels.get("test", set()) - {""})
        has_labeled_test = has_labels and hold_out.evaluation_split != "test"
        if has_labeled_test and not (hold_out.fraction or hold_out.is_chosen):
            renamed = "Its test split is used for validation, under the name 'val'."
            return _Splitting({"test": "val"}), [renamed]
        if hold_out.evaluation_split and self.has_splits:
            return _Splitting(), []
        column = hold_out.group_by if hold_out.is_column else ""
        division = hold_out.divide(self._training_images(set(classes), column))
        return _Splitting(division=division, column=column), division.remarks

    def _training_images(self, classes: set[str], column: str) -> Iterator[tuple[str, str, str]]:
        """Class and path of each training image that exists; a repeated one only once."""
        repeated = self.repeated.restart()
        for row in read_lines(self.path, column):
            if isinstance(row, BadLine) or repeated.count(row.path)[0] > 1:
                continue
            is_wanted = _named_split(row) == "train" and row.label in classes
            if is_wanted and _refusal(self.path.parent / row.path) is None:
                yield row.label, row.path, _key(row, column)

    def difference_remarks(self, classes: tuple[str, ...]) -> list[str]:
        """Sentences about classes that differ between splits, and about repeated files."""
        remarks = []
        for split, labels in self.labels.items():
            if unknown := labels - {"", *classes}:
                remarks.append(
                    f"In {split} but not in train, so not used: {quote_names(sorted(unknown))}."
                )
            if labels - {""} and (missing := set(classes) - labels):
                remarks.append(f"In train but not in {split}: {quote_names(sorted(missing))}.")
        if len(self.repeated):
            remarks.append(f"Files listed more than once: {len(self.repeated):,}.")
        return remarks


@dataclass(frozen=True)
class _List:
    """A list whose classes and splits are known."""

    path: Path
    classes: tuple[str, ...]
    splitting: _Splitting
    repeated: RepeatedNames

    def entries(self, split: str) -> Iterator[Entry | Skipped]:
        """Everything in a split, in the order of the list."""
        labels = {name: label for label, name in enumerate(self.classes)}
        repeated = self.repeated.restart()
        for row in read_lines(self.path, self.splitting.column):
            if isinstance(row, BadLine):
                if split == self.splitting.leftover_split:  # report it once, not in each split
                    yield Skipped(split, f"line {row.line}", "bad_line", row.problem)
                continue
            times, _ = repeated.count(row.path)
            if self.splitting.find_split(row) == split:
                yield self._repeat(split, row) if times > 1 else self._entry(split, row, labels)

    def _repeat(self, split: str, row: ListedImage) -> Skipped:
        return Skipped(split, _name(row), "listed_twice", f"line {row.line} names it again")

    def _entry(self, split: str, row: ListedImage, labels: dict[str, int]) -> Entry | Skipped:
        file = self.path.parent / row.path
        if refusal := _refusal(file):
            return Skipped(split, _name(row), *refusal)
        if row.label in labels:
            return Entry(split, _name(row), labels[row.label], file)
        if split == "test" and not row.label:
            return Entry(split, _name(row), UNLABELED, file)
        if not row.label:
            return Skipped(split, _name(row), "unlabeled", f"line {row.line} has no label")
        return Skipped(split, _name(row), "unknown_class", f"no class {row.label!r} in train")


def _named_split(row: ListedImage) -> str:
    """The split that a line names; train if it names none."""
    return _SPLITS[row.split.lower()]


def _known_split(path: Path, row: ListedImage) -> str:
    """The split that a line names, checked. Raises ValueError for an unknown one."""
    if row.split.lower() not in _SPLITS:
        raise ValueError(
            f"{path}, line {row.line}, names the split {row.split!r}: write train, val or test"
        )
    return _named_split(row)


def _refusal(file: Path) -> tuple[str, str] | None:
    """The reason and detail if a listed file cannot be read, else None."""
    try:
        if file.is_file():
            return None
        if file.exists():
            return "not_a_file", "a folder, a pipe, a socket or a device"
        return "missing", "is listed but does not exist"
    except (OSError, ValueError) as error:
        return "unreadable", str(error)


def _key(row: ListedImage, column: str) -> str:
    """What the group of an image is found in: the column of the groups, else its path."""
    return row.group if column else _name(row)


def _name(row: ListedImage) -> str:
    return row.path.lstrip("/")
