"""A text file that names images, for `--val-list` and `--test-list`: one a line.

    cats/1.jpg                  as the source names its images; the extension, and the folders if
    cats/1                      that is clear, can be left out
    "cats/1.jpg";cat;2026       a row of a table: the column called path, file, …, else the first
    /home/me/photos/cats/1.jpg  a path, absolute or from the folder of the list or the current one
    C:\\me\\photos\\cats\\1.jpg    a path on another computer, below a folder of the same name

Lines may end as on any system, and the text may be UTF-8 or, with its mark at the beginning,
UTF-16. `chosen_splits.divide_by_lists` reads these files.
"""

import csv
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from alexnet.sources.limits import LARGEST_TEXT, LONGEST_NAME
from alexnet.sources.list_lines import PATHS
from alexnet.sources.regular_files import read_regular

_UTF_16 = b"\xff\xfe", b"\xfe\xff"
_ABSOLUTE = re.compile(r"/|[A-Za-z]:/")
DELIMITERS = ",", ";", "\t"


@dataclass(frozen=True)
class NamesList:
    """The names in a text file."""

    path: Path
    names: frozenset[str] = field(repr=False)
    """Its lines, without column names, comments and empty lines."""
    digest: str
    """Of its names, which tells whether it has changed."""
    meanings: dict[str, str] = field(repr=False)
    """What an image may be called → the line that says so."""

    @classmethod
    def read(cls, path: Path, root: Path | None = None) -> "NamesList":
        """Read the file; `root` is the folder of the images, or their archive.

        Raises OSError, or ValueError for a file without names.
        """
        lines = [line for line in _read_lines(path) if line and not line.startswith("#")]
        delimiter, column = _find_column(lines[0]) if lines else ("", -1)
        names = frozenset(lines[column >= 0 :])
        if not names:
            raise ValueError(f"{path} names no image: write one name a line, as cats/1.jpg")
        if long := next((name for name in names if len(name) > LONGEST_NAME), ""):
            raise ValueError(f"{path} has a line of {len(long):,} characters, and no name")
        meanings = {name: name for name in names}
        for name in sorted(names):
            for cell in _split(name, delimiter, column):
                for meaning in (cell, *_find_below(cell, path, root)):
                    meanings.setdefault(meaning, name)
        content = "\n".join(sorted(names)).encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(content, digest_size=8).hexdigest()
        return cls(path, names, digest, meanings)

    def find(self, key: str) -> str | None:
        """Return the line of the list that stands for an image; None if there is none."""
        stem = key.rpartition(".")[0] if "." in key.rpartition("/")[2] else key
        last = (text.rpartition("/")[2] for text in (key, stem))
        candidates = key, stem, f"train/{key}", f"train/{stem}", *last
        return next((self.meanings[name] for name in candidates if name in self.meanings), None)


def _read_lines(path: Path) -> Iterator[str]:
    """Yield the lines, with slashes between folders."""
    content = read_regular(path, LARGEST_TEXT)
    if content.startswith(_UTF_16):
        text = content.decode("utf-16", "replace")
    else:
        text = content.decode("utf-8-sig", "surrogateescape")
    for line in text.splitlines():
        yield line.strip().replace("\\", "/").removeprefix("./")


def _find_column(first: str) -> tuple[str, int]:
    """Return the delimiter and the number of the column of paths, if the first line names one.

    The number is -1 if the first line is not one of column names.
    """
    for delimiter in DELIMITERS:
        cells = [cell.strip().lower() for cell in _split_cells(first, delimiter)]
        for name in PATHS:
            if name in cells:
                return delimiter, cells.index(name)
    return "", -1


def _split(line: str, delimiter: str, column: int) -> Iterator[str]:
    """Yield what may be the name in a line: the cell of a column, else the first one."""
    for mark in delimiter or DELIMITERS:
        cells = _split_cells(line, mark)
        if max(column, 0) < len(cells):
            yield cells[max(column, 0)].strip().removeprefix("./")


def _split_cells(line: str, delimiter: str) -> list[str]:
    """Split a row of a table; a line that is none has no cells."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _find_below(name: str, path: Path, root: Path | None) -> Iterator[str]:
    """Yield what a path, in the list at `path`, is called from the folder of the images."""
    if root is None or "/" not in name or "\0" in name:
        return
    top = os.path.realpath(root) + "/"
    if _ABSOLUTE.match(name):
        real = os.path.realpath(name)
        if not real.startswith(top) and f"/{root.name}/" in name:
            yield name.rpartition(f"/{root.name}/")[2]
    else:
        places = (os.path.realpath(place / name) for place in (path.parent, Path()))
        real = next((x for x in places if x.startswith(top) and os.path.isfile(x)), "")
    if real.startswith(top):
        yield real[len(top) :]
