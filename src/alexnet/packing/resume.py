"""Compares the pack in a folder, finished or unfinished, with the pack that was requested.

`packing.pack` calls these functions before it starts or reopens a packing, and `packing.loop` when
it continues with a source. A packing resumes, and a finished pack is used again, only if the
settings are equal and the source is unchanged. Anything else raises `OtherPack`; nothing is deleted
or overwritten. Never import `packing.pack` or `packing.loop` here.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alexnet.files import LOCK
from alexnet.images.decoder_process import Item
from alexnet.images.preparation import PreparationResult, compute_fingerprint
from alexnet.packing.journal import NAME, Journal, SplitState, read_journal
from alexnet.packing.shards import HASHES
from alexnet.packs.pack import Pack, open_pack
from alexnet.sources.entry import Entry, Skipped, Source

LEFTOVERS = LOCK, f".{NAME}.partial", f"{NAME}.part"
"""Files that a packing killed at its very beginning leaves; the last one by earlier versions. A
folder that holds nothing else counts as empty."""


class OtherPack(ValueError):  # noqa: N818 - named for what the folder holds
    """The folder contains a pack, finished or unfinished, other than the requested one."""

    def __init__(self, reason: str, folder: Path) -> None:
        super().__init__(f"{reason}: choose another folder, delete {folder}, or ask for the same")
        self.reason = reason
        """The first part of the message, without the advice."""


def begin_or_resume(folder: Path, metadata: dict[str, Any]) -> Journal:
    """Return the journal of the interrupted packing in a folder, or write a new one.

    `metadata` is the packing metadata (`packs.schema.PackingMetadata`) that is asked for. Raises
    OtherPack for a packing of other metadata and ValueError for a folder with other contents.
    """
    journal = read_journal(folder)
    if journal is not None:
        _check_same_settings(folder, journal.about, metadata)
        return journal
    if any(path.name not in LEFTOVERS for path in folder.iterdir()):
        raise ValueError(f"{folder} is not empty and not a pack: choose a new folder")
    journal = Journal(metadata, {split: SplitState() for split in metadata["source"]["splits"]})
    journal.save(folder)
    return journal


def reopen_finished(source: Source, folder: Path, metadata: dict[str, Any]) -> Pack:
    """Open the finished pack in a folder.

    Raises OtherPack if its settings differ from `metadata` or its source has changed since. An
    archive is not read again, so changes inside archives are not noticed.
    """
    pack = open_pack(folder)
    _check_same_settings(folder, pack.metadata, metadata)
    remove_packing_files(folder)  # the call may have been killed after it wrote pack.json
    for split in source.splits:
        state = SplitState()
        for item in source.entries(split):
            if isinstance(item, Entry) and not isinstance(item.content, Path):
                return pack
            state.advance(*identify_item(item, None))
        if state.chain != pack.metadata["splits"][split]["chain"]:
            raise OtherPack(f"{source.path} has changed since {folder} was packed", folder)
    return pack


def iterate_remaining(source: Source, split: str, done: SplitState, folder: Path) -> Iterator[Item]:
    """Return an iterator over the items of a split that are still to be packed.

    Raises OtherPack if the items before them have changed since they were packed: their chain, the
    digest of all of them in order, must be the one in the journal.
    """
    state, items = SplitState(), iter(source.entries(split))
    for item in itertools.islice(items, done.position):
        state.advance(*identify_item(item, None))
    if (state.position, state.chain) != (done.position, done.chain):
        raise OtherPack(f"{source.path} has changed since {folder} was packed", folder)
    return items


def identify_item(item: Item, outcome: PreparationResult | None) -> tuple[object, ...]:
    """Return the data of an item that the chain depends on: its name, label and fingerprint.

    The fingerprint is taken from `outcome` if the item has been prepared, else from its content.
    """
    if isinstance(item, Skipped):
        return item.name, item.reason
    return (
        item.name,
        item.label,
        outcome.fingerprint if outcome else compute_fingerprint(item.content),
    )


def remove_packing_files(folder: Path) -> None:
    """Remove the files that only an unfinished packing needs."""
    for pattern in ("sums-*.npy", f"*/{HASHES}", f"{NAME}*", ".*.partial"):
        for leftover in folder.glob(pattern):
            leftover.unlink()


def _check_same_settings(folder: Path, present: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise OtherPack if a pack is of other images or settings than those wanted."""
    if differences := [
        text for key in wanted if (text := _describe_difference(key, present, wanted))
    ]:
        reason = f"{folder} already holds a pack with other settings ({'; '.join(differences)})"
        raise OtherPack(reason, folder)
    if wanted["division"] and "division" not in present:
        reason = (
            f"{folder} was packed by an earlier version, which held out a share of all images and "
            "not of each class (where a pack is expected, it can be used as it is)"
        )
        raise OtherPack(reason, folder)


def _describe_difference(key: str, present: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Describe how one field of the metadata differs; return an empty text if it does not."""
    old, new = present.get(key), wanted[key]
    if key == "remarks" or old == new or (key == "division" and key not in present):
        return ""  # remarks only comment on the other fields
    if key == "source" and isinstance(old, dict):
        old, new = (_describe_source(metadata) for metadata in (old, new))
    if old == new:
        return ""
    return key if key == "classes" else f"{key} {old}, not {new}"


def _describe_source(metadata: dict[str, Any]) -> str:
    """Describe a source so that equal ones have equal texts.

    Earlier versions stored paths as they were given, so relative paths are made absolute.
    """
    splits = ", ".join(map(str, metadata.get("splits", ())))
    return f"{metadata.get('kind')} {os.path.abspath(str(metadata.get('path')))} ({splits})"
