"""The files of a pack: arrays in .npy files and names in names.txt, checked before they are used.

Only the header of an array is read to check it; the data are memory-mapped. `packs.pack` opens
packs with these functions, `packing` writes what they read, and `search` keeps its indices in such
files. Imports nothing of this folder.
"""

from __future__ import annotations

import io
import itertools
import math
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER_BYTES = 128
"""Length of the header of every .npy file of a pack; the data follow it."""
LONGEST_LINE = 1 << 20
"""Maximum length of a line of names.txt in bytes, more than any path has."""
MakeError = Callable[[str], ValueError]
"""Makes the error for a problem of a file, such as "x.npy is missing"."""


def report_damaged_pack(problem: str) -> ValueError:
    """Make the error for a problem of a pack's file, which tells the user to pack again."""
    return ValueError(f"the pack is damaged: {problem}. Pack again")


def check_exists(path: Path, make_error: MakeError = report_damaged_pack) -> None:
    """Raise what `make_error` makes unless there is a file at this path."""
    if not path.is_file():
        raise make_error(f"{path} is missing")


def check_array(
    path: Path,
    shape: tuple[int, ...],
    kind: type[np.generic],
    make_error: MakeError = report_damaged_pack,
) -> None:
    """Raise ValueError unless a .npy file has this shape and type and the right length.

    Only the header is read, so the cost does not depend on the size of the array. Folders other
    than packs that hold such files hand in a `make_error` of their own.
    """
    check_exists(path, make_error)
    with open(path, "rb") as file:
        header = _HEADER.fullmatch(file.read(HEADER_BYTES))
    size = path.stat().st_size
    expected_size = HEADER_BYTES + math.prod((np.dtype(kind).itemsize, *shape))
    if header is None:
        problem = f"begins with no .npy header of {HEADER_BYTES} bytes, as a pack's files have"
    elif (actual := _describe_header(header)) != (expected := f"{np.dtype(kind)} {shape}"):
        problem = f"holds {actual}, not {expected}"
    elif size != expected_size:
        problem = f"has {size} bytes, not {expected_size}"
    else:
        return
    raise make_error(f"{path} {problem}")


_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00v\x00\{'descr': '([^']{1,8})', 'fortran_order': (False|True), "
    rb"'shape': \(([\d, ]*)\), *\} *\n"
)
_KINDS = {np.dtype(kind).str: kind for kind in ("uint8", "uint64", "int64", "float16", "float32")}


def _describe_header(header: re.Match[bytes]) -> str:
    """Return the type and shape in a header as text, such as `uint8 (10, 8, 8, 3)`."""
    kind, in_columns, shape = (group.decode("latin-1") for group in header.groups())
    numbers = [number for number in re.split("[, ]+", shape) if number]
    comma = "," if len(numbers) == 1 else ""
    order = " in columns" if in_columns == "True" else ""
    return f"{_KINDS.get(kind, repr(kind))} ({', '.join(numbers)}{comma}){order}"


def map_array(
    path: Path,
    shape: tuple[int, ...],
    kind: type[np.generic],
    make_error: MakeError = report_damaged_pack,
) -> NDArray[Any]:
    """Memory-map the array in a .npy file, read-only. Raises ValueError as `check_array` does."""
    check_array(path, shape, kind, make_error)
    if not math.prod(shape):
        return np.empty(shape, kind)  # an empty file cannot be mapped
    return np.memmap(path, kind, "r", HEADER_BYTES, shape)


def crc32(path: Path) -> str:
    """Return the CRC-32 of a file, without the header of a .npy file, as 8 hexadecimal digits."""
    crc = 0
    for block in read_blocks(path, 1 << 20):
        crc = zlib.crc32(block, crc)
    return f"{crc:08x}"


def read_blocks(path: Path, size: int) -> Iterator[memoryview]:
    """Yield a file in blocks of `size` bytes; the header of a .npy file is left out.

    All blocks share one buffer: a block is valid only until the next one is requested.
    """
    buffer = memoryview(bytearray(size))
    with open(path, "rb", buffering=0) as file:
        file.seek(HEADER_BYTES if path.suffix == ".npy" else 0)
        while filled := _read_into(file, buffer):
            yield buffer[:filled]


def _read_into(file: io.FileIO, buffer: memoryview) -> int:
    """Fill the buffer, or read to the end of the file; return the number of bytes read."""
    filled = 0
    while filled < len(buffer) and (count := file.readinto(buffer[filled:])):
        filled += count
    return filled


def escape(name: str) -> str:
    r"""Encode a name as one line of valid UTF-8.

    Control characters, line separators, backslashes and lone surrogates (the bytes of a file name
    that are not UTF-8) become \uXXXX.
    """
    return re.sub(
        r"[\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", lambda c: f"\\u{ord(c[0]):04x}", name
    )


def unescape(line: str) -> str:
    """Undo `escape`."""
    return re.sub(r"\\u([0-9a-f]{4})", lambda digits: chr(int(digits[1], 16)), line)


def read_names(path: Path, make_error: MakeError = report_damaged_pack) -> Iterator[str]:
    """Yield the names in a names.txt.

    Raises ValueError for a line that is truncated, too long or not UTF-8.
    """
    with open(path, "rb") as lines:
        for number in itertools.count(1):
            line = lines.readline(LONGEST_LINE)
            if not line:
                return
            if not line.endswith(b"\n"):
                problem = "is truncated" if len(line) < LONGEST_LINE else "has no end"
                raise make_error(f"line {number} of {path} {problem}")
            try:
                yield unescape(line[:-1].decode())
            except UnicodeDecodeError as error:
                raise make_error(f"line {number} of {path} is not UTF-8 ({error})") from error
