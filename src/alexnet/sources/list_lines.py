"""The lines of a CSV or JSONL file as paths, labels and splits, whatever its columns are called."""

import csv
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from alexnet.sources.limits import LONGEST_LINE, LONGEST_NAME
from alexnet.sources.regular_files import open_descriptor

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson")
PATHS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path",
         "image_file", "img", "img_path", "name")  # fmt: skip
LABELS = ("label", "class", "class_name", "classname", "category", "target", "wnid", "y")
SPLITS = ("split", "subset", "set", "fold", "partition")


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One line of a list: an image, its class and its split; the last two may be empty."""

    line: int
    path: str
    label: str
    split: str


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that names no image, and why."""

    line: int
    problem: str


def rows(path: Path) -> Iterator[ListedImage | BadLine]:
    """Every line of the list but its heading; ValueError for a heading without path and label."""
    is_json = path.suffix.lower() in (".jsonl", ".ndjson")
    yield from _json_rows(path) if is_json else _csv_rows(path)


def _open(path: Path) -> TextIO:
    descriptor = open_descriptor(path)
    return open(descriptor, encoding="utf-8-sig", errors="surrogateescape", newline="")


class _Lines:
    """The lines of a list, numbered, none longer than LONGEST_LINE; some may be given back."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._given_back: list[str | None] = []
        self.number = 0
        """Of the line that was taken last."""

    def take(self) -> str | None:
        """The next line, "" after the last, None for one that is too long and is passed over."""
        line = self._given_back.pop() if self._given_back else self._read()
        self.number += line != ""
        return line

    def give_back(self, lines: Sequence[str | None]) -> None:
        """Have the lines that were taken last taken once more."""
        self._given_back.extend(reversed(lines))
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


def _csv_rows(path: Path) -> Iterator[ListedImage | BadLine]:
    with _open(path) as file:
        delimiter = _delimiter(path, file.readline(LONGEST_LINE))
        file.seek(0)
        lines = _Lines(file)
        columns: dict[str, int] | None = None
        while (line := lines.take()) != "":
            number = lines.number
            cells = _TOO_LONG if line is None else _cells(line, lines, delimiter)
            if isinstance(cells, str):
                yield BadLine(number, cells)
            elif columns is None and (columns := _heading(path, cells)):
                continue
            elif any(cells):
                columns = columns or {"path": 0, "label": 1, "split": 2}
                yield _row(number, columns, cells)


def _cells(first: str, lines: _Lines, delimiter: str) -> list[str] | str:
    """The cells of a row, or what is wrong with it.

    Where a quoted cell goes on in the next lines, these are taken too. If the quote then does not
    end, or ends where no cell does, they are given back: only the line that opens it is lost.
    """
    taken: list[str | None] = []
    goes_on = False

    def row() -> Iterator[str]:
        nonlocal goes_on
        yield first
        goes_on = True
        while (line := lines.take()) != "":
            taken.append(line)
            if line is None:
                return
            yield line

    try:
        return next(csv.reader(row(), delimiter=delimiter, strict=True), [])
    except csv.Error:
        if not goes_on:  # a stray quote; where none is open, what there is can be read
            return _loosely(first, delimiter)
    lines.give_back(taken)
    return "opens a quote that is not closed"


def _loosely(line: str, delimiter: str) -> list[str] | str:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error as error:
        return str(error)


def _delimiter(path: Path, first: str) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)


def _heading(path: Path, cells: list[str]) -> dict[str, int]:
    """Which column is what, or nothing if this line is an image already."""
    names = [cell.strip().lower() for cell in cells]
    if not set(names) & {*PATHS, *LABELS} or os.path.isfile(path.parent / cells[0]):
        return {}
    found = {
        "path": _first(names, PATHS), "label": _first(names, LABELS), "split": _first(names, SPLITS)
    }  # fmt: skip
    columns = {what: names.index(name) for what, name in found.items() if name}
    if not {"path", "label"} <= columns.keys():
        raise ValueError(
            f"{path} has the columns {', '.join(cells)}: call that of the image files 'path' and "
            "that of their classes 'label'"
        )
    return columns


def _row(line: int, columns: dict[str, int], cells: Sequence[str]) -> ListedImage | BadLine:
    values = {what: cells[i].strip() for what, i in columns.items() if i < len(cells)}
    if not values.get("path"):
        return BadLine(line, "names no file")
    for what, value in values.items():
        if len(value) > LONGEST_NAME:
            return BadLine(line, f"has a {what} of {len(value):,} characters")
    return ListedImage(line, values["path"], values.get("label", ""), values.get("split", ""))


def _json_rows(path: Path) -> Iterator[ListedImage | BadLine]:
    with _open(path) as file:
        lines = _Lines(file)
        while (line := lines.take()) != "":
            if line is None:
                yield BadLine(lines.number, _TOO_LONG)
            elif line.strip():
                yield _json_row(lines.number, line)


def _json_row(number: int, line: str) -> ListedImage | BadLine:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        return BadLine(number, f"is no JSON: {error}")
    if isinstance(values, list):
        return _row(number, {"path": 0, "label": 1, "split": 2}, [_text(value) for value in values])
    if not isinstance(values, dict):
        return BadLine(number, "is neither an object nor a list")
    keys = [_first(values, names) for names in (PATHS, LABELS, SPLITS)]
    cells = [_text(values[key]) if key else "" for key in keys]
    return _row(number, {"path": 0, "label": 1, "split": 2}, cells)


def _first(found: Sequence[str] | dict, wanted: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in found), None)


def _text(value: object) -> str:
    return "" if value is None else str(value)
