"""Reading a pack: its images as memory maps, its labels and names, and what it says of itself.

A pack is a folder. `pack.json` describes it and is written last: a folder without one is not a
pack. Each split has `images-00000.npy`, … (uint8, N size size 3, or N size·size·3/2 for yuv420),
`labels.npy` (int64, −1 for none) and `names.txt`; `mean.npy` holds the mean of every pixel of the
training images.
"""

from __future__ import annotations

import functools
import io
import itertools
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.images.records import Format, record_shape
from alexnet.packs.schema import LARGEST, check_description
from alexnet.validate import read_json

HEADER_BYTES = 128
"""What stands before the records in each of a pack's .npy files."""
LONGEST_LINE = 1 << 20
"""Bytes of a line of names.txt: no path has so many."""
Records = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Split:
    """The images of one split in order, their labels and their names."""

    folder: Path
    shape: tuple[int, ...]
    """Of one record."""
    files: tuple[str, ...]
    counts: tuple[int, ...]
    """Images in each file."""
    classes: int
    """Classes of the pack."""

    def __len__(self) -> int:
        return sum(self.counts)

    @functools.cached_property
    def shards(self) -> list[Records]:
        """One read-only memory map a file: uint8 n record…"""
        return [
            map_array(self.folder / file, (count, *self.shape), np.uint8)
            for file, count in zip(self.files, self.counts, strict=True)
        ]

    @functools.cached_property
    def labels(self) -> NDArray[np.int64]:
        """N indices into the pack's classes; −1 for an unlabeled image.

        Raises ValueError for any other number.
        """
        path = self.folder / "labels.npy"
        labels = np.array(map_array(path, (len(self),), np.int64))
        if len(labels) and not -1 <= labels.min() <= labels.max() < self.classes:
            raise ValueError(
                f"the pack is damaged: {path} has labels from {labels.min()} to {labels.max()}, "
                f"and there are {self.classes} classes, from 0. Pack again"
            )
        return labels

    @functools.cached_property
    def names(self) -> Sequence[str]:
        """N names, as in the source, relative and separated by "/"."""
        path = self.folder / "names.txt"
        names = list(itertools.islice(read_names(path), len(self) + 1))
        if len(names) != len(self):
            found = len(names) if len(names) < len(self) else f"more than {len(self)}"
            raise ValueError(
                f"the pack is damaged: {path} has {found} names for {len(self)} images. Pack again"
            )
        return names

    def name(self, index: int) -> str:
        """The name of one image."""
        return self.names[index]

    def gather(self, indices: Any, out: Records | None = None) -> Records:
        """Copy the records at these places, any order, into `out` or a new array: uint8 N record…

        Raises IndexError for a place outside the split.
        """
        places = np.asarray(indices, dtype=np.int64).reshape(-1)
        if len(places) and not 0 <= places.min() <= places.max() < len(self):
            raise IndexError(f"places {places.min()} to {places.max()} of {len(self)} images")
        if out is None:
            out = np.empty((len(places), *self.shape), np.uint8)
        if len(self.shards) == 1:
            return np.take(self.shards[0], places, axis=0, out=out, mode="clip")
        files = np.searchsorted(self._starts, places, side="right") - 1
        for row, (file, place) in enumerate(zip(files, places - self._starts[files], strict=True)):
            out[row] = self.shards[file][place]
        return out

    @functools.cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.cumsum((0, *self.counts), dtype=np.int64)[:-1]


@dataclass(frozen=True, eq=False)
class Pack:
    """Labeled images of one size, ready to be cut into batches."""

    path: Path
    size: int
    """Pixels a side."""
    pixels: Format
    """How a record holds its image: rgb or yuv420."""
    classes: tuple[str, ...]
    wordnet_ids: tuple[str, ...] | None
    components: NDArray[np.float64]
    """3 3: the principal components of the RGB values of the training images, one a column."""
    deviations: NDArray[np.float64]
    """3: the standard deviation along each component, ascending."""
    checksum: str
    """Of everything a training depends on: images, labels, classes and mean."""
    source: dict[str, Any]
    """Where the images came from: kind, path, splits."""
    splits: dict[str, Split]
    facts: dict[str, Any]
    """What pack.json says, checked: see `description.PackFacts`."""

    @functools.cached_property
    def mean(self) -> NDArray[np.float32]:
        """size size 3: the mean of every pixel over the training images."""
        path = self.path / "mean.npy"
        mean = np.array(map_array(path, (self.size, self.size, 3), np.float32))
        if not np.isfinite(mean).all():
            raise ValueError(f"the pack is damaged: {path} has numbers that are none. Pack again")
        return mean

    def __reduce__(self) -> tuple[Any, ...]:
        return open_pack, (self.path,)  # another process maps the files, it is not sent them


def open_pack(path: str | Path) -> Pack:
    """Open a finished pack.

    Raises FileNotFoundError where there is none, ValueError where it is damaged or too new.
    """
    path = Path(path)
    facts = _facts(path)
    names, classes = facts["wordnet_ids"], tuple(facts["classes"])
    shape = record_shape(facts["size"], facts["pixels"])
    pack = Pack(
        path,
        facts["size"],
        facts["pixels"],
        classes=classes,
        wordnet_ids=None if names is None else tuple(names),
        components=np.array(facts["components"], np.float64),
        deviations=np.array(facts["deviations"], np.float64),
        checksum=facts["checksum"],
        source=facts["source"],
        splits={
            name: _split(path / name, shape, split, len(classes))
            for name, split in facts["splits"].items()
        },
        facts=facts,
    )
    _check_files(pack)
    return pack


def _facts(path: Path) -> dict[str, Any]:
    try:
        raw = read_json(path / "pack.json", LARGEST)
    except (FileNotFoundError, NotADirectoryError):
        begun = (path / "packing.json").exists()
        state = "its packing has not finished. Go on" if begun else "it has no pack.json. Make one"
        message = f"no pack at {path}: {state}: alexnet pack IMAGES {path}"
        raise FileNotFoundError(message) from None
    except ValueError as error:
        raise ValueError(f"{error}. The file is damaged: pack again") from error
    return check_description(raw, path / "pack.json")


def _split(folder: Path, shape: tuple[int, ...], facts: dict[str, Any], classes: int) -> Split:
    files = tuple(Path(shard["file"]).name for shard in facts["shards"])
    counts = tuple(shard["images"] for shard in facts["shards"])
    return Split(folder, shape, files, counts, classes)


def _check_files(pack: Pack) -> None:
    """A missing, cut or exchanged file is found now and not in the middle of a training."""
    for split in pack.splits.values():
        for file, count in zip(split.files, split.counts, strict=True):
            check_array(split.folder / file, (count, *split.shape), np.uint8)
        check_array(split.folder / "labels.npy", (len(split),), np.int64)
        _check_is_there(split.folder / "names.txt")
    check_array(pack.path / "mean.npy", (pack.size, pack.size, 3), np.float32)


def _check_is_there(path: Path) -> None:
    if not path.is_file():
        raise ValueError(f"the pack is damaged: {path} is missing. Pack again")


def check_array(path: Path, shape: tuple[int, ...], kind: type[np.generic]) -> None:
    """Raise ValueError unless a file has the header and the bytes of such an array.

    Nothing but its header is read, and no memory is taken.
    """
    _check_is_there(path)
    with open(path, "rb") as file:
        header = _HEADER.fullmatch(file.read(HEADER_BYTES))
    found, wanted = path.stat().st_size, HEADER_BYTES + math.prod((np.dtype(kind).itemsize, *shape))
    if header is None:
        what = f"begins with no .npy header of {HEADER_BYTES} bytes, as a pack's files have"
    elif (there := _described(header)) != (here := f"{np.dtype(kind)} {shape}"):
        what = f"holds {there}, not {here}"
    elif found != wanted:
        what = f"has {found} bytes, not {wanted}"
    else:
        return
    raise ValueError(f"the pack is damaged: {path} {what}. Pack again")


_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00v\x00\{'descr': '([^']{1,8})', 'fortran_order': (False|True), "
    rb"'shape': \(([\d, ]*)\), *\} *\n"
)
_KINDS = {np.dtype(kind).str: kind for kind in ("uint8", "uint64", "int64", "float32")}


def _described(header: re.Match[bytes]) -> str:
    """The type and shape that a header tells, in words."""
    kind, in_columns, shape = (group.decode("latin-1") for group in header.groups())
    numbers = [number for number in re.split("[, ]+", shape) if number]
    comma = "," if len(numbers) == 1 else ""
    order = " in columns" if in_columns == "True" else ""
    return f"{_KINDS.get(kind, repr(kind))} ({', '.join(numbers)}{comma}){order}"


def map_array(path: Path, shape: tuple[int, ...], kind: type[np.generic]) -> NDArray[Any]:
    """The array in a file, memory-mapped, if it is what it should be: see `check_array`."""
    check_array(path, shape, kind)
    if not math.prod(shape):
        return np.empty(shape, kind)
    return np.memmap(path, kind, "r", HEADER_BYTES, shape)


def crc32(path: Path) -> str:
    """CRC-32 of a file in eight hexadecimal digits; of a .npy file, of what follows its header."""
    crc = 0
    for block in read_blocks(path, 1 << 20):
        crc = zlib.crc32(block, crc)
    return f"{crc:08x}"


def read_blocks(path: Path, size: int) -> Iterator[memoryview]:
    """A file in blocks of so many bytes; of a .npy file, what follows its header.

    Each is good until the next is asked for.
    """
    buffer = memoryview(bytearray(size))
    with open(path, "rb", buffering=0) as file:
        file.seek(HEADER_BYTES if path.suffix == ".npy" else 0)
        while filled := _fill(file, buffer):
            yield buffer[:filled]


def _fill(file: io.FileIO, buffer: memoryview) -> int:
    filled = 0
    while filled < len(buffer) and (count := file.readinto(buffer[filled:])):
        filled += count
    return filled


def escape(name: str) -> str:
    r"""A name on one line of UTF-8: \uXXXX for control characters, backslashes and lone bytes."""
    return re.sub(
        r"[\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", lambda c: f"\\u{ord(c[0]):04x}", name
    )


def unescape(line: str) -> str:
    """The name that `escape` made this line of."""
    return re.sub(r"\\u([0-9a-f]{4})", lambda digits: chr(int(digits[1], 16)), line)


def read_names(path: Path) -> Iterator[str]:
    """The names in a names.txt, one after the other.

    Raises ValueError for what is no line of UTF-8.
    """
    with open(path, "rb") as lines:
        for number in itertools.count(1):
            line = lines.readline(LONGEST_LINE)
            if not line:
                return
            if not line.endswith(b"\n"):
                what = "is cut off" if len(line) < LONGEST_LINE else "has no end"
                raise ValueError(f"the pack is damaged: line {number} of {path} {what}. Pack again")
            try:
                yield unescape(line[:-1].decode())
            except UnicodeDecodeError as error:
                message = f"the pack is damaged: line {number} of {path} is no UTF-8 ({error})"
                raise ValueError(f"{message}. Pack again") from error
