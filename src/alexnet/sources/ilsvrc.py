"""ILSVRC-2010 and ILSVRC-2012: the archives as distributed, or the folders extracted from them.

    TOP/ILSVRC2012_img_train.tar      one inner tar per class: n01440764.tar, …
    TOP/ILSVRC2012_img_val.tar        ILSVRC2012_val_00000001.JPEG, …: labels are in the kit
    TOP/ILSVRC2012_img_test.tar       unlabeled, except in 2010
    TOP/ILSVRC2012_devkit_t12.tar.gz  class names and validation labels: see `devkit`

Each archive may also be a folder (train/, val/, test/), and Kaggle's lists may replace the kit.
Source: https://image-net.org/challenges/LSVRC. `recognition` calls `recognize`.
"""

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
MAX_SORTED = 1 << 18  # names sorted at a time; the largest published folder has 150,000
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
    """Recognize the archives or their folders next to a development kit or Kaggle's lists.

    Returns None if there is neither kit nor archive. Raises ValueError for a kit without images,
    and for archives without a kit.
    """
    kit, folder = find_devkit(tree, top), top
    if kit is None and (kit := find_kaggle_lists(tree, top)):
        folder = join(top, KAGGLE_FOLDER)
    if kit is None:
        _refuse_without_kit(tree, top)
        return None
    parts, remarks = _find_parts(tree, folder, kit.year)
    if not parts.keys() & {"train", "val"}:
        raise ValueError(
            f"{tree.path} has a development kit of ILSVRC, but no images: "
            f"ILSVRC{kit.year}_img_train.tar and ILSVRC{kit.year}_img_val.tar must be in the same "
            "folder"
        )
    remarks += _difference_remarks(kit, parts)
    return Source(
        kind=f"ilsvrc{kit.year}",
        path=tree.path,
        classes=_distinct_names(kit),
        wordnet_ids=kit.wordnet_ids,
        splits=tuple(split for split in ("train", "val", "test") if split in parts),
        remarks=tuple(remarks),
        native_size=None,
        stream=_IlsvrcImages(kit, parts).entries,
    )


def _distinct_names(kit: Devkit) -> tuple[str, ...]:
    """The words of each synset; if two synsets have the same ("crane"), with the WordNet id."""
    times = Counter(kit.words)
    return tuple(
        words if times[words] == 1 else f"{words} ({wordnet_id})"
        for words, wordnet_id in zip(kit.words, kit.wordnet_ids, strict=True)
    )


def _refuse_without_kit(tree: Tree, top: str) -> None:
    """Raise ValueError if there are archives of the challenge: they need a kit."""
    archives = [name for name in tree.list_files(top) if OFFICIAL.fullmatch(name)]
    if archives:
        raise ValueError(
            f"{tree.path} has {quote_names(archives)} but no development kit, which holds "
            "the class names and labels: put ILSVRC2012_devkit_t12.tar.gz (or "
            "ILSVRC2010_devkit-1.0.tar.gz) in the same folder"
        )


@dataclass(frozen=True)
class _Part:
    """Where the images of one split are: a folder of a tree, or a whole archive (folder "")."""

    tree: Tree
    folder: str


def _find_parts(tree: Tree, top: str, year: str) -> tuple[dict[str, _Part], list[str]]:
    """The place of each split, and remarks. An archive is preferred to a folder."""
    candidates: dict[str, list[tuple[str, _Part]]] = {"train": [], "val": [], "test": []}
    files = tree.list_files(top) if isinstance(tree, Directory) else []
    archives = [name for name in files if ARCHIVE.search(name)]
    for name in (*archives, *tree.list_folders(top)):
        if (match := _PART.fullmatch(name)) and match["year"] in (None, year):
            is_archive = name in archives
            part = (
                _Part(Tarball(tree.path / top / name), "")
                if is_archive
                else _Part(tree, join(top, name))
            )
            candidates[_SPLITS[match["split"].lower()]].append((name, part))
    remarks = [
        f"There are {quote_names(name for name, _ in parts)} for {split}: the first is used."
        for split, parts in candidates.items()
        if len(parts) > 1
    ]
    return _with_separate_splits(
        {split: parts[0][1] for split, parts in candidates.items() if parts}
    ), remarks


def _with_separate_splits(parts: dict[str, _Part]) -> dict[str, _Part]:
    """The same parts, in which no symlink leads from one split into another."""
    folders = [part.folder for part in parts.values() if part.folder]
    return {
        split: replace(part, tree=part.tree.with_splits(folders)) if part.folder else part
        for split, part in parts.items()
    }


def _difference_remarks(kit: Devkit, parts: dict[str, _Part]) -> list[str]:
    """Sentences about differences from the published data, without reading all archives."""
    remarks, labels = [], len(kit.truth.get("val", ()))
    if len(kit.words) != CLASSES:
        remarks.append(f"The kit has {len(kit.words):,} classes; {CLASSES:,} were published.")
    if "val" in parts and labels != VALIDATION_IMAGES:
        remarks.append(
            f"The kit labels {labels:,} validation images; {VALIDATION_IMAGES:,} were published."
        )
    absent = _find_absent_classes(kit, parts["train"]) if "train" in parts else []
    if absent:
        remarks.append(
            f"Classes without training images: {len(absent):,}, as {quote_names(absent)}."
        )
    return remarks


def _find_absent_classes(kit: Devkit, train: _Part) -> list[str]:
    """Classes without a folder or an archive; unknown (empty) for a compressed archive."""
    if isinstance(train.tree, Tarball) and train.tree.is_compressed:
        return []
    names = (*train.tree.list_folders(train.folder), *train.tree.list_files(train.folder))
    present = {name[: len("n00000000")] for name in names}
    return [name for name in kit.wordnet_ids if name not in present]


@dataclass(frozen=True)
class _IlsvrcImages:
    """A development kit and the images that it labels."""

    kit: Devkit
    parts: dict[str, _Part]

    def entries(self, split: str) -> Iterator[Entry | Skipped]:
        """Everything in a split; at the end, a Skipped for published images that are missing."""
        labels = {name: label for label, name in enumerate(self.kit.wordnet_ids)}
        counts = [0] * len(labels)
        part = self.parts[split]
        for found in _sort_folders(part.tree.walk(part.folder, split, inner_tars=True)):
            item = self._to_entry(split, found, labels) if isinstance(found, FoundFile) else found
            if isinstance(item, Entry) and item.label != UNLABELED:
                counts[item.label] += 1
            yield item
        yield from (
            self._short_classes(counts)
            if split == "train"
            else self._missing_images(split, sum(counts))
        )

    def _to_entry(self, split: str, image: FoundFile, labels: dict[str, int]) -> Entry | Skipped:
        """A file as an image, labeled by its class folder, or else by its number in the kit."""
        *folders, file = image.name.split("/")
        folder = folders[-1] if folders and WORDNET_ID.fullmatch(folders[-1]) else None
        name = "/".join(part for part in (split, folder, file) if part)
        if folder or split == "train":
            label, reason = labels.get(folder or "", UNLABELED), "unknown_class"
        else:
            label, reason = self._numbered_label(split, file), "unlabeled"
        if label == UNLABELED and (split != "test" or split in self.kit.truth):
            return Skipped(split, name, reason, f"the kit has no label for {folder or file!r}")
        return Entry(split, name, label, image.content)

    def _numbered_label(self, split: str, file: str) -> int:
        """The label of an image without a class folder, by the number in its file name."""
        truth, match = self.kit.truth.get(split, ()), _NUMBER.match(file)
        number = int(match[1]) if match else 0
        return truth[number - 1] if 0 < number <= len(truth) else UNLABELED

    def _short_classes(self, counts: list[int]) -> Iterator[Skipped]:
        """A Skipped for each class that has fewer images than were published."""
        for name, count, published in zip(
            self.kit.wordnet_ids, counts, self.kit.published, strict=True
        ):
            if not count:
                yield Skipped("train", f"train/{name}", "empty_class", "no images in train")
            elif count < published:
                detail = f"{count:,} of {published:,} published images"
                yield Skipped("train", f"train/{name}", "short_class", detail)

    def _missing_images(self, split: str, count: int) -> Iterator[Skipped]:
        """A Skipped if fewer images were found than have a label."""
        labels = len(self.kit.truth.get(split, ()))
        if count < labels:
            detail = f"{labels - count:,} of {labels:,} images that have a label are missing"
            yield Skipped(split, split, "missing", detail)


def _sort_folders(items: Iterator[FoundFile | Skipped]) -> Iterator[FoundFile | Skipped]:
    """Sort consecutive items of one folder by name.

    So an archive yields the same order as the folder extracted from it. Images from a compressed
    archive stay in archive order, because sorting would keep their contents in memory.
    """
    for _, folder in itertools.groupby(items, key=_group):
        while batch := list(itertools.islice(folder, MAX_SORTED)):
            yield from sorted(batch, key=lambda item: item.name)


def _group(item: FoundFile | Skipped) -> tuple[str, object]:
    """Equal for items that are sorted together; unique for an item that stays in its place."""
    stays = isinstance(item, FoundFile) and not isinstance(item.content, Span)
    return item.name.rpartition("/")[0], object() if stays else None
