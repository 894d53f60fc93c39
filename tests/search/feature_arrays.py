"""An index made of given features, without a network or a pack."""

from pathlib import Path

import numpy as np

from alexnet.files import replace_json
from alexnet.packs.checked_files import crc32
from alexnet.packs.schema import ShardMetadata
from alexnet.search.index import FeatureIndex, open_index
from alexnet.search.schema import (
    CheckpointReference,
    IndexOrigin,
    PackReference,
    SplitPart,
    describe_index,
    name_shard,
)


def draw_features(images: int = 400, dimensions: int = 48, seed: int = 0) -> np.ndarray:
    """Draw features of clusters, as those of a network: float32 (images, dimensions), sparse."""
    random = np.random.default_rng(seed)
    centers = random.normal(0, 2, (8, 12))[random.integers(8, size=images)]
    mixed = (centers + random.normal(0, 1, centers.shape)) @ random.normal(0, 1, (12, dimensions))
    return np.maximum(mixed, 0).astype(np.float32)


def write_index(folder: Path, features: np.ndarray, shard_images: int = 150) -> FeatureIndex:
    """Write an index of these features (N, D), in shards, without classes; open it."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = []
    for first in range(0, len(features), shard_images):
        part, file = features[first : first + shard_images], name_shard(len(shards))
        np.save(folder / file, part)
        shards.append(ShardMetadata(file, len(part), crc32(folder / file)))
    np.save(folder / "labels.npy", np.full(len(features), -1, np.int64))
    (folder / "names.txt").write_text("".join(f"{i}.png\n" for i in range(len(features))))
    origin = IndexOrigin(
        layer="fc7",
        shape=features.shape[1:],
        dimensions=features.shape[1],
        dtype=str(features.dtype),
        classes=(),
        checkpoint=CheckpointReference("run/best.safetensors", "0" * 64),
        pack=PackReference("x.pack", "../x.pack", "0" * 64),
        splits=(SplitPart("train", len(features)),),
    )
    checksums = crc32(folder / "labels.npy"), crc32(folder / "names.txt")
    replace_json(folder / "index.json", describe_index(origin, shards, *checksums))
    return open_index(folder)
