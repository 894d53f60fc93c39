"""The fields of index.json, checked one by one when an index is opened.

`search.index.open_index` reads the file through `check_metadata`. It reads no features and never
imports another module of this folder. The metadata known when the making of an index begins,
`IndexOrigin`, are a part of those of the finished index:

    IndexMetadata (index.json)
     ├─ origin: IndexOrigin (also in features.json while the index is being made)
     │   ├─ checkpoint: CheckpointReference             path, sha256
     │   ├─ pack: PackReference                         path, relative, checksum
     │   └─ splits: [SplitPart]                         name, images
     └─ shards: [ShardMetadata of packs.schema]         file, images, crc32
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from alexnet.packs.schema import DIGEST, ShardMetadata, compute_digest
from alexnet.validate import Range, check

FORMAT, VERSION = "alexnet index", 1
LARGEST = 1 << 26
"""Maximum size of index.json in bytes; with a million classes it is smaller than this."""
FeatureType = Literal["float16", "float32"]
"""The types of stored features, as NumPy names them."""
Side = Annotated[int, Range(1, 1 << 31)]
Count = Annotated[int, Range(1, 1 << 53)]
_CRC = re.compile("[0-9a-f]{8}")
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class CheckpointReference:
    """The checkpoint file whose network made the features."""

    path: str
    """Where it was, absolute."""
    sha256: str
    """The hash of its content, which identifies the network."""

    def __post_init__(self) -> None:
        """Raise ValueError for a malformed hash."""
        if not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"sha256 is {self.sha256[:20]!r}, not 64 hexadecimal digits")


@dataclass(frozen=True)
class PackReference:
    """The pack whose images the index holds features of."""

    path: str
    """Where it was, absolute."""
    relative: str
    """The way from the index to it, which is still right if both are moved together."""
    checksum: str
    """`Pack.checksum`."""

    def __post_init__(self) -> None:
        """Raise ValueError for a path that no system can open."""
        if "\0" in self.path + self.relative:
            raise ValueError("its path contains a null character")


@dataclass(frozen=True)
class SplitPart:
    """A split of the pack and the number of its images, all of which are in the index."""

    name: str
    images: Count


@dataclass(frozen=True)
class IndexOrigin:
    """What determines the features: the network, the layer, the images and the stored type."""

    layer: str
    """The name of the layer whose output is stored, such as `fc7`."""
    shape: tuple[Side, ...]
    """Shape of the output of that layer for one image: (4096,) for fc7, (256, 6, 6) for pool5."""
    dimensions: Side
    """D, the product of `shape`: outputs are flattened."""
    dtype: FeatureType
    classes: tuple[str, ...]
    """Names of the classes of the pack; the position is the label."""
    checkpoint: CheckpointReference
    pack: PackReference
    splits: tuple[SplitPart, ...]
    """The splits in the order of their images in the index."""

    def __post_init__(self) -> None:
        """Raise ValueError for fields that contradict each other."""
        if self.dimensions != math.prod(self.shape):
            raise ValueError(f"{self.dimensions} dimensions do not fit the shape {self.shape}")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"{len(self.classes)} classes have {len(set(self.classes))} names")
        if len({part.name for part in self.splits}) != len(self.splits) or not self.splits:
            raise ValueError(f"{len(self.splits)} splits have repeated names, or there are none")

    @property
    def images(self) -> int:
        """N, the number of images of all splits."""
        return sum(part.images for part in self.splits)


@dataclass(frozen=True)
class IndexMetadata:
    """All fields of index.json."""

    format: Literal["alexnet index"]
    version: Literal[1]
    images: Count
    """N, the number of images."""
    origin: IndexOrigin
    shards: tuple[ShardMetadata, ...]
    labels_crc32: str
    names_crc32: str
    metadata_sha256: str
    """SHA-256 of all other fields."""

    def __post_init__(self) -> None:
        """Raise ValueError for malformed checksums or inconsistent counts."""
        for crc in (self.labels_crc32, self.names_crc32):
            if not _CRC.fullmatch(crc):
                raise ValueError(f"a CRC-32 is {crc[:20]!r}, not 8 hexadecimal digits")
        check_shards(self.shards, self.origin.splits)
        if self.images != self.origin.images:
            raise ValueError(f"images is {self.images}, but the splits have {self.origin.images}")
        if sum(shard.images for shard in self.shards) != self.images:
            raise ValueError(f"its shards do not hold {self.images} images together")


def name_shard(number: int) -> str:
    """Return the file name of a shard of features, counted from 0."""
    return f"features-{number:05}.npy"


def check_shards(shards: Sequence[ShardMetadata], splits: Sequence[SplitPart]) -> None:
    """Raise ValueError unless the shards are named in order and begin anew with each split.

    There may be fewer images in the shards than in the splits, while an index is being made.
    """
    room = iter([part.images for part in splits])
    left = 0
    for number, shard in enumerate(shards):
        if shard.file != name_shard(number):
            raise ValueError(f"shard {number} is {shard.file[:80]!r}, not {name_shard(number)}")
        left = left or next(room, 0)
        if shard.images > left:
            raise ValueError(f"{shard.file} has {shard.images} images where {left} are left")
        left -= shard.images


def describe_index(
    origin: IndexOrigin, shards: Sequence[ShardMetadata], labels_crc32: str, names_crc32: str
) -> dict[str, Any]:
    """Return the content of index.json, with its digest."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "images": origin.images,
        "origin": asdict(origin),
        "shards": [asdict(shard) for shard in shards],
        "labels_crc32": labels_crc32,
        "names_crc32": names_crc32,
    }
    return {**content, DIGEST: compute_digest(content)}


def check_metadata(raw: Any, path: Path) -> IndexMetadata:
    """Check the content of index.json.

    Raises ValueError, naming the file and the field, if it does not describe an index, was made by
    a later version, or was changed since it was written.
    """
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise ValueError(f"{path} does not describe an index of features")
    version = raw.get("version")
    if type(version) is int and VERSION < version < 1 << 53:
        raise ValueError(
            f"{path.parent} has version {version} of the format, this program reads {VERSION}"
        )
    metadata: IndexMetadata = check(raw, IndexMetadata, str(path))
    if metadata.metadata_sha256 != compute_digest(raw):
        raise ValueError(f"{path} was changed: it does not agree with its {DIGEST}")
    return metadata
