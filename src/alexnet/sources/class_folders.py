"""Folders of classes, with or without folders of splits above, on disk or in an archive."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from alexnet.sources.entry import UNLABELED, Entry, Skipped, Source
from alexnet.sources.holdout import Division, HoldOut
from alexnet.sources.names import WORDNET_ID, class_remarks, quote_names
from alexnet.sources.tree import FoundFile, Tree, below, join

SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def recognize(tree: Tree, top: str, hold_out: HoldOut) -> Source | None:
    """Folders of classes directly in `top` or one below it, under `train`, `val` and `test`."""
    folders = tree.folders(top)
    splits = _split_folders(tree, top, folders)
    if splits:
        return _divided(tree, top, splits, hold_out)
    if len(folders) > 1 and any(_holds_files(tree, join(top, folder)) for folder in folders):
        return _undivided(tree, top, folders, hold_out)
    return None


def single_class(tree: Tree, top: str, hold_out: HoldOut) -> Source | None:
    """One folder with files in it: a class that is alone."""
    folders = tree.folders(top)
    if len(folders) != 1 or not _holds_files(tree, join(top, folders[0])):
        return None
    source = _undivided(tree, top, folders, hold_out)
    remark = f"There is only one class, {quote_names(folders)}: nothing can be told apart."
    return replace(source, remarks=(remark, *source.remarks))


def _holds_files(tree: Tree, folder: str) -> bool:
    """Whether there are files in the folder, or one below it."""
    return bool(tree.files(folder)) or any(
        tree.files(join(folder, inside)) for inside in tree.folders(folder)
    )


def _split_folders(tree: Tree, top: str, folders: list[str]) -> dict[str, str]:
    """The folder of each split, by its name."""
    found = {}
    for split, names in SPLIT_NAMES.items():
        fitting = [folder for folder in folders if folder.lower() in names]
        if len(fitting) > 1:
            raise ValueError(
                f"{tree.path} has several folders for {split}: {quote_names(fitting)}. "
                "Keep one of them"
            )
        if fitting:
            found[split] = join(top, fitting[0])
    others = len(folders) > len(found)
    if others and not any(tree.folders(folder) for folder in found.values()):
        return {}  # among planes and cars, "train" is a class
    return found


def _divided(tree: Tree, top: str, splits: dict[str, str], hold_out: HoldOut) -> Source:
    splits, remarks = _measured_split(tree, splits, hold_out)
    tree = tree.divided(splits.values())
    inside = {split: tree.folders(folder) for split, folder in splits.items()}
    classes = inside.get("train") or sorted({name for names in inside.values() for name in names})
    if not classes:
        raise ValueError(
            f"{tree.path} has {quote_names(splits.values())} but no folders of classes inside. "
            "Images belong into train/CLASS/, or name them and their classes in a CSV file"
        )
    remarks += _differences(classes, inside) + _unused(tree, top, splits)
    if "train" not in splits:
        remarks.append("There is no training split.")
    found = _Folders(tree, tuple(classes), splits)
    if "val" not in splits and "train" in splits and not hold_out.measured:
        found = found.divided(hold_out)
        remarks += found.division.remarks if found.division else []
    return found.source(remarks)


def _measured_split(
    tree: Tree, splits: dict[str, str], hold_out: HoldOut
) -> tuple[dict[str, str], list[str]]:
    """Measure on the test split if it has labels and is all there is to measure on."""
    labeled_test = "test" in splits and bool(tree.folders(splits["test"]))
    if "val" in splits and hold_out.fraction:
        return splits, ["It has a validation split, so none of the training images is held out."]
    if "val" in splits or not labeled_test or hold_out.fraction or hold_out.measured == "test":
        return splits, []
    renamed = {("val" if split == "test" else split): folder for split, folder in splits.items()}
    return renamed, ["Its test split is used for validation, under the name 'val'."]


def _undivided(tree: Tree, top: str, folders: list[str], hold_out: HoldOut) -> Source:
    found = _Folders(tree, tuple(folders), {"train": top}).divided(hold_out)
    assert found.division is not None
    return found.source([*found.division.remarks, *_hidden_remark(tree, top)])


def _differences(classes: list[str], inside: dict[str, list[str]]) -> list[str]:
    remarks = []
    for split, names in inside.items():
        unknown = sorted(set(names) - set(classes))
        missing = sorted(set(classes) - set(names))
        if unknown:
            remarks.append(f"In {split} but not in train, so not used: {quote_names(unknown)}.")
        if missing and names:
            remarks.append(f"In train but not in {split}: {quote_names(missing)}.")
        if not names and split == "val":
            remarks.append("The images in val lie in no folders of classes, so they are not used.")
    return remarks


def _unused(tree: Tree, top: str, splits: dict[str, str]) -> list[str]:
    others = [name for name in tree.folders(top) if join(top, name) not in splits.values()]
    remarks = [f"Folders beside the splits are not used: {quote_names(others)}."] if others else []
    return remarks + _hidden_remark(tree, top)


def _hidden_remark(tree: Tree, top: str) -> list[str]:
    hidden, links = tree.hidden(top), tree.refused_links(top)
    remarks = [f"Hidden names are not used: {quote_names(hidden)}."] if hidden else []
    if links:
        remarks.append(
            f"Links to what is read under another name are not used: {quote_names(links)}."
        )
    return remarks


@dataclass(frozen=True)
class _Folders:
    """Where the images of each split are; with a `division`, all of them are among train's."""

    tree: Tree
    classes: tuple[str, ...]
    folders: dict[str, str]
    division: Division | None = None

    def divided(self, hold_out: HoldOut) -> "_Folders":
        """The same with its training images divided: one pass over all their names."""
        folder, known = self.folders["train"], set(self.classes)

        def images() -> Iterator[tuple[str, str]]:
            for item in self.tree.walk(folder, "train"):
                if isinstance(item, FoundFile):
                    name, rest = _class_and_rest(folder, item)
                    if rest and name in known:
                        yield name, rest

        return replace(self, division=hold_out.divide(images()))

    def source(self, remarks: list[str]) -> Source:
        divided = self.division.splits if self.division else ()
        own = self.folders.keys() - ({"train"} if self.division else set())
        splits = tuple(s for s in SPLIT_NAMES if s in own or s in divided)
        are_wordnet_ids = all(WORDNET_ID.fullmatch(name) for name in self.classes)
        return Source(
            kind="folder",
            path=self.tree.path,
            classes=self.classes,
            wordnet_ids=self.classes if are_wordnet_ids else None,
            splits=splits,
            remarks=(*remarks, *class_remarks(self.classes)),
            native_size=None,
            stream=self.entries,
            division=self.division.facts() if self.division else None,
        )

    def entries(self, split: str) -> Iterator[Entry | Skipped]:
        labels = {name: label for label, name in enumerate(self.classes)}
        counts = [0] * len(self.classes)
        for item in self._in_split(split, labels):
            if isinstance(item, Entry) and item.label != UNLABELED:
                counts[item.label] += 1
            yield item
        if self.division and split in self.division.splits:
            empty = split == self.division.first  # a class with nothing to hold out is not empty
        else:
            empty = split == "train" or any(counts)  # a test split may have no labels at all
        if empty:
            yield from self._empty(split, counts)

    def _in_split(self, split: str, labels: dict[str, int]) -> Iterator[Entry | Skipped]:
        division = self.division if self.division and split in self.division.splits else None
        folder = self.folders["train" if division else split]
        for item in self.tree.walk(folder, split):
            if isinstance(item, Skipped):
                if division is None or split == division.first:  # name it once, not once a split
                    yield item
                continue
            name, rest = _class_and_rest(folder, item)
            own = division.split(name, rest) if division and rest else ""
            if division and split != (own or division.first):
                continue
            if not rest:
                yield self._outside(split, item)
            elif name in labels:
                yield Entry(split, item.name, labels[name], item.content)
            else:
                yield Skipped(split, item.name, "unknown_class", f"no class {name!r} in train")

    def _outside(self, split: str, found: FoundFile) -> Entry | Skipped:
        """A file beside the folders of classes: an image without a label, where test has none."""
        folder = self.folders.get(split)
        if split == "test" and folder is not None and not self.tree.folders(folder):
            return Entry(split, found.name, UNLABELED, found.content)
        return Skipped(split, found.name, "no_class", "lies in no folder of a class")

    def _empty(self, split: str, counts: list[int]) -> Iterator[Skipped]:
        folder = self.folders.get(split, self.folders.get("train", ""))
        for name, count in zip(self.classes, counts, strict=True):
            if not count:
                yield Skipped(split, join(folder, name), "empty_class", f"no images in {split}")


def _class_and_rest(folder: str, found: FoundFile) -> tuple[str, str]:
    """The first folder below `folder` that a file lies in, and its name from there on, or ""."""
    name, _, rest = (below(folder, found.name) or "").partition("/")
    return name, rest
