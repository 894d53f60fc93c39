"""The ILSVRC development kits: synsets, and which of them each validation image shows."""

import re
from dataclasses import dataclass
from pathlib import Path

from alexnet.sources.directory import Directory
from alexnet.sources.entry import UNLABELED
from alexnet.sources.limits import LARGEST_TEXT
from alexnet.sources.matlab import Value, read_table
from alexnet.sources.names import ARCHIVE, WORDNET_ID
from alexnet.sources.reader import DamagedError
from alexnet.sources.tarball import Tarball
from alexnet.sources.tree import Tree, join

MOST_LABELS = 1_000_000  # of images without a folder; 150,000 are the most that were published
_TRUTH = re.compile(r"ILSVRC(20\d\d)_(validation|test)_ground_truth\.txt")
_SOLUTION = re.compile(r"^ILSVRC2012_val_(\d{8}),(n\d{8})\b", re.MULTILINE)
_SPLITS = {"validation": "val", "test": "test"}


@dataclass(frozen=True)
class Devkit:
    """The classes in the order of their WordNet ids, and the labels of images without a folder.

    Labels count in that order. The kit itself numbers its synsets in another one.
    """

    year: str
    wordnet_ids: tuple[str, ...]
    words: tuple[str, ...]
    published: tuple[int, ...]  # training images of each class; 0 where the kit does not say
    truth: dict[str, tuple[int, ...]]  # of "val", of "test": the label of image 1, 2, …; or −1
    numbers: tuple[int, ...] = ()  # the kit's own of each class, which a submission is made of


def find_devkit(tree: Tree, top: str) -> Devkit | None:
    """The kit in `top`: a folder or an archive with "devkit" in its name, or only its data."""
    for folder in _folders(tree, top):
        if "meta.mat" in (files := tree.files(folder)) and any(map(_TRUTH.fullmatch, files)):
            return _read(tree, folder, top)
    if isinstance(tree, Directory):
        for name in tree.files(top):
            if "devkit" in name.lower() and ARCHIVE.search(name):
                return _from_archive(tree, top, name)
    return None


def _from_archive(tree: Tree, top: str, name: str) -> Devkit:
    kit = Tarball(tree.path / top / name)
    for folder in _folders(kit, ""):
        if "meta.mat" in kit.files(folder):
            return _read(kit, folder, "", beside=(tree, top))
    raise ValueError(
        f"{kit.path} holds no data/meta.mat: it is cut off or no ILSVRC development kit"
    )


def _folders(tree: Tree, top: str) -> list[str]:
    """Where the data of a kit may be."""
    kits = [join(top, name) for name in tree.folders(top) if "devkit" in name.lower()]
    return [place for folder in (top, *kits) for place in (folder, join(folder, "data"))]


def _read(tree: Tree, folder: str, top: str, beside: tuple[Tree, str] | None = None) -> Devkit:
    meta = join(folder, "meta.mat")
    synsets = _synsets(_content(tree, meta), tree.path / meta)
    label_of = {number: label for label, (_, number, _, _) in enumerate(synsets)}
    truth, year = {}, ""
    for where, inside in ((tree, folder), beside or (tree, top)):  # 2010's test labels come apart
        for name in where.files(inside):
            if match := _TRUTH.fullmatch(name):
                year, numbers = match[1], _numbers(where, join(inside, name))
                truth[_SPLITS[match[2]]] = tuple(label_of.get(n, UNLABELED) for n in numbers)
    return Devkit(
        year=year,
        wordnet_ids=tuple(wordnet_id for wordnet_id, *_ in synsets),
        words=tuple(words for _, _, words, _ in synsets),
        published=tuple(count for *_, count in synsets),
        truth=truth,
        numbers=tuple(number for _, number, *_ in synsets),
    )


def _content(tree: Tree, name: str) -> bytes:
    with tree.open(name) as reader:
        try:
            content = reader.read(LARGEST_TEXT + 1)
        except DamagedError as damage:
            raise ValueError(f"{tree.path / name} is {damage}") from damage
    if len(content) > LARGEST_TEXT:
        raise ValueError(
            f"{tree.path / name} has more than {LARGEST_TEXT:,} bytes: it is no file of ILSVRC"
        )
    return content


def _numbers(tree: Tree, name: str) -> tuple[int, ...]:
    lines = _content(tree, name).decode("ascii", "replace").split(None, MOST_LABELS)
    if len(lines) > MOST_LABELS:
        raise ValueError(f"{tree.path / name} has more than {MOST_LABELS:,} labels")
    for number, line in enumerate(lines, start=1):
        if not line.isdecimal() or len(line) > 9:
            raise ValueError(f"{tree.path / name}, line {number}, is no number of a synset")
    return tuple(int(line) for line in lines)


def _synsets(content: bytes, path: Path) -> list[tuple[str, int, str, int]]:
    """WordNet id, number, words and published images of each leaf, sorted by WordNet id."""
    try:
        table = read_table(
            content, "synsets", (0, "WNID", "words", "num_children", "num_train_images")
        )
        found = [leaf for synset in table if (leaf := _leaf(*synset)) is not None]
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is no meta.mat of ILSVRC: {error}") from error
    if not found:
        raise ValueError(f"{path} has no synset without children: it is no meta.mat of ILSVRC")
    return sorted(found)


def _leaf(
    number: Value, wordnet_id: Value, words: Value, children: Value, images: Value
) -> tuple[str, int, str, int] | None:
    """A synset as it is used, or None if others are below it."""
    if not isinstance(wordnet_id, str) or not isinstance(words, str):
        raise ValueError("its synsets have no 'WNID' and 'words'")
    if _count(children) or not WORDNET_ID.fullmatch(wordnet_id):
        return None
    return wordnet_id, _count(number), words, 0 if images is None else _count(images)


def _count(value: Value) -> int:
    if not isinstance(value, int | float) or not 0 <= value < 1 << 31 or value != int(value):
        raise ValueError(f"{value!r} where the count of something is due")
    return int(value)


def find_kaggle_lists(tree: Tree, top: str) -> Devkit | None:
    """The lists that Kaggle distributes with ILSVRC-2012 instead of a kit."""
    files = tree.files(top)
    if "LOC_synset_mapping.txt" not in files:
        return None
    synsets = _kaggle_synsets(tree, join(top, "LOC_synset_mapping.txt"))
    wordnet_ids = tuple(synsets)
    truth = {}
    if "LOC_val_solution.csv" in files:
        solution = _content(tree, join(top, "LOC_val_solution.csv")).decode("ascii", "replace")
        truth["val"] = _solution(solution, wordnet_ids)
    return Devkit("2012", wordnet_ids, tuple(synsets.values()), (0,) * len(synsets), truth)


def _kaggle_synsets(tree: Tree, name: str) -> dict[str, str]:
    """The words of each WordNet id, in the order of the ids. Raises ValueError for another file."""
    found: dict[str, str] = {}
    lines = _content(tree, name).decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, 1):
        wordnet_id, _, words = line.partition(" ")
        if line and not (WORDNET_ID.fullmatch(wordnet_id) and words.strip()):
            raise ValueError(f"line {number} of {tree.path / name} is no WordNet id and words")
        if wordnet_id in found:
            raise ValueError(f"line {number} of {tree.path / name} repeats {wordnet_id}")
        if line:
            found[wordnet_id] = words.strip()
    return dict(sorted(found.items()))


def _solution(text: str, wordnet_ids: tuple[str, ...]) -> tuple[int, ...]:
    """Labels from lines as `ILSVRC2012_val_00000001,n01440764 85 1 499 272`, in any order."""
    labels = {wordnet_id: label for label, wordnet_id in enumerate(wordnet_ids)}
    lines = ((int(match[1]), match[2]) for match in _SOLUTION.finditer(text))
    found = {n: labels.get(synset, UNLABELED) for n, synset in lines if n <= MOST_LABELS}
    return tuple(found.get(n, UNLABELED) for n in range(1, max(found, default=0) + 1))
