"""ILSVRC-2010 and ILSVRC-2012: the archives as distributed, and the folders people make of them."""

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from alexnet.sources.devkit import Devkit, find_devkit, find_kaggle_lists
from alexnet.sources.directory import Directory
from alexnet.sources.entry import UNLABELED, Entry, Skipped, Source, Span
from alexnet.sources.names import ARCHIVE, WORDNET_ID, quote_names
from alexnet.sources.tarball import Tarball
from alexnet.sources.tree import FoundFile, Tree, join

VALIDATION_IMAGES = 50_000
CLASSES = 1000
SORTED = 1 << 18  # names sorted at a time: the most in one published folder are 150,000
KAGGLE_FOLDER = "ILSVRC/Data/CLS-LOC"
OFFICIAL = re.compile(r"ILSVRC20(10|12)_(img|images)_(train|val)\b.*", re.IGNORECASE)
_PART = re.compile(
    r"(?:ILSVRC(?P<year>2010|2012)_(?:img|images)_)?(?P<split>train|val|valid|validation|test)"
    r"(?:_v\d+)?(?:\.tar|\.tgz|\.tar\.gz|\.tar\.bz2|\.tar\.xz)?",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"ILSVRC20\d\d_(?:val|test)_(\d{1,8})\b", re.IGNORECASE)
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def recognize(tree: Tree, top: str) -> Source | None:
    """The archives, or folders of them, with a development kit or Kaggle's lists beside."""
    kit, place = find_devkit(tree, top), top
    if kit is None and (kit := find_kaggle_lists(tree, top)):
        place = join(top, KAGGLE_FOLDER)
    if kit is None:
        _refuse_without_kit(tree, top)
        return None
    parts, remarks = _parts(tree, place, kit.year)
    if not parts.keys() & {"train", "val"}:
        raise ValueError(
            f"{tree.path} has a development kit of ILSVRC, but no images: "
            f"ILSVRC{kit.year}_img_train.tar and ILSVRC{kit.year}_img_val.tar belong beside it"
        )
    remarks += _differences(kit, parts)
    return Source(
        kind=f"ilsvrc{kit.year}",
        path=tree.path,
        classes=_distinct(kit),
        wordnet_ids=kit.wordnet_ids,
        splits=tuple(split for split in ("train", "val", "test") if split in parts),
        remarks=tuple(remarks),
        native_size=None,
        stream=_Ilsvrc(kit, parts).entries,
    )


def _distinct(kit: Devkit) -> tuple[str, ...]:
    """The words of each synset; where two share them, as the two cranes do, with its id."""
    times = Counter(kit.words)
    return tuple(
        words if times[words] == 1 else f"{words} ({wordnet_id})"
        for words, wordnet_id in zip(kit.words, kit.wordnet_ids, strict=True)
    )


def _refuse_without_kit(tree: Tree, top: str) -> None:
    archives = [name for name in tree.files(top) if OFFICIAL.fullmatch(name)]
    if archives:
        raise ValueError(
            f"{tree.path} has {quote_names(archives)} but no development kit, which holds "
            "the class names and labels: put ILSVRC2012_devkit_t12.tar.gz (or "
            "ILSVRC2010_devkit-1.0.tar.gz) in the same folder"
        )


@dataclass(frozen=True)
class _Part:
    """The images of one split: a folder of a tree, or a whole archive."""

    tree: Tree
    folder: str


def _parts(tree: Tree, top: str, year: str) -> tuple[dict[str, _Part], list[str]]:
    """Where each split is. An archive as distributed goes before the folder made of it."""
    found: dict[str, list[tuple[str, _Part]]] = {"train": [], "val": [], "test": []}
    files = tree.files(top) if isinstance(tree, Directory) else []
    archives = [name for name in files if ARCHIVE.search(name)]
    for name in (*archives, *tree.folders(top)):
        if (match := _PART.fullmatch(name)) and match["year"] in (None, year):
            whole = name in archives
            part = (
                _Part(Tarball(tree.path / top / name), "")
                if whole
                else _Part(tree, join(top, name))
            )
            found[_SPLITS[match["split"].lower()]].append((name, part))
    remarks = [
        f"There are {quote_names(name for name, _ in parts)} for {split}: the first is used."
        for split, parts in found.items()
        if len(parts) > 1
    ]
    return _divided({split: parts[0][1] for split, parts in found.items() if parts}), remarks


def _divided(parts: dict[str, _Part]) -> dict[str, _Part]:
    """The parts, of which no folder leads into another one's by a link."""
    folders = [part.folder for part in parts.values() if part.folder]
    return {
        split: replace(part, tree=part.tree.divided(folders)) if part.folder else part
        for split, part in parts.items()
    }


def _differences(kit: Devkit, parts: dict[str, _Part]) -> list[str]:
    """What differs from the data as published, as far as it is seen without reading everything."""
    remarks, labels = [], len(kit.truth.get("val", ()))
    if len(kit.words) != CLASSES:
        remarks.append(f"The kit has {len(kit.words):,} classes; {CLASSES:,} were published.")
    if "val" in parts and labels != VALIDATION_IMAGES:
        remarks.append(
            f"The kit labels {labels:,} validation images; {VALIDATION_IMAGES:,} were published."
        )
    absent = _absent(kit, parts["train"]) if "train" in parts else []
    if absent:
        remarks.append(
            f"Classes without training images: {len(absent):,}, as {quote_names(absent)}."
        )
    return remarks


def _absent(kit: Devkit, train: _Part) -> list[str]:
    """Classes without a folder or an archive; unknown where finding out means decompressing."""
    if isinstance(train.tree, Tarball) and train.tree.is_compressed:
        return []
    names = (*train.tree.folders(train.folder), *train.tree.files(train.folder))
    present = {name[: len("n00000000")] for name in names}
    return [name for name in kit.wordnet_ids if name not in present]


@dataclass(frozen=True)
class _Ilsvrc:
    """A development kit and the images it speaks of."""

    kit: Devkit
    parts: dict[str, _Part]

    def entries(self, split: str) -> Iterator[Entry | Skipped]:
        labels = {name: label for label, name in enumerate(self.kit.wordnet_ids)}
        counts = [0] * len(labels)
        part = self.parts[split]
        for found in _by_name(part.tree.walk(part.folder, split, inner_tars=True)):
            item = self._entry(split, found, labels) if isinstance(found, FoundFile) else found
            if isinstance(item, Entry) and item.label != UNLABELED:
                counts[item.label] += 1
            yield item
        yield from self._short(counts) if split == "train" else self._missing(split, sum(counts))

    def _entry(self, split: str, found: FoundFile, labels: dict[str, int]) -> Entry | Skipped:
        *folders, file = found.name.split("/")
        folder = folders[-1] if folders and WORDNET_ID.fullmatch(folders[-1]) else None
        name = "/".join(part for part in (split, folder, file) if part)
        if folder or split == "train":
            label, reason = labels.get(folder or "", UNLABELED), "unknown_class"
        else:
            label, reason = self._label(split, file), "unlabeled"
        if label == UNLABELED and (split != "test" or split in self.kit.truth):
            return Skipped(split, name, reason, f"the kit has no label for {folder or file!r}")
        return Entry(split, name, label, found.content)

    def _label(self, split: str, file: str) -> int:
        """The label of an image by the number in its name, whatever else is missing."""
        truth, match = self.kit.truth.get(split, ()), _NUMBER.match(file)
        number = int(match[1]) if match else 0
        return truth[number - 1] if 0 < number <= len(truth) else UNLABELED

    def _short(self, counts: list[int]) -> Iterator[Skipped]:
        for name, count, published in zip(
            self.kit.wordnet_ids, counts, self.kit.published, strict=True
        ):
            if not count:
                yield Skipped("train", f"train/{name}", "empty_class", "no images in train")
            elif count < published:
                detail = f"{count:,} of {published:,} published images"
                yield Skipped("train", f"train/{name}", "short_class", detail)

    def _missing(self, split: str, count: int) -> Iterator[Skipped]:
        labels = len(self.kit.truth.get(split, ()))
        if count < labels:
            detail = f"{labels - count:,} of {labels:,} images that have a label are not there"
            yield Skipped(split, split, "missing", detail)


def _by_name(found: Iterator[FoundFile | Skipped]) -> Iterator[FoundFile | Skipped]:
    """Images of one folder sorted, where that keeps no more than their places in memory.

    So an archive gives the order of the folder that is made of it.
    """
    for _, folder in itertools.groupby(found, key=_group):
        while some_of_it := list(itertools.islice(folder, SORTED)):
            yield from sorted(some_of_it, key=lambda item: item.name)


def _group(item: FoundFile | Skipped) -> tuple[str, object]:
    by_itself = (
        object() if isinstance(item, FoundFile) and not isinstance(item.content, Span) else None
    )
    return item.name.rpartition("/")[0], by_itself
