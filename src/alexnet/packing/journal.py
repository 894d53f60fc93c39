"""The saved state of a packing, packing.json, from which the next call resumes.

The journal is replaced whole each time a shard is complete and on the disk. It records how much of
every other file is valid. The next call truncates the files to these lengths, so packing always
resumes from a consistent state. `packing.loop` updates and saves it; `packing.resume` compares it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from alexnet.files import replace_json
from alexnet.packs.schema import (
    DIGEST,
    LARGEST,
    Count,
    Crc,
    PackingMetadata,
    ShardMetadata,
    check_files,
    compute_digest,
)
from alexnet.validate import Range, check, read_json

NAME = "packing.json"
Sum = Annotated[int, Range(0, 1 << 63)]
"""A sum over the pixels of all training images; see `packs.statistics`."""


@dataclass
class SplitState:
    """The state of one split: how much of the source has been packed, and into what."""

    position: Count = 0
    """Number of items of the source that have been processed, used or not."""
    chain: str = ""
    """Digest of these items in order, which shows whether the source has changed."""
    images: Count = 0
    """Number of items that were used."""
    shards: list[dict[str, Any]] = field(default_factory=list)
    """`packs.schema.ShardMetadata` of each complete shard."""
    labels_crc: Crc = 0
    names_crc: Crc = 0
    origins_crc: Crc | None = None
    """None in a journal of an earlier version, whose splits have no origins.npy."""
    names_bytes: Count = 0
    """Valid length of names.txt. That of labels.npy follows from `images`."""
    skipped: dict[str, Count] = field(default_factory=dict)
    """Number of items that were not used, by reason."""
    notes: dict[str, Count] = field(default_factory=dict)
    """Number of images that were used but are unusual, by kind."""
    done: bool = False

    def advance(self, *identity: object) -> None:
        """Count one item of the source and extend the chain by it.

        The new chain is the BLAKE2b digest of the old chain and the item's `identity`
        (`packing.resume.identify_item`), joined by null characters.
        """
        text = "\0".join((self.chain, *map(str, identity)))
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16)
        self.position, self.chain = self.position + 1, digest.hexdigest()


@dataclass
class Journal:
    """The state of a packing."""

    about: dict[str, Any]
    """The source and the options (`packs.schema.PackingMetadata`)."""
    splits: dict[str, SplitState]
    skipped_bytes: Count = 0
    """Valid length of skipped.jsonl."""
    sums: str = ""
    """Name of the file of the sums over the training images; empty before the first shard."""
    sums_images: Count = 0
    """Number of images in these sums."""
    moments: list[Sum] = field(default_factory=lambda: [0] * 9)
    """The nine moments of these images; see `packs.statistics`."""

    def save(self, folder: Path) -> None:
        """Replace packing.json, flushed to the disk."""
        stored = dataclasses.asdict(self)
        stored[DIGEST] = compute_digest(stored)
        replace_json(folder / NAME, stored, indent=1)


def read_journal(folder: Path) -> Journal | None:
    """Read the journal of an unfinished packing; None if the folder has none.

    Raises ValueError if it is damaged.
    """
    path = folder / NAME
    try:
        stored = read_json(path, LARGEST)
        if isinstance(stored, dict) and (expected := stored.pop(DIGEST, None)) is not None:
            _check_digest(expected, compute_digest(stored), path)  # absent in earlier versions
        journal: Journal = check(stored, Journal, str(path))
        _check_consistent(journal, path)
        return journal
    except FileNotFoundError:
        return None
    except ValueError as error:
        message = f"{error}. The journal is damaged: delete {folder} and pack again"
        raise ValueError(message) from error


def _check_digest(expected: object, actual: str, path: Path) -> None:
    if expected != actual:
        raise ValueError(f"{path} was changed: it does not agree with its {DIGEST}")


def _check_consistent(journal: Journal, path: Path) -> None:
    """Raise ValueError if the fields of a journal contradict each other."""
    metadata: PackingMetadata = check(journal.about, PackingMetadata, f"{path}: about")
    splits, states = metadata.source.splits, journal.splits
    if set(states) != set(splits):
        raise ValueError(f"{path} has the splits {', '.join(states)}, not {', '.join(splits)}")
    for name, state in states.items():
        shards = check(state.shards, list[ShardMetadata], f"{path}: {name}.shards")
        check_files(name, [shard.file for shard in shards])
        if (total := sum(shard.images for shard in shards)) != state.images:
            raise ValueError(f"{path}: the shards of {name} have {total} of {state.images} images")
        if state.position != state.images + sum(state.skipped.values()):
            raise ValueError(f"{path}: {name} is at item {state.position}, but has other counts")
    summed = states["train" if "train" in splits else splits[0]].images
    sums = f"sums-{summed}.npy" if summed else ""
    if (journal.sums, journal.sums_images, len(journal.moments)) != (sums, summed, 9):
        raise ValueError(f"{path}: sums over {journal.sums_images} images, not {summed}")
