"""The lines of a CSV or JSONL file as paths, labels and splits, whatever its columns are called."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson")
PATHS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path",
         "image_file", "img", "img_path", "name")  # fmt: skip
LABELS = ("label", "class", "class_name", "classname", "category", "target", "wnid", "y")
SPLITS = ("split", "subset", "set", "fold", "partition")
_LONGEST_LINE = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
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


def rows(path: Path) -> Iterator[Row | BadLine]:
    """Every line of the list but its heading; ValueError for a heading without path and label."""
    is_json = path.suffix.lower() in (".jsonl", ".ndjson")
    yield from _json_rows(path) if is_json else _csv_rows(path)


def _csv_rows(path: Path) -> Iterator[Row | BadLine]:
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        delimiter = _delimiter(path, file.readline(_LONGEST_LINE))
        file.seek(0)
        lines = csv.reader(file, delimiter=delimiter)
        columns: dict[str, int] | None = None
        while (cells := _next(lines)) is not None:
            if isinstance(cells, str):
                yield BadLine(lines.line_num, cells)
            elif columns is None and (columns := _heading(path, cells)):
                continue
            elif any(cells):
                columns = columns or {"path": 0, "label": 1, "split": 2}
                yield _row(lines.line_num, columns, cells)


def _next(lines: Iterator[list[str]]) -> list[str] | str | None:
    """The cells of the next line, what is wrong with them, or None after the last."""
    try:
        return next(lines, None)
    except csv.Error as error:
        return str(error)


def _delimiter(path: Path, first: str) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)


def _heading(path: Path, cells: list[str]) -> dict[str, int]:
    """Which column is what, or nothing if this line is an image already."""
    names = [cell.strip().lower() for cell in cells]
    if not set(names) & {*PATHS, *LABELS} or (path.parent / cells[0]).is_file():
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


def _row(line: int, columns: dict[str, int], cells: Sequence[str]) -> Row | BadLine:
    values = {what: cells[i].strip() for what, i in columns.items() if i < len(cells)}
    if not values.get("path"):
        return BadLine(line, "names no file")
    return Row(line, values["path"], values.get("label", ""), values.get("split", ""))


def _json_rows(path: Path) -> Iterator[Row | BadLine]:
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield _json_row(number, line)


def _json_row(number: int, line: str) -> Row | BadLine:
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
