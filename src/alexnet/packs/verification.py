"""Everything that a pack says, compared with the bytes that it holds."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.packs.pack import LONGEST_LINE, Pack, crc32, read_blocks
from alexnet.packs.schema import DIGEST, LARGEST, content_checksum, metadata_digest
from alexnet.packs.statistics import Sums
from alexnet.validate import check, parse_json, read_json

BLOCK = 1 << 22
"""Bytes of records read at a time, or one record."""
UNCHECKED = (
    "what pack.json says of the source, the options, the class ids and the images left out (a pack "
    f"of an earlier version, without {DIGEST})"
)
NO_COLORS = "the color components (they were computed before the colors were stored in yuv420)"


def verify(pack: Pack) -> tuple[str, ...]:
    """Read every byte of a pack and compare it with what the pack says of itself.

    Returns what could not be checked, in words. Raises ValueError naming everything that differs,
    OSError for a file that cannot be read.
    """
    raw = read_json(pack.path / "pack.json", LARGEST)
    wrong = [*_wrong_description(pack, raw), *_wrong_files(pack), *_wrong_contents(pack)]
    if wrong:
        raise ValueError(
            f"the pack at {pack.path} is damaged: {', '.join(wrong)}. Delete it and pack again"
        )
    unchecked: tuple[str, ...] = ()
    if not raw.get(DIGEST):
        unchecked = (UNCHECKED,) if pack.pixels == "rgb" else (UNCHECKED, NO_COLORS)
    missing = (name for name in LISTS if not (pack.path / name).exists())
    return (*unchecked, *(f"{name}, which is not there" for name in missing))


def _wrong_description(pack: Pack, raw: dict[str, Any]) -> Iterator[str]:
    if raw.get(DIGEST) not in (None, metadata_digest(raw)):
        yield f"pack.json (it was changed: its fields do not agree with its {DIGEST})"
    if content_checksum(pack.facts) != pack.checksum:
        yield "pack.json (its size, classes, counts or CRCs do not agree with its checksum)"


def _wrong_files(pack: Pack) -> Iterator[str]:
    """Files that differ from their CRC-32; and whether mean and components are the images'."""
    measured = "train" if "train" in pack.splits else pack.source["splits"][0]
    sums = Sums(int(np.prod(pack.splits[measured].shape)))
    for path, wanted in checksums(pack, tuple(pack.splits)):
        is_measured = path.parent.name == measured and path.name.startswith("images-")
        found = _crc_and_sums(path, sums, pack) if is_measured else crc32(path)
        if found != wanted:
            yield str(path.relative_to(pack.path))
    if sums.images:
        yield from _wrong_statistics(pack, sums)


def checksums(pack: Pack, splits: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    """Every file of these splits, and the mean, with the CRC-32 that it should have."""
    yield pack.path / "mean.npy", pack.facts["mean_crc32"]
    for name in splits:
        split = pack.facts["splits"][name]
        yield pack.path / name / "labels.npy", split["labels_crc32"]
        yield pack.path / name / "names.txt", split["names_crc32"]
        for shard in split["shards"]:
            yield pack.path / shard["file"], shard["crc32"]


def _crc_and_sums(path: Path, sums: Sums, pack: Pack) -> str:
    crc, record = 0, sums.record_bytes
    for block in read_blocks(path, max(1, BLOCK // record) * record):
        crc = zlib.crc32(block, crc)
        whole = len(block) // record * record
        sums.add_records(np.frombuffer(block[:whole], np.uint8).reshape(-1, record), pack.pixels)
    return f"{crc:08x}"


def _wrong_statistics(pack: Pack, sums: Sums) -> Iterator[str]:
    try:
        if not np.allclose(pack.mean, sums.mean(pack.size, pack.pixels), atol=1e-3):
            yield "mean.npy (it is not the mean of the training images)"
    except ValueError as error:
        yield f"mean.npy ({error})"
    if pack.pixels != "rgb":
        return
    said = pack.components * pack.deviations**2 @ pack.components.T  # the covariance, again
    found = sums.covariance(pack.size)
    if not np.allclose(said, found, rtol=0, atol=1e-6 * max(1.0, float(np.trace(found)))):
        yield "pack.json (components and deviations are not those of the training images)"


LISTS = "skipped.jsonl", "duplicates.jsonl"


def _wrong_contents(pack: Pack) -> Iterator[str]:
    """Labels, names and lists that cannot be read, or are of another length than pack.json says."""
    for split in pack.splits.values():
        yield from _error(lambda split=split: split.labels)  # type: ignore[misc]
        yield from _error(lambda split=split: split.names)  # type: ignore[misc]
    skipped = sum(sum(split["skipped"].values()) for split in pack.facts["splits"].values())
    for name, wanted in zip(LISTS, (skipped, pack.facts["duplicates"]), strict=True):
        if (pack.path / name).exists():
            yield from _error(lambda name=name, n=wanted: _check_list(pack.path / name, n))  # type: ignore[misc]


def _error(read: Callable[[], object]) -> Iterator[str]:
    try:
        read()
    except ValueError as error:
        yield str(error)


def _check_list(path: Path, wanted: int) -> None:
    """Raise ValueError unless a file has so many lines, each an object of texts."""
    count = 0
    with open(path, "rb") as lines:
        while line := lines.readline(LONGEST_LINE):
            count += 1
            place = f"line {count} of {path}"
            check(parse_json(line, place), dict[str, str], place)
    if count != wanted:
        raise ValueError(f"{path} has {count} lines, not {wanted}")
