"""How far a packing has come, so that another call can go on after any interruption.

`packing.json` is replaced as a whole each time a shard is complete and on disk. What the other
files hold beyond what it says is cut off by the next call, so every call continues from a moment
at which all of them agreed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAME = "packing.json"


@dataclass
class SplitState:
    """How far one split has come."""

    position: int = 0
    """Items of the source that have been dealt with, used or not."""
    chain: str = ""
    """Digest of all of those, to see that the source is still the same."""
    images: int = 0
    shards: list[dict[str, Any]] = field(default_factory=list)
    """File, images and CRC-32 of each complete shard."""
    labels_crc: int = 0
    names_crc: int = 0
    names_bytes: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    """How many were not used, by reason."""
    notes: dict[str, int] = field(default_factory=dict)
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
    skipped_bytes: int = 0
    """Length of skipped.jsonl."""
    sums: str = ""
    """File of the sums over the training images; empty before the first shard."""
    sums_images: int = 0
    moments: list[int] = field(default_factory=lambda: [0] * 9)

    def save(self, folder: Path) -> None:
        """Replace packing.json."""
        write_whole(folder / NAME, json.dumps(dataclasses.asdict(self), indent=1).encode())


def read_journal(folder: Path) -> Journal | None:
    """The journal of an unfinished packing in a folder, if there is one."""
    try:
        stored = json.loads((folder / NAME).read_bytes())
        splits = {name: SplitState(**state) for name, state in stored.pop("splits").items()}
        return Journal(splits=splits, **stored)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        message = f"{folder / NAME} is damaged ({error}): delete {folder} and pack again"
        raise ValueError(message) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that at every moment either the old or the new one is there, whole."""
    beside = path.with_name(path.name + ".part")
    with open(beside, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name is on disk as well
    finally:
        os.close(folder)
