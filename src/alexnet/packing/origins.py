"""Which file each record of a pack was made of, and the records that need not be made again.

Beside the shards of a split lies origins.npy, uint64 (N, 14), with one row per image:

    0   name       hash of the name of the image and of the fingerprint of its file
    1   content    hash of the bytes of the file, and of the extension of its name
    2   size       bytes of the file
    3   digest     hash of the bytes of the file, as in hashes.bin
    4   notes      bit i is set if the image has the note NOTES[i]
    5–13           the nine moments of the image, see `packs.statistics`

When a pack is updated, `KnownRecords` looks up every image of the source in these rows:

    name and fingerprint known      the file is as it was: its record is copied
    size known                      the file is read; if its content is known under another name
                                    (it was moved, renamed or only touched), the record is copied
    else                            the file is decoded

A record is copied only from a shard that agrees with its CRC-32; from a damaged one, the images are
decoded again. `packing.shards` writes the rows and `packing.pack` hands KnownRecords to a packing.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.images.decoder_process import Item, Prepared
from alexnet.images.preparation import (
    DIGEST_BYTES,
    MAX_BYTES,
    Content,
    PreparationResult,
    compute_fingerprint,
)
from alexnet.packs.checked_files import HEADER_BYTES, crc32, map_array
from alexnet.packs.schema import ORIGINS
from alexnet.sources.entry import Entry, Span
from alexnet.sources.regular_files import open_regular

NOTES = (
    *("16bit", "cmyk", "first_frame", "float", "format_mismatch", "lenient", "rotated"),
    "transparent",
)
"""The notes on images, in the order of their bits: see `images.decoded.Decoded`."""
COLUMNS = 14
_STEP = 1 << 20


def make_origin(entry: Entry, outcome: PreparationResult) -> NDArray[np.uint64]:
    """Return the row of an image that was used: uint64 (COLUMNS,)."""
    assert outcome.moments is not None
    digest = int.from_bytes(outcome.digest, "little")
    row = np.empty(COLUMNS, np.uint64)
    row[:5] = (
        _hash_name(entry.name, outcome.fingerprint),
        _hash_content(outcome.digest, entry.name),
        outcome.size,
        digest,
        sum(1 << NOTES.index(note) for note in outcome.notes if note in NOTES),
    )
    row[5:] = outcome.moments
    return row


def _hash_name(name: str, fingerprint: str) -> int:
    return _hash(f"{name}\0{fingerprint}".encode("utf-8", "surrogatepass"))


def _hash_content(digest: bytes, name: str) -> int:
    """Hash a digest with the extension of a name, which decides about the note format_mismatch."""
    extension = PurePosixPath(name).suffix.lower()
    return _hash(digest + extension.encode("utf-8", "surrogatepass"))


def _hash(content: bytes) -> int:
    digest = hashlib.blake2b(content, digest_size=8).digest()
    return int.from_bytes(digest, "little")


@dataclass(frozen=True)
class KnownSplit:
    """The images of one split of a pack, finished or begun, that may be used again."""

    folder: Path
    shards: list[dict[str, Any]]
    """`packs.schema.ShardMetadata` of each shard."""
    shape: tuple[int, ...]
    """Shape of one record."""
    origins_crc: str

    @cached_property
    def origins(self) -> NDArray[np.uint64]:
        """The rows of its images, (N, COLUMNS); none if they are missing or damaged.

        In a split that was begun, the header of the file does not know the number of rows yet.
        """
        n_images = sum(shard["images"] for shard in self.shards)
        none: NDArray[np.uint64] = np.empty((0, COLUMNS), np.uint64)
        path, n_bytes = self.folder / ORIGINS, 8 * COLUMNS * n_images
        try:
            if not n_images or _compute_crc(path, n_bytes) != self.origins_crc:
                return none
            return np.memmap(path, np.uint64, "r", HEADER_BYTES, (n_images, COLUMNS))
        except (OSError, ValueError):
            return none

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """Index after the last image of each shard."""
        return np.cumsum([shard["images"] for shard in self.shards], dtype=np.int64)

    def find_record(self, index: int) -> NDArray[np.uint8] | None:
        """Return the flat record of an image; None if its shard is damaged."""
        number = int(np.searchsorted(self._ends, index, side="right"))
        shard = self._open_shard(number)
        if shard is None:
            return None
        start = int(self._ends[number]) - self.shards[number]["images"]
        return shard[index - start].reshape(-1)

    def _open_shard(self, number: int) -> NDArray[np.uint8] | None:
        """Map a shard, whose checksum is compared when it is opened first."""
        opened = self.__dict__.setdefault("_opened", {})
        if number not in opened:
            metadata = self.shards[number]
            path = self.folder / Path(metadata["file"]).name
            try:
                shard = map_array(path, (metadata["images"], *self.shape), np.uint8)
                opened[number] = shard if crc32(path) == metadata["crc32"] else None
            except (OSError, ValueError):
                opened[number] = None
        record: NDArray[np.uint8] | None = opened[number]
        return record


class KnownRecords:
    """The records of earlier versions of a pack, found by the files that they were made of.

    Takes 40 bytes of memory per image. `n_used` counts the images whose records were found, and
    `n_unknown` those that have to be decoded.
    """

    def __init__(self, splits: list[KnownSplit]) -> None:
        self._splits = [split for split in splits if len(split.origins)]
        self._starts = np.cumsum([0, *(len(split.origins) for split in self._splits)])
        keys = [split.origins[:, :3] for split in self._splits]
        columns = np.concatenate(keys) if keys else np.empty((0, 3), np.uint64)
        self._by_name = _Lookup(columns[:, 0])
        self._by_content = _Lookup(columns[:, 1])
        self._sizes = np.unique(columns[:, 2])
        self.n_used = self.n_unknown = 0

    def __len__(self) -> int:
        return int(self._starts[-1])

    def replace_known(self, items: Iterable[Item]) -> Iterator[Item | Prepared]:
        """Yield every item, those whose records are known as Prepared."""
        for item in items:
            known = self._find(item) if isinstance(item, Entry) and len(self) else None
            self.n_used += known is not None
            self.n_unknown += known is None and isinstance(item, Entry)
            yield known or item

    def _find(self, entry: Entry) -> Prepared | None:
        """Return the record that an image would have, with its result; None if it is not known."""
        if isinstance(entry.content, np.ndarray):
            return None
        fingerprint = compute_fingerprint(entry.content)
        row = self._by_name.find(_hash_name(entry.name, fingerprint))
        if row is None and (digest := self._read_digest(entry.content)) is not None:
            row = self._by_content.find(_hash_content(digest, entry.name))
        return None if row is None else self._prepare(entry, fingerprint, row)

    def _read_digest(self, content: Content) -> bytes | None:
        """Return the digest of a content of a known size; None if it cannot be read."""
        try:
            size = _count_bytes(content)
            at = int(np.searchsorted(self._sizes, np.uint64(size)))
            if size > MAX_BYTES or at == len(self._sizes) or self._sizes[at] != size:
                return None
            return _compute_digest(content)
        except OSError:
            return None

    def _prepare(self, entry: Entry, fingerprint: str, row: int) -> Prepared | None:
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        split, index = self._splits[number], row - int(self._starts[number])
        record = split.find_record(index)
        if record is None:
            return None
        origin = split.origins[index]
        result = PreparationResult(
            fingerprint,
            notes=tuple(note for i, note in enumerate(NOTES) if int(origin[4]) >> i & 1),
            digest=int(origin[3]).to_bytes(DIGEST_BYTES, "little"),
            moments=origin[5:].astype(np.int64),
            size=int(origin[2]),
        )
        return Prepared(entry, result, record)


class _Lookup:
    """Finds rows by their 64-bit keys, by bisection."""

    def __init__(self, keys: NDArray[np.uint64]) -> None:
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def find(self, key: int) -> int | None:
        """Return a row with this key; None if there is none."""
        at = int(np.searchsorted(self._keys, np.uint64(key)))
        return int(self._order[at]) if at < len(self._keys) and self._keys[at] == key else None


def _compute_crc(path: Path, n_bytes: int) -> str:
    """Return the CRC-32 of the first bytes of a file after the header, as `checked_files.crc32`."""
    crc = 0
    with open(path, "rb") as file:
        file.seek(HEADER_BYTES)
        while n_bytes > 0 and (block := file.read(min(_STEP, n_bytes))):
            crc = zlib.crc32(block, crc)
            n_bytes -= len(block)
    return f"{crc:08x}"


def _count_bytes(content: Content) -> int:
    if isinstance(content, Path):
        return content.stat().st_size
    return content.size if isinstance(content, Span) else len(content)


def _compute_digest(content: Content) -> bytes:
    """Return the digest that `images.preparation` computes, without reading a file as a whole."""
    if isinstance(content, Span):
        content = content.read()
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    if isinstance(content, bytes):
        digest.update(content)
    if not isinstance(content, Path):
        return digest.digest()
    with open_regular(content) as file:
        while block := file.read(_STEP):
            digest.update(block)
    return digest.digest()
