"""The fields of pack.json, checked one by one, and the digests of metadata.

`packs.pack.open_pack` and `packing.journal.read_journal` read their JSON through this module. It
reads no images and never imports a module of this folder. The dataclasses are used only for
checking (`alexnet.validate.check`); the program then uses the plain dictionaries. The metadata
known when a packing begins, `PackingMetadata`, are the first part of those of the finished pack:

    PackMetadata (pack.json)
     ├─ PackingMetadata (also "about" in the journal)   size, fit, pixels, classes, …
     │   └─ source: SourceMetadata                      kind, path, splits
     ├─ splits: {name: SplitMetadata}                   images, CRCs, skipped, chain
     │   └─ shards: [ShardMetadata]                     file, images, crc32
     └─ folder, components, deviations, mean_crc32, checksum, metadata_sha256
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

FORMAT, VERSION = "alexnet pack", 2
"""Version 2 has a `folder`; a pack without one is of version 1, which earlier programs read."""
DIGEST = "metadata_sha256"
"""The field of pack.json that holds the digest of all other fields. Packs of earlier versions do
not have it."""
ORIGINS = "origins.npy"
"""The file of a split that says which file each record was made of; see `packing.origins`."""
LARGEST = 1 << 26
"""Maximum size of pack.json in bytes; with a million classes it is smaller than this."""
Count = Annotated[int, Range(0, 1 << 53)]
Crc = Annotated[int, Range(0, (1 << 32) - 1)]
_CRC = re.compile("[0-9a-f]{8}")
_SPLIT = re.compile(r"\w[\w-]*")
_FOLDER = re.compile(r"(version-[1-9]\d{0,8})?")


@dataclass(frozen=True)
class ShardMetadata:
    """One shard: a file of records."""

    file: str
    """Path relative to the pack."""
    images: Annotated[int, Range(1, 1 << 53)]
    crc32: str

    def __post_init__(self) -> None:
        """Raise ValueError for a malformed checksum."""
        _check_crc(self.crc32)


@dataclass(frozen=True)
class SplitMetadata:
    """One split of a finished pack."""

    images: Count
    shards: tuple[ShardMetadata, ...]
    labels_crc32: str
    names_crc32: str
    skipped: dict[str, Count]
    """Number of images that were not used, by reason."""
    notes: dict[str, Count]
    """Number of images that were used but are unusual, by kind, such as `format_mismatch`."""
    chain: str
    """Digest of the items of the source in order: each is hashed with the digest before it. It
    shows whether the source has changed since it was packed."""
    origins_crc32: str = ""
    """Packs of earlier versions have no origins.npy."""

    def __post_init__(self) -> None:
        """Raise ValueError for malformed checksums or inconsistent counts."""
        _check_crc(self.labels_crc32)
        _check_crc(self.names_crc32)
        if self.origins_crc32:
            _check_crc(self.origins_crc32)
        if (total := sum(shard.images for shard in self.shards)) != self.images:
            raise ValueError(f"its shards have {total} images and the split has {self.images}")


@dataclass(frozen=True)
class SourceMetadata:
    """Where the images came from."""

    kind: str
    path: str
    splits: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise ValueError for split names that are missing, repeated or no names of folders."""
        if len(set(self.splits)) != len(self.splits) or not self.splits:
            raise ValueError(f"{len(self.splits)} splits have {len(set(self.splits))} names")
        if wrong := [name for name in self.splits if not _SPLIT.fullmatch(name)]:
            raise ValueError(f"a split is named {wrong[0]!r}, which is no name of a folder")


@dataclass(frozen=True, kw_only=True)
class PackingMetadata:
    """The source and the options: the metadata that are known when a packing begins."""

    size: Annotated[int, Range(1, 1 << 20)]
    fit: Fit
    pixels: Format
    upright: bool = False
    max_pixels: Annotated[int, Range(1)]
    shard_images: Annotated[int, Range(1)]
    classes: tuple[str, ...]
    wordnet_ids: tuple[str, ...] | None
    source: SourceMetadata
    division: dict[str, int | float | str | None] | None = None
    """How validation images were held out; None if the source has its own split."""
    evaluation: str = ""
    """If the images are only to be measured: the split that all of them belong to."""
    archive: str | None = None
    """Size and modification time of the archive that the images are in."""
    remarks: tuple[str, ...]
    """Remarks on the source for the user."""

    def __post_init__(self) -> None:
        """Raise ValueError for repeated or missing classes, or a size that the format excludes."""
        record_shape(self.size, self.pixels)
        if len(set(self.classes)) != len(self.classes) or not self.classes:
            raise ValueError(f"{len(self.classes)} classes have {len(set(self.classes))} names")
        if self.wordnet_ids is not None and len(self.wordnet_ids) != len(self.classes):
            raise ValueError(f"{len(self.wordnet_ids)} WordNet ids for {len(self.classes)} classes")


Element = Annotated[float, Range(-1.001, 1.001)]
Deviation = Annotated[float, Range(0, 256)]


@dataclass(frozen=True, kw_only=True)
class PackMetadata(PackingMetadata):
    """All fields of pack.json."""

    format: Literal["alexnet pack"]
    version: Literal[1, 2]
    folder: str = ""
    """The folder, inside that of the pack, with the files of the valid version; "": its own."""
    splits: dict[str, SplitMetadata]
    duplicates: Count
    """Number of images that also occur in an earlier split."""
    mean_crc32: str
    components: tuple[tuple[Element, Element, Element], ...]
    deviations: tuple[Deviation, Deviation, Deviation]
    checksum: str
    metadata_sha256: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for inconsistent fields."""
        super().__post_init__()
        if not _FOLDER.fullmatch(self.folder):
            raise ValueError(f"its folder is {self.folder[:80]!r}, not version-2 or another number")
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


def check_metadata(raw: Any, path: Path) -> dict[str, Any]:
    """Check the content of pack.json and return the fields that this version knows.

    Fields that a later version may have added are left out. Raises ValueError, naming the field,
    for a value of the wrong type or out of range.
    """
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise ValueError(f"{path} does not describe a pack: pack again")
    version = raw.get("version")
    if type(version) is int and VERSION < version < 1 << 53:
        raise ValueError(
            f"{path.parent} has version {version} of the format, this program reads {VERSION}: "
            "pack again, or use the version of the program that made it"
        )
    metadata = _select_known(raw, PackMetadata)
    if isinstance(metadata.get("source"), dict):
        metadata["source"] = _select_known(metadata["source"], SourceMetadata)
    if isinstance(splits := metadata.get("splits"), dict):
        metadata["splits"] = {name: _select_known_of_split(split) for name, split in splits.items()}
    try:
        check(metadata, PackMetadata, str(path))
    except ValueError as error:
        raise ValueError(f"{error}. The file is damaged: pack again") from error
    return metadata


def _select_known_of_split(raw: Any) -> Any:
    split = _select_known(raw, SplitMetadata)
    if isinstance(split, dict) and isinstance(split.get("shards"), list):
        split["shards"] = [_select_known(shard, ShardMetadata) for shard in split["shards"]]
    return split


def _select_known(raw: Any, kind: type) -> Any:
    """Return the entries of an object that are fields of `kind`; anything else unchanged."""
    if not isinstance(raw, dict):
        return raw
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in raw.items() if name in names}


def compute_checksum(metadata: dict[str, Any]) -> str:
    """Return the SHA-256 of the fields that a training depends on.

    Two packs of the same images have the same checksum, wherever the images came from.
    """
    split_keys = ("images", "shards", "labels_crc32")
    splits = {
        name: {key: split[key] for key in split_keys} for name, split in metadata["splits"].items()
    }
    content = {key: metadata[key] for key in ("size", "pixels", "classes", "mean_crc32")}
    return _hash_json([content, splits])


def compute_digest(raw: dict[str, Any]) -> str:
    """Return the SHA-256 of every field except the one that holds the digest."""
    return _hash_json({name: value for name, value in raw.items() if name != DIGEST})


def _hash_json(value: Any) -> str:
    """Return the SHA-256 of a JSON value with sorted keys, as 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
