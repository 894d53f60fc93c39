"""Compares the pack in a folder, finished or unfinished, with the pack that was requested.

`packing.pack` asks these questions before it decodes anything, and `packing.loop` when it continues
with a source:

    is it a pack of the same images and settings?      if not: OtherPack, and nothing is touched
    are the images as they were when it was packed?    if not: it is updated
    are those as they were that are packed so far?     if not: SourceChanged, a new version is begun

Never import `packing.pack` or `packing.loop` here.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.images.decoder_process import Item
from alexnet.images.heif import NEEDED, can_read_heif
from alexnet.images.preparation import PreparationResult, compute_fingerprint
from alexnet.packing.journal import SplitState
from alexnet.sources.entry import Entry, Skipped, Source

IDENTITY = "size", "fit", "pixels", "upright", "max_pixels", "shard_images", "source", "evaluation"
"""Fields of the metadata that must agree: with others, it is another pack."""
CHANGEABLE = "classes", "wordnet_ids", "division"
"""Fields that follow from the images, and may change when these change."""


class OtherPack(ValueError):  # noqa: N818 - named for what the folder holds
    """The folder contains a pack, finished or unfinished, other than the requested one."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}: name another folder for the pack, or ask for the same")
        self.reason = reason
        """The first part of the message, without the advice."""


class SourceChanged(Exception):  # noqa: N818 - a condition of the source, not of the program
    """Images that an interrupted packing has packed are not as they were."""


def check_same_pack(folder: Path, present: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise OtherPack if a pack is of other images or settings than those wanted.

    `present` and `wanted` are packing metadata (`packs.schema.PackingMetadata`).
    """
    texts = (_describe_difference(key, present, wanted) for key in (*IDENTITY, "division"))
    if differences := [text for text in texts if text]:
        reason = f"{folder} already holds a pack with other settings ({'; '.join(differences)})"
        raise OtherPack(reason)


def is_current(source: Source, present: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Return whether the images of a finished pack are as they were when it was packed.

    Files are compared by their names, sizes and times of modification. Where the decoder of HEIF
    photographs has been installed since, they count as changed. The members of an archive
    are not read again: they count as unchanged if the archive is.
    """
    if not _has_same_classes(present, wanted) or can_read_more(present):
        return False
    for split in source.splits:
        state = SplitState()
        for item in source.entries(split):
            if isinstance(item, Entry) and not isinstance(item.content, Path):
                return _is_same_archive(item, present, wanted)
            state.advance(*identify_item(item, None))
        if state.chain != present["splits"][split]["chain"]:
            return False
    return True


def can_read_more(present: dict[str, Any]) -> bool:
    """Return whether photographs were left out for want of a decoder that is installed now."""
    missed = any(split["skipped"].get(NEEDED) for split in present["splits"].values())
    return missed and can_read_heif()


def is_resumable(present: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Return whether a version that was begun has the classes and splits that are wanted."""
    return _has_same_classes(present, wanted)


def _has_same_classes(present: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Return whether classes, splits and the choice of validation images are those wanted.

    A pack of an earlier version does not know how its validation images were chosen; if the source
    has some of its own, that does not matter.
    """
    splits = list(present["source"]["splits"]) == wanted["source"]["splits"]
    return splits and all(_get(present, key) == wanted[key] for key in CHANGEABLE)


def _is_same_archive(entry: Entry, present: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Return whether the archive is unchanged; a pack of an earlier version does not know."""
    if isinstance(entry.content, np.ndarray) or present.get("archive") is None:
        return True
    return bool(present["archive"] == wanted["archive"])


def iterate_remaining(source: Source, split: str, done: SplitState) -> Iterator[Item]:
    """Return an iterator over the items of a split that are still to be packed.

    Raises SourceChanged if the items before them have changed since they were packed: their chain,
    the digest of all of them in order, must be the one in the journal.
    """
    state, items = SplitState(), iter(source.entries(split))
    for item in itertools.islice(items, done.position):
        state.advance(*identify_item(item, None))
    if (state.position, state.chain) != (done.position, done.chain):
        raise SourceChanged
    return items


def check_done(source: Source, split: str, done: SplitState) -> None:
    """Raise SourceChanged if a split that earlier calls have finished has changed.

    Archives are not read again.
    """
    state = SplitState()
    for item in source.entries(split):
        if isinstance(item, Entry) and not isinstance(item.content, Path):
            return
        state.advance(*identify_item(item, None))
    if (state.position, state.chain) != (done.position, done.chain):
        raise SourceChanged


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


def _describe_difference(key: str, present: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Describe how one field of the metadata differs; return an empty text if it does not."""
    old, new = _get(present, key), wanted[key]
    if key == "division" and (old is None or new is None):
        return ""  # validation images that were added, or removed
    if key == "division":  # a list may change
        old, new = (
            {name: value for name, value in division.items() if not name.endswith("_digest")}
            for division in (old, new)
        )
    if key == "source":
        old, new = (os.path.abspath(str(metadata.get("path"))) for metadata in (old, new))
        key = "images of"  # earlier versions stored paths as they were given
    return "" if old == new else f"{key} {old}, not {new}"


def get_evaluation(present: dict[str, Any]) -> str:
    """Return the `evaluation` of a pack; packs of earlier versions do not say it."""
    splits = present["source"]["splits"]
    return str(present.get("evaluation", "" if "train" in splits else splits[0]))


def _get(present: dict[str, Any], key: str) -> Any:
    """Return a field of a pack's metadata, which packs of earlier versions may lack."""
    if key == "evaluation":
        return get_evaluation(present)
    if key == "upright":
        return present.get(key, False)
    return present.get(key)
