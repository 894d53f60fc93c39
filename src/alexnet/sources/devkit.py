"""The ILSVRC development kits: class names, and the labels of validation and test images.

    data/meta.mat                                   synsets: number, WordNet id, words (`matlab`)
    data/ILSVRC2012_validation_ground_truth.txt     one synset number per line, for image 1, 2, …
    LOC_synset_mapping.txt, LOC_val_solution.csv    the same by Kaggle, which has no kit

`ilsvrc` calls `find_devkit` and `find_kaggle_lists`; `evaluation.submission` also needs the synset
numbers of a kit. Every file is read up to a limit, and errors name the file and line.
"""

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

MOST_LABELS = 1_000_000  # in one file; the largest published one has 150,000
_TRUTH = re.compile(r"ILSVRC(20\d\d)_(validation|test)_ground_truth\.txt")
_SOLUTION = re.compile(r"^ILSVRC2012_val_(\d{8}),(n\d{8})\b", re.MULTILINE)
_SPLITS = {"validation": "val", "test": "test"}


@dataclass(frozen=True)
class Devkit:
    """The classes, sorted by WordNet id, and the labels of the validation and test images.

    These images are not in class folders. A label is an index into the sorted classes, not the
    kit's own synset number.
    """

    year: str
    wordnet_ids: tuple[str, ...]
    words: tuple[str, ...]
    published: tuple[int, ...]  # training images per class; 0 if the kit does not say
    truth: dict[str, tuple[int, ...]]  # for val and test: labels of image 1, 2, …, or UNLABELED
    synset_numbers: tuple[int, ...] = ()  # the kit's number of each class, for submissions


def find_devkit(tree: Tree, top: str) -> Devkit | None:
    """Find a kit in `top`: a folder or an archive with "devkit" in its name, or only its data.

    Returns None if there is none. Raises ValueError for a damaged one.
    """
    for folder in _folders(tree, top):
        if "meta.mat" in (files := tree.list_files(folder)) and any(map(_TRUTH.fullmatch, files)):
            return _read(tree, folder, top)
    if isinstance(tree, Directory):
        for name in tree.list_files(top):
            if "devkit" in name.lower() and ARCHIVE.search(name):
                return _read_archive(tree, top, name)
    return None


def _read_archive(tree: Tree, top: str, name: str) -> Devkit:
    """Read a kit from an archive. The 2010 test labels may be next to the archive."""
    kit = Tarball(tree.path / top / name)
    for folder in _folders(kit, ""):
        if "meta.mat" in kit.list_files(folder):
            return _read(kit, folder, "", next_to=(tree, top))
    raise ValueError(
        f"{kit.path} holds no data/meta.mat: it is truncated, or not an ILSVRC development kit"
    )


def _folders(tree: Tree, top: str) -> list[str]:
    """The folders that the data of a kit may be in."""
    kits = [join(top, name) for name in tree.list_folders(top) if "devkit" in name.lower()]
    return [data for folder in (top, *kits) for data in (folder, join(folder, "data"))]


def _read(tree: Tree, folder: str, top: str, next_to: tuple[Tree, str] | None = None) -> Devkit:
    """Read a kit from `folder`, and labels also from `top` or the folder `next_to`."""
    meta = join(folder, "meta.mat")
    synsets = _read_synsets(_read_content(tree, meta), tree.path / meta)
    label_of = {number: label for label, (_, number, _, _) in enumerate(synsets)}
    truth, year = {}, ""
    # The 2010 test labels are distributed separately, next to the kit.
    for label_tree, label_folder in ((tree, folder), next_to or (tree, top)):
        for name in label_tree.list_files(label_folder):
            if match := _TRUTH.fullmatch(name):
                year, numbers = match[1], _read_numbers(label_tree, join(label_folder, name))
                truth[_SPLITS[match[2]]] = tuple(label_of.get(n, UNLABELED) for n in numbers)
    return Devkit(
        year=year,
        wordnet_ids=tuple(wordnet_id for wordnet_id, *_ in synsets),
        words=tuple(words for _, _, words, _ in synsets),
        published=tuple(count for *_, count in synsets),
        truth=truth,
        synset_numbers=tuple(number for _, number, *_ in synsets),
    )


def _read_content(tree: Tree, name: str) -> bytes:
    """A whole file. Raises ValueError if it is damaged or larger than LARGEST_TEXT."""
    with tree.open_file(name) as reader:
        try:
            content = reader.read(LARGEST_TEXT + 1)
        except DamagedError as damage:
            raise ValueError(f"{tree.path / name} is {damage}") from damage
    if len(content) > LARGEST_TEXT:
        raise ValueError(
            f"{tree.path / name} has more than {LARGEST_TEXT:,} bytes: it is not a file of ILSVRC"
        )
    return content


def _read_numbers(tree: Tree, name: str) -> tuple[int, ...]:
    """One synset number per line."""
    lines = _read_content(tree, name).decode("ascii", "replace").split(None, MOST_LABELS)
    if len(lines) > MOST_LABELS:
        raise ValueError(f"{tree.path / name} has more than {MOST_LABELS:,} labels")
    for number, line in enumerate(lines, start=1):
        if not line.isdecimal() or len(line) > 9:
            raise ValueError(f"{tree.path / name}, line {number}, is not the number of a synset")
    return tuple(int(line) for line in lines)


def _read_synsets(content: bytes, path: Path) -> list[tuple[str, int, str, int]]:
    """WordNet id, number, words and published images of each leaf, sorted by WordNet id."""
    try:
        table = read_table(
            content, "synsets", (0, "WNID", "words", "num_children", "num_train_images")
        )
        leaves = [leaf for synset in table if (leaf := _to_leaf(*synset)) is not None]
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a meta.mat of ILSVRC: {error}") from error
    if not leaves:
        raise ValueError(f"{path} has no synset without children: it is not a meta.mat of ILSVRC")
    return sorted(leaves)


def _to_leaf(
    number: Value, wordnet_id: Value, words: Value, children: Value, images: Value
) -> tuple[str, int, str, int] | None:
    """A synset without children, which is a class; None for any other."""
    if not isinstance(wordnet_id, str) or not isinstance(words, str):
        raise ValueError("its synsets have no 'WNID' and 'words'")
    if _to_count(children) or not WORDNET_ID.fullmatch(wordnet_id):
        return None
    return wordnet_id, _to_count(number), words, 0 if images is None else _to_count(images)


def _to_count(value: Value) -> int:
    """A number of the table as an integer; raises ValueError if it is not one."""
    if not isinstance(value, int | float) or not 0 <= value < 1 << 31 or value != int(value):
        raise ValueError(f"{value!r} where a count is expected")
    return int(value)


def find_kaggle_lists(tree: Tree, top: str) -> Devkit | None:
    """Read the lists that Kaggle distributes with ILSVRC-2012 instead of a kit, if any."""
    files = tree.list_files(top)
    if "LOC_synset_mapping.txt" not in files:
        return None
    synsets = _read_kaggle_synsets(tree, join(top, "LOC_synset_mapping.txt"))
    wordnet_ids = tuple(synsets)
    truth = {}
    if "LOC_val_solution.csv" in files:
        solution = _read_content(tree, join(top, "LOC_val_solution.csv")).decode("ascii", "replace")
        truth["val"] = _parse_solution(solution, wordnet_ids)
    return Devkit("2012", wordnet_ids, tuple(synsets.values()), (0,) * len(synsets), truth)


def _read_kaggle_synsets(tree: Tree, name: str) -> dict[str, str]:
    """The words of each WordNet id, sorted by id. Raises ValueError if a line is invalid."""
    words_of: dict[str, str] = {}
    lines = _read_content(tree, name).decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, 1):
        wordnet_id, _, words = line.partition(" ")
        if line and not (WORDNET_ID.fullmatch(wordnet_id) and words.strip()):
            raise ValueError(f"line {number} of {tree.path / name} is not a WordNet id and words")
        if wordnet_id in words_of:
            raise ValueError(f"line {number} of {tree.path / name} repeats {wordnet_id}")
        if line:
            words_of[wordnet_id] = words.strip()
    return dict(sorted(words_of.items()))


def _parse_solution(text: str, wordnet_ids: tuple[str, ...]) -> tuple[int, ...]:
    """Labels from lines such as `ILSVRC2012_val_00000001,n01440764 85 1 499 272`, in any order."""
    labels = {wordnet_id: label for label, wordnet_id in enumerate(wordnet_ids)}
    lines = ((int(match[1]), match[2]) for match in _SOLUTION.finditer(text))
    label_of = {n: labels.get(synset, UNLABELED) for n, synset in lines if n <= MOST_LABELS}
    return tuple(label_of.get(n, UNLABELED) for n in range(1, max(label_of, default=0) + 1))
