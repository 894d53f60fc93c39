"""The wire format of protocol buffers, read field by field without a schema.

A message is a row of fields. Each begins with a key, which holds the field's number and wire type:

    key = number · 8 + wire type        0  varint: an integer, 7 bits a byte, the lowest first
                                        1  8 bytes
                                        2  a length (varint) and so many bytes: text, message, array
                                        5  4 bytes

What a field means is written in the schema, here Caffe's caffe.proto, which `caffe_files` knows.
Fields of type 2 are returned as views, without a copy. (https://protobuf.dev/programming-guides/encoding)
Imports nothing of this package.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MOST_FIELDS = 1_000_000
"""Fields of a file, at most. A network of Caffe has some hundred."""
FIXED = {1: 8, 5: 4}
"""Wire type → bytes of its values."""


@dataclass
class FieldCounter:
    """Counts the fields read of a file, so that a hostile one cannot keep a reader busy."""

    left: int = MOST_FIELDS
    """How many may still come."""

    def count(self) -> None:
        """Count one more. Raises ValueError if it is one too many."""
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"it has more than {MOST_FIELDS:,} fields")


@dataclass(frozen=True)
class Field:
    """One field of a message: its number in the schema, and its value."""

    number: int
    value: int | memoryview
    """An integer for a varint, else the bytes."""

    @property
    def integer(self) -> int:
        """The value of a varint. Raises ValueError for a field of another type."""
        if not isinstance(self.value, int):
            raise ValueError(f"field {self.number} holds bytes where a number was wanted")
        return self.value

    @property
    def content(self) -> memoryview:
        """The bytes of any field but a varint. Raises ValueError for a varint."""
        if isinstance(self.value, int):
            raise ValueError(f"field {self.number} holds a number where bytes were wanted")
        return self.value


def iterate_fields(message: memoryview, counter: FieldCounter) -> Iterator[Field]:
    """Yield the fields of a message in order.

    Raises ValueError for bytes that are no message, and for a file with too many fields.
    """
    position = 0
    while position < len(message):
        counter.count()
        key, position = read_varint(message, position)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, position = read_varint(message, position)
            yield Field(number, value)
            continue
        if kind == 2:
            length, position = read_varint(message, position)
        elif kind in FIXED:
            length = FIXED[kind]
        else:
            raise ValueError(f"a field has the wire type {kind}, which Caffe does not use")
        if number < 1 or length > len(message) - position:
            raise ValueError("a field is longer than what holds it")
        yield Field(number, message[position : position + length])
        position += length


def read_varint(content: memoryview, position: int) -> tuple[int, int]:
    """Return the integer that begins at a position, and the position after it.

    Raises ValueError if it does not end within ten bytes and the content.
    """
    value = 0
    for shift, byte in enumerate(content[position : position + 10]):
        value |= (byte & 127) << (7 * shift)
        if byte < 128:
            return value, position + shift + 1
    raise ValueError("a number in it does not end")


def read_varints(content: memoryview) -> list[int]:
    """Return the integers of a packed array. Raises ValueError as `read_varint`."""
    values, position = [], 0
    while position < len(content):
        value, position = read_varint(content, position)
        values.append(value)
    return values
