"""Parses the lines of a CSV, TSV or JSONL list into paths, labels and splits.

The columns (or the keys of JSON objects) may have any of the usual names; without column names they
are path, label and split in this order. Lines are read one at a time and have a maximum length. A
line that cannot be read is a BadLine, and the lines after it are read. `image_list` calls
`read_lines`.
"""

import csv
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from alexnet.sources.limits import LONGEST_LINE, LONGEST_NAME
from alexnet.sources.regular_files import open_descriptor

EXTENSIONS = (".csv", ".tsv", ".jsonl", ".ndjson")
PATHS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path",
         "image_file", "img", "img_path", "name")  # fmt: skip
LABELS = ("label", "class", "class_name", "classname", "category", "target", "wnid", "y")
SPLITS = ("split", "subset", "set", "fold", "partition")
"""Accepted names of the columns, the preferred one first. Case does not matter."""


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One line of a list: an image, its class, split and group; all but the path may be empty.

    `line` is its number, counted from 1.
    """

    line: int
    path: str
    label: str
    split: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that names no image; `problem` continues the sentence "line N …"."""

    line: int
    problem: str


def has_column(path: Path, name: str) -> bool:
    """Whether a list has a column of this name; of JSON objects, whether the first has the key."""
    with _open(path) as file:
        first = file.readline(LONGEST_LINE)
    if _is_json(path):
        try:
            values = json.loads(first)
        except (ValueError, RecursionError):
            return False
        return isinstance(values, dict) and name in values
    cells = _split_leniently(first, _find_delimiter(path, first))
    return not isinstance(cells, str) and _normalize(name) in map(_normalize, cells)


def _is_json(path: Path) -> bool:
    return path.suffix.lower() in (".jsonl", ".ndjson")


def _normalize(name: str) -> str:
    return name.strip().lower()


def read_lines(path: Path, group: str = "") -> Iterator[ListedImage | BadLine]:
    """Yield every line of a list except the column names. `group` names the column of the groups.

    Raises ValueError if there are column names, but none for the path or none for the label.
    """
    yield from _read_json(path, group) if _is_json(path) else _read_csv(path, group)


def _open(path: Path) -> TextIO:
    descriptor = open_descriptor(path)
    return open(descriptor, encoding="utf-8-sig", errors="surrogateescape", newline="")


class _Lines:
    """The lines of a file, numbered, none longer than LONGEST_LINE; lines can be pushed back."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._pushed_back: list[str | None] = []
        self.number = 0
        """Number of the line that was returned last."""

    def next(self) -> str | None:
        """The next line; "" after the last one, None for one that is too long."""
        line = self._pushed_back.pop() if self._pushed_back else self._read()
        self.number += line != ""
        return line

    def push_back(self, lines: Sequence[str | None]) -> None:
        """Make `next` return these lines, the last ones that were read, again."""
        self._pushed_back.extend(reversed(lines))
        self.number -= len(lines)

    def _read(self) -> str | None:
        line = self._file.readline(LONGEST_LINE)
        whole = len(line) < LONGEST_LINE or line.endswith(("\n", "\r"))
        if whole:
            return line
        while (more := self._file.readline(LONGEST_LINE)) and not more.endswith(("\n", "\r")):
            pass
        return None


_TOO_LONG = f"has more than {LONGEST_LINE:,} characters"


def _read_csv(path: Path, group: str) -> Iterator[ListedImage | BadLine]:
    with _open(path) as file:
        delimiter = _find_delimiter(path, file.readline(LONGEST_LINE))
        file.seek(0)
        lines = _Lines(file)
        columns: dict[str, int] | None = None
        while (line := lines.next()) != "":
            number = lines.number
            cells = _TOO_LONG if line is None else _split_cells(line, lines, delimiter)
            if isinstance(cells, str):
                yield BadLine(number, cells)
            elif columns is None and (columns := _find_columns(path, cells, group)):
                continue
            elif any(cells):
                columns = columns or {"path": 0, "label": 1, "split": 2}
                yield _to_listed_image(number, columns, cells)


def _split_cells(first: str, lines: _Lines, delimiter: str) -> list[str] | str:
    """Split a row into cells; return a text if something is wrong with it.

    If a quoted cell continues on the next lines, these are read too. If the quote is never closed,
    or is closed in the middle of a cell, they are pushed back, so that only the first line is lost.
    """
    taken: list[str | None] = []
    continues = False

    def row() -> Iterator[str]:
        nonlocal continues
        yield first
        continues = True
        while (line := lines.next()) != "":
            taken.append(line)
            if line is None:
                return
            yield line

    try:
        return next(csv.reader(row(), delimiter=delimiter, strict=True), [])
    except csv.Error:
        if not continues:  # a stray quote in one line, which a lenient parser reads
            return _split_leniently(first, delimiter)
    lines.push_back(taken)
    return "opens a quote that is not closed"


def _split_leniently(line: str, delimiter: str) -> list[str] | str:
    """Split one line, taking stray quotes as ordinary characters."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error as error:
        return str(error)


def _find_delimiter(path: Path, first: str) -> str:
    """Tab for .tsv, else the most frequent of comma, semicolon and tab in the first line."""
    return "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)


def _find_columns(path: Path, cells: list[str], group: str) -> dict[str, int]:
    """Map path, label, split and group to column numbers; empty if this line is an image."""
    names = [cell.strip().lower() for cell in cells]
    if not set(names) & {*PATHS, *LABELS} or os.path.isfile(path.parent / cells[0]):
        return {}
    name_of = {
        "path": _first(names, PATHS), "label": _first(names, LABELS), "split": _first(names, SPLITS)
    }  # fmt: skip
    columns = {role: names.index(name) for role, name in name_of.items() if name}
    if group:
        columns["group"] = names.index(_normalize(group))
    if not {"path", "label"} <= columns.keys():
        raise ValueError(
            f"{path} has the columns {', '.join(cells)}: name that of the image files 'path' and "
            "that of their classes 'label'"
        )
    return columns


def _to_listed_image(
    line: int, columns: dict[str, int], cells: Sequence[str]
) -> ListedImage | BadLine:
    values = {what: cells[i].strip() for what, i in columns.items() if i < len(cells)}
    if not values.get("path"):
        return BadLine(line, "names no file")
    for what, value in values.items():
        if len(value) > LONGEST_NAME:
            return BadLine(line, f"has a {what} of {len(value):,} characters")
    roles = ("label", "split", "group")
    return ListedImage(line, values["path"], *(values.get(role, "") for role in roles))


def _read_json(path: Path, group: str) -> Iterator[ListedImage | BadLine]:
    with _open(path) as file:
        lines = _Lines(file)
        while (line := lines.next()) != "":
            if line is None:
                yield BadLine(lines.number, _TOO_LONG)
            elif line.strip():
                yield _parse_json(lines.number, line, group)


def _parse_json(number: int, line: str, group: str) -> ListedImage | BadLine:
    """An object with named values, or a list of path, label and split."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        return BadLine(number, f"is not valid JSON: {error}")
    if isinstance(values, list):
        return _to_listed_image(
            number, {"path": 0, "label": 1, "split": 2}, [_to_text(value) for value in values]
        )
    if not isinstance(values, dict):
        return BadLine(number, "is neither an object nor a list")
    keys = [_first(values, names) for names in (PATHS, LABELS, SPLITS)]
    cells = [_to_text(values.get(key)) if key else "" for key in (*keys, group)]
    return _to_listed_image(number, {"path": 0, "label": 1, "split": 2, "group": 3}, cells)


def _first(names: Sequence[str] | dict, accepted: Sequence[str]) -> str | None:
    """The first of the accepted names that occurs among these names."""
    return next((name for name in accepted if name in names), None)


def _to_text(value: object) -> str:
    """A value of JSON as the text that a cell of a CSV file would have."""
    return "" if value is None else str(value)
