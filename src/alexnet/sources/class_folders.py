"""Folders of classes: the class of an image is the name of its folder.

On disk or in an archive, with or without folders of splits above the classes:

    TOP/train/cat/1.jpg    class cat of split train        TOP/cat/1.jpg    class cat; a fraction of
    TOP/val/cat/2.jpg      class cat of split val          TOP/dog/2.jpg    each class is held out
    TOP/test/3.jpg         unlabeled                                        (`holdout`)

`recognition` calls `recognize`, and `recognize_single_class` if nothing else fits; `image_list`
uses the same names of splits.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from alexnet.sources.entry import UNLABELED, Entry, Skipped, Source
from alexnet.sources.holdout import Divided, HoldOut
from alexnet.sources.names import WORDNET_ID, class_remarks, quote_names
from alexnet.sources.tree import FoundFile, Tree, below, join

SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""The splits, and the names of folders (or, in a list, values) that stand for them."""


def recognize(tree: Tree, top: str, hold_out: HoldOut) -> Source | None:
    """Recognize folders of classes in `top`, or one level below in `train`, `val` and `test`.

    Returns None if there are none. Raises ValueError if a split has several folders, or no classes.
    """
    folders = tree.list_folders(top)
    splits = _split_folders(tree, top, folders)
    if splits:
        return _build_with_splits(tree, top, splits, hold_out)
    if len(folders) > 1 and any(_holds_files(tree, join(top, folder)) for folder in folders):
        return _build_without_splits(tree, top, folders, hold_out)
    return None


def recognize_single_class(tree: Tree, top: str, hold_out: HoldOut) -> Source | None:
    """Recognize a single folder of files as a source with one class; else return None."""
    folders = tree.list_folders(top)
    if len(folders) != 1 or not _holds_files(tree, join(top, folders[0])):
        return None
    source = _build_without_splits(tree, top, folders, hold_out)
    remark = f"There is only one class, {quote_names(folders)}: a classifier needs at least two."
    return replace(source, remarks=(remark, *source.remarks))


def _holds_files(tree: Tree, folder: str) -> bool:
    """Whether there are files in a folder or in one of its subfolders."""
    return bool(tree.list_files(folder)) or any(
        tree.list_files(join(folder, inside)) for inside in tree.list_folders(folder)
    )


def _split_folders(tree: Tree, top: str, folders: list[str]) -> dict[str, str]:
    """Map the splits to their folders; empty if there are none."""
    folder_of = {}
    for split, names in SPLIT_NAMES.items():
        fitting = [folder for folder in folders if folder.lower() in names]
        if len(fitting) > 1:
            raise ValueError(
                f"{tree.path} has several folders for {split}: {quote_names(fitting)}. "
                "Keep one of them"
            )
        if fitting:
            folder_of[split] = join(top, fitting[0])
    has_others = len(folders) > len(folder_of)
    if has_others and not any(tree.list_folders(folder) for folder in folder_of.values()):
        return {}  # next to class folders such as "plane" and "car", "train" is a class
    return folder_of


def _build_with_splits(tree: Tree, top: str, splits: dict[str, str], hold_out: HoldOut) -> Source:
    hold_out.check_usable(tree.path, splits)
    splits, remarks = _choose_validation(tree, splits, hold_out)
    tree = tree.with_splits(splits.values())
    inside = {split: tree.list_folders(folder) for split, folder in splits.items()}
    classes = inside.get("train") or sorted({name for names in inside.values() for name in names})
    if not classes:
        raise ValueError(
            f"{tree.path} has {quote_names(splits.values())} but no class folders inside. "
            "Put images into train/CLASS/, or list them and their classes in a CSV file"
        )
    remarks += _difference_remarks(classes, inside) + _unused_remarks(tree, top, splits)
    if "train" not in splits:
        remarks.append("There is no training split.")
    class_folders = _ClassFolders(tree, tuple(classes), splits)
    if "val" not in splits and "train" in splits and not hold_out.evaluation_split:
        class_folders = class_folders.with_held_out(hold_out)
        remarks += class_folders.division.remarks if class_folders.division else []
    return class_folders.to_source(remarks)


def _choose_validation(
    tree: Tree, splits: dict[str, str], hold_out: HoldOut
) -> tuple[dict[str, str], list[str]]:
    """Use a labeled test split for validation if there is no val and no hold-out was asked for.

    Returns the folder of each split, and remarks.
    """
    is_test_labeled = "test" in splits and bool(tree.list_folders(splits["test"]))
    if "val" in splits and hold_out.fraction:
        return splits, ["It has a validation split, so none of the training images is held out."]
    if (
        "val" in splits
        or not is_test_labeled
        or hold_out.fraction
        or hold_out.is_chosen
        or hold_out.evaluation_split == "test"
    ):
        return splits, []
    renamed = {("val" if split == "test" else split): folder for split, folder in splits.items()}
    return renamed, ["Its test split is used for validation, under the name 'val'."]


def _build_without_splits(tree: Tree, top: str, folders: list[str], hold_out: HoldOut) -> Source:
    class_folders = _ClassFolders(tree, tuple(folders), {"train": top}).with_held_out(hold_out)
    assert class_folders.division is not None
    return class_folders.to_source([*class_folders.division.remarks, *_hidden_remarks(tree, top)])


def _difference_remarks(classes: list[str], inside: dict[str, list[str]]) -> list[str]:
    """Sentences about classes that are in one split and not in another."""
    remarks = []
    for split, names in inside.items():
        unknown = sorted(set(names) - set(classes))
        missing = sorted(set(classes) - set(names))
        if unknown:
            remarks.append(f"In {split} but not in train, so not used: {quote_names(unknown)}.")
        if missing and names:
            remarks.append(f"In train but not in {split}: {quote_names(missing)}.")
        if not names and split == "val":
            remarks.append("The images in val are in no class folders, so they are not used.")
    return remarks


def _unused_remarks(tree: Tree, top: str, splits: dict[str, str]) -> list[str]:
    """Sentences about what is in `top` besides the splits."""
    others = [name for name in tree.list_folders(top) if join(top, name) not in splits.values()]
    remarks = [f"Folders next to the splits are not used: {quote_names(others)}."] if others else []
    return remarks + _hidden_remarks(tree, top)


def _hidden_remarks(tree: Tree, top: str) -> list[str]:
    hidden, links = tree.list_hidden(top), tree.list_refused_links(top)
    remarks = [f"Hidden names are not used: {quote_names(hidden)}."] if hidden else []
    if links:
        remarks.append(
            f"Links to folders that are read under another name are not used: {quote_names(links)}."
        )
    return remarks


@dataclass(frozen=True)
class _ClassFolders:
    """The folder of each split. With a `division`, the folder of train holds validation too."""

    tree: Tree
    classes: tuple[str, ...]
    folders: dict[str, str]
    division: Divided | None = None

    def with_held_out(self, hold_out: HoldOut) -> "_ClassFolders":
        """These folders, with validation images held out. Takes one pass over all names."""
        folder, known = self.folders["train"], set(self.classes)

        def images() -> Iterator[tuple[str, str, str]]:
            for item in self.tree.walk(folder, "train"):
                if isinstance(item, FoundFile):
                    name, rest = _split_name(folder, item)
                    if rest and name in known:
                        yield name, rest, f"{name}/{rest}"

        return replace(self, division=hold_out.divide(images()))

    def to_source(self, remarks: list[str]) -> Source:
        """The Source of these folders."""
        held_out = self.division.splits if self.division else ()
        own = self.folders.keys() - ({"train"} if self.division else set())
        splits = tuple(s for s in SPLIT_NAMES if s in own or s in held_out)
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
            division=self.division.metadata() if self.division else None,
        )

    def entries(self, split: str) -> Iterator[Entry | Skipped]:
        """Everything in a split; at the end, a Skipped for each class without images."""
        labels = {name: label for label, name in enumerate(self.classes)}
        counts = [0] * len(self.classes)
        for item in self._in_split(split, labels):
            if isinstance(item, Entry) and item.label != UNLABELED:
                counts[item.label] += 1
            yield item
        if self.division and split in self.division.splits:
            # A class may be too small to have validation images, so only one split is checked.
            reports_empty = split == self.division.leftover_split
        else:
            reports_empty = split == "train" or any(counts)  # a test split may have no labels
        if reports_empty:
            yield from self._empty_classes(split, counts)

    def _in_split(self, split: str, labels: dict[str, int]) -> Iterator[Entry | Skipped]:
        """Everything in a split. With a division, train and val are the same folder."""
        division = self.division if self.division and split in self.division.splits else None
        folder = self.folders["train" if division else split]
        for item in self.tree.walk(folder, split):
            if isinstance(item, Skipped):
                if (
                    division is None or split == division.leftover_split
                ):  # name it once, not once a split
                    yield item
                continue
            name, rest = _split_name(folder, item)
            own = division.find_split(name, rest, f"{name}/{rest}") if division and rest else ""
            if division and split != (own or division.leftover_split):
                continue
            if not rest:
                yield self._outside_classes(split, item)
            elif name in labels:
                yield Entry(split, item.name, labels[name], item.content)
            else:
                yield Skipped(split, item.name, "unknown_class", f"no class {name!r} in train")

    def _outside_classes(self, split: str, file: FoundFile) -> Entry | Skipped:
        """A file that is in no class folder: an unlabeled image, if test has no class folders."""
        folder = self.folders.get(split)
        if split == "test" and folder is not None and not self.tree.list_folders(folder):
            return Entry(split, file.name, UNLABELED, file.content)
        return Skipped(split, file.name, "no_class", "is in no class folder")

    def _empty_classes(self, split: str, counts: list[int]) -> Iterator[Skipped]:
        """A Skipped for each class without images."""
        folder = self.folders.get(split, self.folders.get("train", ""))
        for name, count in zip(self.classes, counts, strict=True):
            if not count:
                yield Skipped(split, join(folder, name), "empty_class", f"no images in {split}")


def _split_name(folder: str, file: FoundFile) -> tuple[str, str]:
    """The class of a file below `folder`, and its name within the class ("" if it is in none)."""
    name, _, rest = (below(folder, file.name) or "").partition("/")
    return name, rest
