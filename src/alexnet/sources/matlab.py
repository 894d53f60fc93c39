"""Tables in MATLAB level-5 files: one struct array of numbers and strings, read with bounds checks.

Written for `meta.mat` of the ILSVRC development kits, which `devkit` reads. A damaged file made
scipy's reader crash the process. Here, every length is compared with the number of available bytes
before it is used, so no file takes more than `MOST_BYTES` or raises anything but ValueError.

A file is a header of 128 bytes and a sequence of elements. An element is a tag (type, length) and
its data, padded to eight bytes. An array is an element that contains elements:

    matrix ┬ flags (what kind of array)
           ├ sizes
           ├ name
           └ of a struct: the names of its fields, then one matrix per field and place
             of a text or number: the data

Source: "MAT-File Format", The MathWorks, chapter 1.
"""

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MOST_BYTES = 1 << 26
"""Limit on the bytes of a decompressed file; the published ones have about a million."""
MOST_VALUES = 1 << 20
"""Limit on the values in one table; the published ones have 15,000."""

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_STRUCT, _CHARACTERS = 2, 4
_NUMBERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
Value = str | float | None
"""A value of a table; None for anything that is neither text nor a number."""


def read_table(content: bytes, name: str, fields: Sequence[str | int]) -> list[tuple[Value, ...]]:
    """Read the struct array `name` of a file: for each of its places, the values of `fields`.

    A field is given by its name or by its index. A value is None if the field is missing, or is
    neither text nor a number. Raises ValueError if the file is damaged or has no such table.
    """
    if len(content) <= _HEADER or content[126:128] not in (b"IM", b"MI"):
        raise ValueError("it is not a MATLAB file of level 5")
    order = "<" if content[126:128] == b"IM" else ">"
    for matrix in _matrices(_Elements(content[_HEADER:], order)):
        array = _Array.read(matrix)
        if array.name == name:
            if array.kind != _STRUCT:
                raise ValueError(f"its {name!r} is not a table")
            return _read_rows(array, fields)
    raise ValueError(f"it has no table {name!r}")


class _Elements:
    """Reads the elements in `content` one after the other. `order` is "<" or ">"."""

    def __init__(self, content: bytes | memoryview, order: str) -> None:
        self._content, self.order = memoryview(content), order
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._content)

    def next(self) -> tuple[int, memoryview]:
        """The type and the data of the next element. Raises ValueError if it is truncated."""
        kind, length = struct.unpack(self.order + "II", self._take(8))
        if kind >> 16:  # short form: type and length in four bytes, then the data
            kind, length = kind & 0xFFFF, kind >> 16
            if length > 4:
                raise ValueError(f"a short element of {length} bytes")
            return kind, self._content[self._at - 4 : self._at - 4 + length]
        data = self._take(length)
        if kind != _COMPRESSED:
            self._at = min(self._at + -length % 8, len(self._content))
        return kind, data

    def enter(self, expected: int) -> "_Elements":
        """The elements inside the next element, which must have the type `expected`."""
        return _Elements(self.expect(expected), self.order)

    def expect(self, expected: int) -> memoryview:
        """The data of the next element, which must have the type `expected`."""
        kind, data = self.next()
        if kind != expected:
            raise ValueError(f"an element of type {kind} where {expected} is expected")
        return data

    def next_integers(self) -> tuple[int, ...]:
        """The next element, which must be 32-bit integers."""
        kind, data = self.next()
        if kind not in (5, 6) or len(data) % 4:
            raise ValueError(f"an element of type {kind} and {len(data)} bytes, not integers")
        return struct.unpack(f"{self.order}{len(data) // 4}{_NUMBERS[kind]}", data)

    def _take(self, size: int) -> memoryview:
        if size > len(self._content) - self._at:
            raise ValueError(
                f"{size:,} bytes are expected at byte {self._at:,} of {len(self._content):,}"
            )
        self._at += size
        return self._content[self._at - size : self._at]


def _matrices(elements: _Elements) -> Iterator[_Elements]:
    """The arrays of a file, each decompressed if necessary."""
    while elements:
        kind, data = elements.next()
        if kind == _COMPRESSED:
            yield _Elements(_decompress(data), elements.order).enter(_MATRIX)
        elif kind == _MATRIX:
            yield _Elements(data, elements.order)


def _decompress(data: memoryview) -> bytes:
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(data, MOST_BYTES)
    except zlib.error as error:
        raise ValueError(f"its compressed part is damaged: {error}") from error
    if not stream.eof:
        raise ValueError(f"its compressed part is truncated or has more than {MOST_BYTES:,} bytes")
    return content


@dataclass(frozen=True)
class _Array:
    """The header of an array, and its remaining elements."""

    kind: int
    sizes: tuple[int, ...]
    name: str
    rest: _Elements

    @classmethod
    def read(cls, elements: _Elements) -> "_Array":
        """Read flags, sizes and name. Raises ValueError if they make no sense."""
        flags, sizes = elements.next_integers(), elements.next_integers()
        if len(flags) != 2 or not 2 <= len(sizes) <= 8 or min(sizes) < 0:
            raise ValueError(f"an array with the sizes {sizes[:8]}")
        return cls(flags[0] & 0xFF, sizes, str(elements.expect(1), "latin-1"), elements)

    @property
    def count(self) -> int:
        """Number of places."""
        return math.prod(self.sizes)


def _read_rows(table: _Array, fields: Sequence[str | int]) -> list[tuple[Value, ...]]:
    """The values of `fields` at each place of a struct array."""
    names = _read_field_names(table.rest)
    if table.count * len(names) > MOST_VALUES:
        raise ValueError(f"a table of {table.count:,} times {len(names):,} values")
    indices = [_find_field(field, names) for field in fields]
    rows = []
    for _ in range(table.count):
        row = [table.rest.enter(_MATRIX) for _ in names]
        rows.append(
            tuple(_read_value(row[field]) if field is not None else None for field in indices)
        )
    return rows


def _find_field(field: str | int, names: list[str]) -> int | None:
    """The index of a field, given by name or index; None if there is no such field."""
    if isinstance(field, str):
        return names.index(field) if field in names else None
    return field if field < len(names) else None


def _read_field_names(elements: _Elements) -> list[str]:
    """The field names of a struct: texts of one fixed length, padded with zeros."""
    (length, *more), names = elements.next_integers() or (0,), elements.expect(1)
    if more or length < 1 or not len(names) or len(names) % length:
        raise ValueError(f"names of {length} bytes in {len(names)}")
    starts = range(0, len(names), length)
    return [str(names[at : at + length], "latin-1").split("\0")[0] for at in starts]


def _read_value(elements: _Elements) -> Value:
    """The text or number in an array; None for any other array."""
    if not elements:
        return None
    array = _Array.read(elements)
    if array.kind == _CHARACTERS:
        return _read_text(array)
    if array.count != 1 or not 6 <= array.kind <= 15:
        return None
    kind, data = array.rest.next()
    code = array.rest.order + _NUMBERS.get(kind, "d")
    if len(data) != struct.calcsize(code):
        raise ValueError(f"a number of type {kind} in {len(data)} bytes")
    return struct.unpack(code, data)[0]


def _read_text(array: _Array) -> str:
    """The text in an array of characters with one row."""
    if array.count == 0:
        return ""
    kind, data = array.rest.next()
    if kind not in _TEXTS or array.sizes[0] != 1:
        raise ValueError(f"characters of type {kind} in an array of {array.sizes}")
    encoding = _TEXTS[kind]
    if encoding.startswith(("utf-16", "utf-32")):
        encoding += "-le" if array.rest.order == "<" else "-be"
    return str(data, encoding, "replace")
