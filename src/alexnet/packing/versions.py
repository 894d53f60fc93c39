"""The versions of a pack in its folder: the valid one, one that is being made, and leftovers.

    PACK/
      pack.json         names the folder of the valid version; "" (the first one) is PACK itself
      train/, val/, …   the first version
      version-2/        the second: train/, val/, mean.npy, …; and so on

An update writes a new folder, with a journal of its own, and then replaces pack.json. So at every
moment pack.json describes a whole pack. After a kill

    before pack.json is replaced    the old version is valid; the next call continues the new one
    after that                      the new version is valid; the next call removes the old one

A version that a program has open (`packs.pack.open_pack` holds its folder) is removed by a later
call. `packing.pack` calls these functions while it has PACK locked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from alexnet.files import LOCK, is_held
from alexnet.images.records import record_shape
from alexnet.packing.journal import NAME, Journal, SplitState, read_journal
from alexnet.packing.origins import KnownSplit
from alexnet.packing.shards import HASHES
from alexnet.packs.pack import read_metadata
from alexnet.packs.schema import ORIGINS

LEFTOVERS = LOCK, f".{NAME}.partial", f"{NAME}.part"
"""Files that a packing killed at its very beginning leaves; the last one by earlier versions. A
folder that holds nothing else counts as empty."""
_NUMBER = re.compile(r"version-([1-9]\d{0,8})")
_OF_A_VERSION = re.compile(
    r"mean\.npy|skipped\.jsonl|duplicates\.jsonl|sums-\d+\.npy|packing\.json(\.part)?|\..*\.partial"
)
_OF_A_SPLIT = re.compile(
    rf"images-\d{{5,}}\.npy|labels\.npy|names\.txt|{re.escape(HASHES)}|{re.escape(ORIGINS)}"
)


def read_valid(pack: Path) -> dict[str, Any] | None:
    """Return the metadata of the valid version; None if there is none yet.

    Raises ValueError if pack.json is damaged.
    """
    return read_metadata(pack) if (pack / "pack.json").exists() else None


def is_vacant(folder: Path) -> bool:
    """Return whether a folder holds nothing, or what a packing killed at its beginning leaves."""
    return folder.is_dir() and all(name in LEFTOVERS for name in os.listdir(folder))


def find_begun(pack: Path, valid: dict[str, Any] | None) -> list[tuple[Path, Journal]]:
    """Return the folders of versions that were begun and not finished, the newest last."""
    finished = None if valid is None else pack / valid.get("folder", "")
    begun = []
    for folder in (pack, *_list_numbered(pack)):
        if folder != finished and (journal := read_journal(folder)) is not None:
            begun.append((folder, journal))
    return begun


def begin(pack: Path, metadata: dict[str, Any]) -> tuple[Path, Journal]:
    """Begin a new version. Raises ValueError for a folder with other contents."""
    others = [path for path in pack.iterdir() if path.name not in LEFTOVERS]
    numbered = _list_numbered(pack)
    known = {"pack.json", NAME} & {path.name for path in others}
    if others and not known and not numbered:
        raise ValueError(f"{pack} is not empty and not a pack: choose a new folder")
    folder = pack
    if others:
        newest = max([1, *(_get_number(path) for path in numbered if not is_vacant(path))])
        folder = pack / f"version-{newest + 1}"
        folder.mkdir(exist_ok=True)
    splits = {split: SplitState(origins_crc=0) for split in metadata["source"]["splits"]}
    journal = Journal(metadata, splits)
    journal.save(folder)
    return folder, journal


def list_known(
    pack: Path, valid: dict[str, Any] | None, begun: list[tuple[Path, Journal]]
) -> list[KnownSplit]:
    """Return the splits of these versions whose records may be used again."""
    known = []
    if valid is not None:
        shape = record_shape(valid["size"], valid["pixels"])
        for name, split in valid["splits"].items():
            folder = pack / valid.get("folder", "") / name
            known.append(KnownSplit(folder, split["shards"], shape, split.get("origins_crc32", "")))
    for place, journal in begun:
        shape = record_shape(journal.about["size"], journal.about["pixels"])
        for name, state in journal.splits.items():
            if state.origins_crc is not None:
                crc = f"{state.origins_crc:08x}"
                known.append(KnownSplit(place / name, state.shards, shape, crc))
    return known


def remove_others(pack: Path, valid: Path) -> None:
    """Remove every version but the one in the folder `valid`, unless a program has it open."""
    for folder in (pack, *_list_numbered(pack)):
        if folder != valid and not is_held(folder):
            _remove(folder)


def remove_packing_files(folder: Path) -> None:
    """Remove the files that only an unfinished version needs."""
    for pattern in ("sums-*.npy", f"*/{HASHES}", f"{NAME}*", ".*.partial"):
        for leftover in folder.glob(pattern):
            leftover.unlink()


def _list_numbered(pack: Path) -> list[Path]:
    """Return the folders of all versions but the first, in order."""
    with os.scandir(pack) as items:
        names = [x.name for x in items if _NUMBER.fullmatch(x.name) and x.is_dir()]
    return sorted((pack / name for name in names), key=_get_number)


def _get_number(folder: Path) -> int:
    found = _NUMBER.fullmatch(folder.name)
    assert found is not None
    return int(found[1])


def _remove(folder: Path) -> None:
    """Remove the files of a version, and no others, and the folders that are then empty.

    The journal goes first: what is left of the version after a kill is not continued.
    """
    (folder / NAME).unlink(missing_ok=True)
    for path in list(_list_files(folder)):
        path.unlink(missing_ok=True)
    for inside in [path for path in folder.iterdir() if path.is_dir()]:
        if not _NUMBER.fullmatch(inside.name):
            with suppress(OSError):
                inside.rmdir()
    if _NUMBER.fullmatch(folder.name):
        with suppress(OSError):
            folder.rmdir()


def _list_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a version that is in this folder."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink() and not _NUMBER.fullmatch(path.name):
            yield from (x for x in path.iterdir() if _OF_A_SPLIT.fullmatch(x.name))
        elif _OF_A_VERSION.fullmatch(path.name):
            yield path
