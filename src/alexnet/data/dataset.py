"""Reading a pack: its images as memory maps, its labels and names, and what it says of itself.

A pack is a folder. `pack.json` describes it and is written last: a folder without one is not a
pack. Each split has `images-00000.npy`, … (uint8, N size size 3, or N size·size·3/2 for yuv420),
`labels.npy` (int64, −1 for none) and `names.txt`; `mean.npy` holds the mean of every pixel of the
training images.
"""

from __future__ import annotations

import functools
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.data.pixels import Format, record_shape

FORMAT, VERSION = "alexnet pack", 1
HEADER_BYTES = 128
"""What stands before the records in each of a pack's .npy files."""
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

    def __len__(self) -> int:
        return sum(self.counts)

    @functools.cached_property
    def shards(self) -> list[Records]:
        """One read-only memory map a file: uint8 n record…"""
        return [
            _array(self.folder / file, (count, *self.shape), np.uint8)
            for file, count in zip(self.files, self.counts, strict=True)
        ]

    @functools.cached_property
    def labels(self) -> NDArray[np.int64]:
        """N indices into the pack's classes; −1 for an unlabeled image."""
        return np.array(_array(self.folder / "labels.npy", (len(self),), np.int64))

    @functools.cached_property
    def names(self) -> Sequence[str]:
        """N names, as in the source, relative and separated by "/"."""
        path = self.folder / "names.txt"
        names = list(read_names(path))
        if len(names) != len(self):
            raise ValueError(f"{path} has {len(names)} names for {len(self)} images: pack again")
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
    """pack.json as it stands."""

    @functools.cached_property
    def mean(self) -> NDArray[np.float32]:
        """size size 3: the mean of every pixel over the training images."""
        return np.array(_array(self.path / "mean.npy", (self.size, self.size, 3), np.float32))

    def __reduce__(self) -> tuple[Any, ...]:
        return open_pack, (self.path,)  # another process maps the files, it is not sent them


def open_pack(path: str | Path) -> Pack:
    """Open a finished pack.

    Raises FileNotFoundError where there is none, ValueError where it is damaged or too new.
    """
    path = Path(path)
    facts = _facts(path)
    try:
        size, pixels, names = facts["size"], facts["pixels"], facts["wordnet_ids"]
        shape = record_shape(size, pixels)
        splits = {name: _split(path / name, shape, is_) for name, is_ in facts["splits"].items()}
        pack = Pack(
            path,
            size,
            pixels,
            classes=tuple(facts["classes"]),
            wordnet_ids=None if names is None else tuple(names),
            components=np.array(facts["components"], np.float64),
            deviations=np.array(facts["deviations"], np.float64),
            checksum=facts["checksum"],
            source=facts["source"],
            splits=splits,
            facts=facts,
        )
        _check_sizes(pack)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path / 'pack.json'} is damaged ({error!r}): pack again") from error
    return pack


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads((path / "pack.json").read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        begun = (path / "packing.json").exists()
        state = "its packing has not finished. Go on" if begun else "it has no pack.json. Make one"
        message = f"no pack at {path}: {state}: alexnet pack IMAGES {path}"
        raise FileNotFoundError(message) from None
    except ValueError as error:
        raise ValueError(f"{path / 'pack.json'} is damaged ({error}): pack again") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise ValueError(f"{path / 'pack.json'} does not describe a pack: pack again")
    if facts.get("version") != VERSION:
        found = facts.get("version")
        raise ValueError(f"{path} has version {found} of the format, this program reads {VERSION}")
    return facts


def _split(folder: Path, shape: tuple[int, ...], facts: dict[str, Any]) -> Split:
    files = tuple(Path(shard["file"]).name for shard in facts["shards"])
    return Split(folder, shape, files, tuple(shard["images"] for shard in facts["shards"]))


def _check_sizes(pack: Pack) -> None:
    """A missing or cut file is found now and not in the middle of a training."""
    for split in pack.splits.values():
        record = int(np.prod(split.shape))
        for file, count in zip(split.files, split.counts, strict=True):
            _check_size(split.folder / file, HEADER_BYTES + count * record)
        _check_size(split.folder / "labels.npy", HEADER_BYTES + 8 * len(split))
        _check_size(split.folder / "names.txt", None)
    _check_size(pack.path / "mean.npy", HEADER_BYTES + 12 * pack.size**2)


def _check_size(path: Path, wanted: int | None) -> None:
    if not path.is_file():
        raise ValueError(f"the pack is damaged: {path} is missing. Pack again")
    found = path.stat().st_size
    if wanted is not None and found != wanted:
        raise ValueError(f"the pack is damaged: {path} has {found} bytes, not {wanted}. Pack again")


def _array(path: Path, shape: tuple[int, ...], kind: type[np.generic]) -> NDArray[Any]:
    """The array in a file, memory-mapped, if it is what it should be."""
    try:
        array = np.load(path, mmap_mode="r" if np.prod(shape) else None, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"the pack is damaged: {path}: {error}. Pack again") from error
    if array.shape != shape or array.dtype != kind:
        found, wanted = f"{array.dtype} {array.shape}", f"{np.dtype(kind)} {shape}"
        raise ValueError(f"the pack is damaged: {path} holds {found}, not {wanted}. Pack again")
    return array


def verify(pack: Pack) -> None:
    """Read every byte and compare with the checksums; raises ValueError naming what differs."""
    wrong = [
        str(path.relative_to(pack.path)) for path, crc in _checksums(pack) if crc32(path) != crc
    ]
    if wrong:
        raise ValueError(f"the pack at {pack.path} is damaged: {', '.join(wrong)}. Pack again")


def _checksums(pack: Pack) -> Iterator[tuple[Path, str]]:
    for name, split in pack.facts["splits"].items():
        for shard in split["shards"]:
            yield pack.path / shard["file"], shard["crc32"]
        yield pack.path / name / "labels.npy", split["labels_crc32"]
        yield pack.path / name / "names.txt", split["names_crc32"]
    yield pack.path / "mean.npy", pack.facts["mean_crc32"]


def crc32(path: Path) -> str:
    """CRC-32 of a file in eight hexadecimal digits; of a .npy file, of what follows its header."""
    crc = 0
    with open(path, "rb") as file:
        file.seek(HEADER_BYTES if path.suffix == ".npy" else 0)
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return f"{crc:08x}"


def escape(name: str) -> str:
    r"""A name on one line of UTF-8: \uXXXX for control characters, backslashes and lone bytes."""
    return re.sub(
        r"[\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", lambda c: f"\\u{ord(c[0]):04x}", name
    )


def unescape(line: str) -> str:
    """The name that `escape` made this line of."""
    return re.sub(r"\\u([0-9a-f]{4})", lambda digits: chr(int(digits[1], 16)), line)


def read_names(path: Path) -> Iterator[str]:
    """The names in a names.txt, one after the other."""
    with open(path, encoding="utf-8", newline="\n") as lines:
        for line in lines:
            yield unescape(line.rstrip("\n"))
