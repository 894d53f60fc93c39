"""How far a packing has come, so that another call can go on after any interruption.

`packing.json` is replaced as a whole each time a shard is complete and on disk. What the other
files hold beyond what it says is cut off by the next call, so every call continues from a moment
at which all of them agreed.
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
    About,
    Count,
    Crc,
    ShardFacts,
    check_files,
    metadata_digest,
)
from alexnet.validate import Range, check, read_json

NAME = "packing.json"
Sum = Annotated[int, Range(0, 1 << 63)]


@dataclass
class SplitState:
    """How far one split has come."""

    position: Count = 0
    """Items of the source that have been dealt with, used or not."""
    chain: str = ""
    """Digest of all of those, to see that the source is still the same."""
    images: Count = 0
    shards: list[dict[str, Any]] = field(default_factory=list)
    """File, images and CRC-32 of each complete shard."""
    labels_crc: Crc = 0
    names_crc: Crc = 0
    names_bytes: Count = 0
    skipped: dict[str, Count] = field(default_factory=dict)
    """How many were not used, by reason."""
    notes: dict[str, Count] = field(default_factory=dict)
    """How many of the used had a peculiarity, by kind."""
    done: bool = False

    def pass_by(self, *what: object) -> None:
        """Step over one item of the source, whose identity is `what`."""
        text = "\0".join((self.chain, *map(str, what)))
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16)
        self.position, self.chain = self.position + 1, digest.hexdigest()


@dataclass
class Journal:
    """How far a packing has come."""

    about: dict[str, Any]
    """The source and the options: a packing only goes on with the same."""
    splits: dict[str, SplitState]
    skipped_bytes: Count = 0
    """Length of skipped.jsonl."""
    sums: str = ""
    """File of the sums over the training images; empty before the first shard."""
    sums_images: Count = 0
    moments: list[Sum] = field(default_factory=lambda: [0] * 9)

    def save(self, folder: Path) -> None:
        """Replace packing.json."""
        stored = dataclasses.asdict(self)
        stored[DIGEST] = metadata_digest(stored)
        replace_json(folder / NAME, stored, indent=1)


def read_journal(folder: Path) -> Journal | None:
    """The journal of an unfinished packing in a folder, if there is one.

    Raises ValueError for one that is damaged.
    """
    path = folder / NAME
    try:
        stored = read_json(path, LARGEST)
        if isinstance(stored, dict) and (wanted := stored.pop(DIGEST, None)) is not None:
            _compare(wanted, metadata_digest(stored), path)  # earlier journals have none
        journal: Journal = check(stored, Journal, str(path))
        _check_parts(journal, path)
        return journal
    except FileNotFoundError:
        return None
    except ValueError as error:
        message = f"{error}. The journal is damaged: delete {folder} and pack again"
        raise ValueError(message) from error


def _compare(wanted: object, found: str, path: Path) -> None:
    if wanted != found:
        raise ValueError(f"{path} was changed: it does not agree with its {DIGEST}")


def _check_parts(journal: Journal, path: Path) -> None:
    """Raise ValueError for parts that do not go together."""
    about: About = check(journal.about, About, f"{path}: about")
    splits, states = about.source.splits, journal.splits
    if set(states) != set(splits):
        raise ValueError(f"{path} has the splits {', '.join(states)}, not {', '.join(splits)}")
    for name, state in states.items():
        shards = check(state.shards, list[ShardFacts], f"{path}: {name}.shards")
        check_files(name, [shard.file for shard in shards])
        if (total := sum(shard.images for shard in shards)) != state.images:
            raise ValueError(f"{path}: the shards of {name} have {total} of {state.images} images")
        if state.position != state.images + sum(state.skipped.values()):
            raise ValueError(f"{path}: {name} stands at {state.position}, which is not its images")
    summed = states["train" if "train" in splits else splits[0]].images
    sums = f"sums-{summed}.npy" if summed else ""
    if (journal.sums, journal.sums_images, len(journal.moments)) != (sums, summed, 9):
        raise ValueError(f"{path}: sums over {journal.sums_images} images, not {summed}")
