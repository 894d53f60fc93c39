"""What is read off one network: its size, the colors of its kernels, the neighbors of images."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from alexnet.checkpoint import Checkpoint
    from alexnet.packs.pack import Pack, Split

NEIGHBORS = 5
MOST_IMAGES = 5_000
"""More are not compared with each other."""

BLOCK = 4
"""Pixels are compared as means of blocks of so many each way."""


def size(network: str) -> dict[str, int]:
    """Parameters and neurons: what the layers with weights put out for one image."""
    from alexnet import nets

    rows = [layer for layer in nets.layers(network) if layer.parameters]
    neurons = sum(math.prod(layer.shape) for layer in rows)
    return {"parameters": sum(layer.parameters for layer in rows), "neurons": neurons}


def colors(checkpoint: Checkpoint) -> list[list[float]]:
    """For each tower, the share of every first-layer kernel's energy that is not gray.

    Raises ValueError for a network without two towers.
    """
    network = checkpoint.recipe.network
    one = "towers=1" in checkpoint.recipe.variations or network.endswith("-half")
    if one or not network.startswith(("alexnet", "original")):
        raise ValueError(f"{network} does not have two towers: name a run of alexnet")
    kernels = checkpoint.weights["conv1.weight"].double().numpy()
    return [[round(x, 4) for x in colorfulness(tower)] for tower in np.split(kernels, 2)]


def colorfulness(kernels: NDArray[np.float64]) -> list[float]:
    """K 3 H W → K: 1 − the share of a kernel's energy along the gray axis of RGB."""
    gray = kernels.sum(1) ** 2 / 3
    share = gray.sum((1, 2)) / (kernels**2).sum((1, 2, 3))
    return [float(x) for x in 1 - share]


def neighbors(run: Path, pack: Pack, device: str) -> dict[str, int]:
    """How many of each validation image's nearest others are of its class, by fc7 and by pixels."""
    from alexnet.checkpoint import find
    from alexnet.images.records import rgb
    from alexnet.predict import load

    split = pack.splits["val"]
    members = spread(split)
    classifier = load(find(run, ("last", "best")), device)
    features, pixels = [], []
    for some in np.array_split(members, math.ceil(len(members) / 64)):
        images = np.clip(np.rint(rgb(split.gather(some), pack.size, pack.pixels)), 0, 255)
        images = images.astype(np.uint8)
        features.append(classifier.features(list(images), "fc7").numpy())
        pixels.append(blocks(images))
    labels = split.labels[members]
    return {
        "images": len(members),
        "neighbors": NEIGHBORS,
        "same_by_features": same_class(np.concatenate(features), labels),
        "same_by_pixels": same_class(np.concatenate(pixels), labels),
    }


def spread(split: Split) -> NDArray[np.int64]:
    """Labeled images of a split, evenly chosen if there are too many."""
    members = np.flatnonzero(split.labels >= 0)
    return members[:: math.ceil(len(members) / MOST_IMAGES)]


def blocks(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """N H W 3 → N …: the means of blocks of pixels."""
    n, side = len(images), images.shape[1] // BLOCK
    cut = images[:, : side * BLOCK, : side * BLOCK].astype(np.float32)
    return cut.reshape(n, side, BLOCK, side, BLOCK, 3).mean((2, 4)).reshape(n, -1)


def same_class(vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> int:
    """How many of the five nearest others of all vectors (N D, L2) have their label."""
    squares = (vectors.astype(np.float64) ** 2).sum(1)
    distances = squares[:, None] + squares - 2.0 * (vectors @ vectors.T)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argpartition(distances, NEIGHBORS, axis=1)[:, :NEIGHBORS]
    return int((labels[nearest] == labels[:, None]).sum())
