"""Compares the metadata of a pack with every byte of its files.

`alexnet pack --info PACK --verify` calls `verify`, and `packs.background_check` takes the list of
checksums from here. The shards are read once: the CRC-32 of the training images, their mean and
their color components are computed in the same pass.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.packs.checked_files import LONGEST_LINE, crc32, read_blocks
from alexnet.packs.pack import Pack
from alexnet.packs.schema import DIGEST, LARGEST, ORIGINS, compute_checksum, compute_digest
from alexnet.packs.statistics import Sums
from alexnet.validate import check, parse_json, read_json

BLOCK = 1 << 22
"""Approximate number of bytes read at a time: a whole number of records, at least one."""
UNCHECKED = (
    "the source, the options, the class ids and the skipped images in pack.json (a pack of an "
    f"earlier version, without {DIGEST})"
)
NO_COLORS = "the color components (they were computed before the colors were stored in yuv420)"


def verify(pack: Pack) -> tuple[str, ...]:
    """Read every byte of a pack and compare it with the metadata.

    Returns what could not be checked, as texts. Raises ValueError, which lists everything that
    differs, and OSError for a file that cannot be read.
    """
    raw = read_json(pack.path / "pack.json", LARGEST)
    problems = [*_check_metadata(pack, raw), *_check_files(pack), *_check_contents(pack)]
    if problems:
        raise ValueError(
            f"the pack at {pack.path} is damaged: {', '.join(problems)}. Delete it and pack again"
        )
    unchecked: tuple[str, ...] = ()
    if not raw.get(DIGEST):
        unchecked = (UNCHECKED,) if pack.pixels == "rgb" else (UNCHECKED, NO_COLORS)
    missing = (name for name in LISTS if not (pack.folder / name).exists())
    return (*unchecked, *(f"{name}, which is missing" for name in missing))


def _check_metadata(pack: Pack, raw: dict[str, Any]) -> Iterator[str]:
    """Yield the problems of pack.json itself: its digest and its checksum."""
    if raw.get(DIGEST) not in (None, compute_digest(raw)):
        yield f"pack.json (it was changed: its fields do not agree with its {DIGEST})"
    if compute_checksum(pack.metadata) != pack.checksum:
        yield "pack.json (its size, classes, counts or CRCs do not agree with its checksum)"


def _check_files(pack: Pack) -> Iterator[str]:
    """Yield the files that differ from their CRC-32, and a mean or components that are wrong."""
    statistics_split = "train" if "train" in pack.splits else pack.source["splits"][0]
    sums = Sums(int(np.prod(pack.splits[statistics_split].shape)))
    for path, expected in list_checksums(pack, tuple(pack.splits)):
        is_summed = path.parent.name == statistics_split and path.name.startswith("images-")
        actual = _add_shard(path, sums, pack) if is_summed else crc32(path)
        if actual != expected:
            yield str(path.relative_to(pack.folder))
    if sums.images:
        yield from _check_statistics(pack, sums)


def list_checksums(pack: Pack, splits: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    """Yield mean.npy and every file of these splits, each with its CRC-32 in the metadata."""
    yield pack.folder / "mean.npy", pack.metadata["mean_crc32"]
    for name in splits:
        split = pack.metadata["splits"][name]
        yield pack.folder / name / "labels.npy", split["labels_crc32"]
        yield pack.folder / name / "names.txt", split["names_crc32"]
        if split.get("origins_crc32"):
            yield pack.folder / name / ORIGINS, split["origins_crc32"]
        for shard in split["shards"]:
            yield pack.folder / shard["file"], shard["crc32"]


def _add_shard(path: Path, sums: Sums, pack: Pack) -> str:
    """Add the records of a shard to `sums` and return its CRC-32."""
    crc, record = 0, sums.record_bytes
    for block in read_blocks(path, max(1, BLOCK // record) * record):
        crc = zlib.crc32(block, crc)
        whole = len(block) // record * record
        sums.add_records(np.frombuffer(block[:whole], np.uint8).reshape(-1, record), pack.pixels)
    return f"{crc:08x}"


def _check_statistics(pack: Pack, sums: Sums) -> Iterator[str]:
    """Yield the statistics that differ from those of the training images, within rounding.

    The components of a yuv420 pack cannot be checked: they are those of the RGB images.
    """
    try:
        if not np.allclose(pack.mean, sums.mean(pack.size, pack.pixels), atol=1e-3):
            yield "mean.npy (it is not the mean of the training images)"
    except ValueError as error:
        yield f"mean.npy ({error})"
    if pack.pixels != "rgb":
        return
    # Components P and deviations d give back the covariance P diag(d²) Pᵀ. Comparing that, and
    # not P, allows for components whose variances are equal and which are therefore not unique.
    stored = pack.components * pack.deviations**2 @ pack.components.T
    actual = sums.covariance(pack.size)
    if not np.allclose(stored, actual, rtol=0, atol=1e-6 * max(1.0, float(np.trace(actual)))):
        yield "pack.json (components and deviations are not those of the training images)"


LISTS = "skipped.jsonl", "duplicates.jsonl"
"""Files without a checksum; a pack can be used without them."""


def _check_contents(pack: Pack) -> Iterator[str]:
    """Yield the errors of labels, names and lists that are unreadable or have the wrong length."""
    for split in pack.splits.values():
        yield from _yield_error(lambda split=split: split.labels)  # type: ignore[misc]
        yield from _yield_error(lambda split=split: split.names)  # type: ignore[misc]
    skipped = sum(sum(split["skipped"].values()) for split in pack.metadata["splits"].values())
    for name, expected in zip(LISTS, (skipped, pack.metadata["duplicates"]), strict=True):
        if (path := pack.folder / name).exists():
            yield from _yield_error(lambda path=path, n=expected: _check_list(path, n))  # type: ignore[misc]


def _yield_error(read: Callable[[], object]) -> Iterator[str]:
    """Call `read` and yield the message of the ValueError that it raises, if any."""
    try:
        read()
    except ValueError as error:
        yield str(error)


def _check_list(path: Path, expected: int) -> None:
    """Raise ValueError unless a file has `expected` lines, each a JSON object of texts."""
    count = 0
    with open(path, "rb") as lines:
        while line := lines.readline(LONGEST_LINE):
            count += 1
            place = f"line {count} of {path}"
            check(parse_json(line, place), dict[str, str], place)
    if count != expected:
        raise ValueError(f"{path} has {count} lines, not {expected}")
