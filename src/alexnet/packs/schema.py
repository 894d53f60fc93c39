"""What `pack.json` and the journal of a packing say, checked field by field.

`dataset.open_pack` and `journal.read_journal` read through this module. It reads no images.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from alexnet.images.records import Format, record_shape
from alexnet.images.resizing import Fit
from alexnet.validate import Range, check

FORMAT, VERSION = "alexnet pack", 1
DIGEST = "metadata_sha256"
"""The field of pack.json that holds the digest of all others. Earlier packs have none."""
LARGEST = 1 << 26
"""Bytes of a description at most: one of a million classes has less."""
Count = Annotated[int, Range(0, 1 << 53)]
Crc = Annotated[int, Range(0, (1 << 32) - 1)]
_CRC = re.compile("[0-9a-f]{8}")
_SPLIT = re.compile(r"\w[\w-]*")


@dataclass(frozen=True)
class ShardFacts:
    """One file of records."""

    file: str
    """Relative to the pack."""
    images: Annotated[int, Range(1, 1 << 53)]
    crc32: str

    def __post_init__(self) -> None:
        """Raise ValueError for a checksum that is none."""
        _check_crc(self.crc32)


@dataclass(frozen=True)
class SplitFacts:
    """One split of a finished pack."""

    images: Count
    shards: tuple[ShardFacts, ...]
    labels_crc32: str
    names_crc32: str
    skipped: dict[str, Count]
    """How many images were not used, by reason."""
    notes: dict[str, Count]
    chain: str
    """Digest of the items of the source, in order."""

    def __post_init__(self) -> None:
        """Raise ValueError for counts that do not go together."""
        _check_crc(self.labels_crc32)
        _check_crc(self.names_crc32)
        if (total := sum(shard.images for shard in self.shards)) != self.images:
            raise ValueError(f"its shards have {total} images and the split has {self.images}")


@dataclass(frozen=True)
class SourceFacts:
    """Where the images came from."""

    kind: str
    path: str
    splits: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise ValueError for splits that cannot be folders of a pack."""
        if len(set(self.splits)) != len(self.splits) or not self.splits:
            raise ValueError(f"{len(self.splits)} splits have {len(set(self.splits))} names")
        if wrong := [name for name in self.splits if not _SPLIT.fullmatch(name)]:
            raise ValueError(f"a split is named {wrong[0]!r}, which is no name of a folder")


@dataclass(frozen=True, kw_only=True)
class About:
    """The source and the options: what is known when a packing begins."""

    size: Annotated[int, Range(1, 1 << 20)]
    fit: Fit
    pixels: Format
    upright: bool = False
    max_pixels: Annotated[int, Range(1)]
    shard_images: Annotated[int, Range(1)]
    classes: tuple[str, ...]
    wordnet_ids: tuple[str, ...] | None
    source: SourceFacts
    division: dict[str, int | float | str | None] | None = None
    remarks: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise ValueError for classes that cannot be told apart, or a size that cannot be."""
        record_shape(self.size, self.pixels)
        if len(set(self.classes)) != len(self.classes) or not self.classes:
            raise ValueError(f"{len(self.classes)} classes have {len(set(self.classes))} names")
        if self.wordnet_ids is not None and len(self.wordnet_ids) != len(self.classes):
            raise ValueError(f"{len(self.wordnet_ids)} WordNet ids for {len(self.classes)} classes")


Element = Annotated[float, Range(-1.001, 1.001)]
Deviation = Annotated[float, Range(0, 256)]


@dataclass(frozen=True, kw_only=True)
class PackFacts(About):
    """Everything that pack.json says."""

    format: Literal["alexnet pack"]
    version: Literal[1]
    splits: dict[str, SplitFacts]
    duplicates: Count
    """Images that are in two splits."""
    mean_crc32: str
    components: tuple[tuple[Element, Element, Element], ...]
    deviations: tuple[Deviation, Deviation, Deviation]
    checksum: str
    metadata_sha256: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for parts that do not go together."""
        super().__post_init__()
        _check_crc(self.mean_crc32)
        if len(self.components) != 3:
            raise ValueError(f"there are {len(self.components)} rows of components, not 3")
        if set(self.splits) != set(self.source.splits):
            found, wanted = ", ".join(self.splits), ", ".join(self.source.splits)
            raise ValueError(f"the splits are {found}, and those of the source {wanted}")
        for name, split in self.splits.items():
            check_files(name, [shard.file for shard in split.shards])


def _check_crc(text: str) -> None:
    if not _CRC.fullmatch(text):
        raise ValueError(f"a CRC-32 is {text[:20]!r}, not 8 hexadecimal digits")


def check_files(split: str, files: list[str]) -> None:
    """Raise ValueError unless these are the names of a split's shards, in order."""
    for number, file in enumerate(files):
        if file != (wanted := f"{split}/images-{number:05}.npy"):
            raise ValueError(f"shard {number} of {split} is {file[:80]!r}, not {wanted}")


def check_description(raw: Any, path: Path) -> dict[str, Any]:
    """The fields of a pack.json that this version knows, if they are what they should be.

    Raises ValueError, naming the field, if they are not. Fields that a later version may have
    added are left out.
    """
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise ValueError(f"{path} does not describe a pack: pack again")
    version = raw.get("version")
    if type(version) is int and VERSION < version < 1 << 53:
        raise ValueError(
            f"{path.parent} has version {version} of the format, this program reads {VERSION}: "
            "pack again, or use the version of the program that made it"
        )
    facts = _known(raw, PackFacts)
    if isinstance(facts.get("source"), dict):
        facts["source"] = _known(facts["source"], SourceFacts)
    if isinstance(splits := facts.get("splits"), dict):
        facts["splits"] = {name: _known_of_split(split) for name, split in splits.items()}
    try:
        check(facts, PackFacts, str(path))
    except ValueError as error:
        raise ValueError(f"{error}. The file is damaged: pack again") from error
    return facts


def _known_of_split(raw: Any) -> Any:
    split = _known(raw, SplitFacts)
    if isinstance(split, dict) and isinstance(split.get("shards"), list):
        split["shards"] = [_known(shard, ShardFacts) for shard in split["shards"]]
    return split


def _known(raw: Any, kind: type) -> Any:
    if not isinstance(raw, dict):
        return raw
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in raw.items() if name in names}


def content_checksum(facts: dict[str, Any]) -> str:
    """SHA-256 of what a training depends on; not of where the images came from."""
    content = ("images", "shards", "labels_crc32")
    splits = {name: {key: is_[key] for key in content} for name, is_ in facts["splits"].items()}
    matter = {key: facts[key] for key in ("size", "pixels", "classes", "mean_crc32")}
    return digest([matter, splits])


def metadata_digest(raw: dict[str, Any]) -> str:
    """SHA-256 of every field but the one that holds it."""
    return digest({name: value for name, value in raw.items() if name != DIGEST})


def digest(value: Any) -> str:
    """SHA-256 of JSON, in 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
