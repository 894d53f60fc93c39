"""The names of a network's classes, from a file that others wrote, or by number.

These files exist for ImageNet's 1000 classes, all in the order of the WordNet ids, which is that of
torchvision and of Caffe:

    imagenet_classes.txt        a name a line
    synset_words.txt            a WordNet id and a name a line (Caffe)
    imagenet_class_index.json   {"0": ["n01440764", "tench"], …}
    imagenet-simple-labels.json ["tench", …]

`run` calls this module.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from alexnet.sources.names import WORDNET_ID, quote_names
from alexnet.validate import check, read_json

LARGEST_FILE = 1 << 24
"""Bytes of a file with names, at most."""


class ClassNames(NamedTuple):
    """The names of the classes in order, and their WordNet ids if they are known."""

    names: tuple[str, ...]
    wordnet_ids: tuple[str, ...] | None = None


def number_classes(n_classes: int) -> ClassNames:
    """Make names for classes whose names are not known: class 0, class 1, …"""
    return ClassNames(tuple(f"class {i}" for i in range(n_classes)))


def read_class_names(path: Path, n_classes: int) -> ClassNames:
    """Read the names of the classes, in order. Names that occur twice get their number appended.

    Raises ValueError if the file is not one of those above or has another number of names, and
    OSError if it cannot be read.
    """
    pairs = _read_json_pairs(path) if path.suffix == ".json" else _read_text_pairs(path)
    if len(pairs) != n_classes:
        raise ValueError(f"{path} has {len(pairs):,} names, and the network {n_classes:,} classes")
    ids = tuple(pair[0] for pair in pairs)
    if empty := [i for i, (_, name) in enumerate(pairs) if not name]:
        raise ValueError(f"{path} has no name for class {empty[0]}")
    has_ids = all(WORDNET_ID.fullmatch(x) for x in ids)
    if has_ids and len(set(ids)) != len(ids):
        raise ValueError(f"{path} has a WordNet id twice: {quote_names(_find_repeated(ids))}")
    names = _tell_apart(tuple(name for _, name in pairs))
    return ClassNames(names, ids if has_ids else None)


def _read_text_pairs(path: Path) -> list[tuple[str, str]]:
    """(WordNet id or nothing, name) of every line."""
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE or b"\0" in content:
        raise ValueError(f"{path} is no list of names: it has one name a line")
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no list of names: it is not UTF-8") from error
    while lines and not lines[-1].strip():
        lines.pop()
    if lines and all(WORDNET_ID.match(line) for line in lines):
        return [(line[:9], line[9:].strip(" \t,:") or line[:9]) for line in lines]
    return [("", line.strip()) for line in lines]


def _read_json_pairs(path: Path) -> list[tuple[str, str]]:
    """(WordNet id or nothing, name) of every entry, in the order of the numbers."""
    content: Any = read_json(path, LARGEST_FILE)
    if isinstance(content, list):
        return [("", name) for name in check(content, list[str], str(path))]
    index: dict[str, Any] = check(content, dict[str, Any], str(path))
    entries = [index.get(str(number)) for number in range(len(index))]
    if all(isinstance(x, str) for x in entries):
        return [("", str(x)) for x in entries]
    return [tuple(x) for x in check(entries, list[tuple[str, str]], str(path))]


def _find_repeated(names: tuple[str, ...]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _tell_apart(names: tuple[str, ...]) -> tuple[str, ...]:
    """Append the number of the class to names that occur twice: ImageNet has two cranes."""
    repeated = {*_find_repeated(names)}
    told = tuple(f"{name} ({i})" if name in repeated else name for i, name in enumerate(names))
    return told if len(set(told)) == len(told) else tuple(f"{x} ({i})" for i, x in enumerate(names))
