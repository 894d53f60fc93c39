"""Measurements of a single network: its size, the colors of its kernels, the neighbors of images.

`measuring` calls `count_size`, `measure_tower_colors`, `rank_labels` and `count_neighbors`. torch
is imported only when a network is loaded.
"""

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
"""The number of nearest neighbors of an image whose classes are compared with its own."""

MAX_IMAGES = 5_000
"""At most about this many images are compared with each other, which takes N² distances."""

BATCH = 64
"""The number of images whose features are computed at once."""

BLOCK = 4
"""By pixels, images are compared as the means of BLOCK×BLOCK blocks."""


def count_size(network: str) -> dict[str, int]:
    """Return the numbers of parameters and neurons of a network in `NETS`.

    Neurons are the outputs of the layers with weights for one image.
    """
    from alexnet import nets

    weighted = [layer for layer in nets.list_layers(network) if layer.parameters]
    neurons = sum(math.prod(layer.shape) for layer in weighted)
    return {"parameters": sum(layer.parameters for layer in weighted), "neurons": neurons}


def measure_tower_colors(checkpoint: Checkpoint) -> list[list[float]]:
    """Return, for each tower, the colorfulness of its first-layer kernels.

    Raises ValueError for a network without two towers.
    """
    network = checkpoint.recipe.network
    one_tower = "towers=1" in map(str, checkpoint.recipe.variations) or network.endswith("-half")
    if one_tower or not network.startswith(("alexnet", "original")):
        raise ValueError(f"{network} does not have two towers: name a run of the network alexnet")
    kernels = checkpoint.weights["conv1.weight"].double().numpy()
    return [[round(x, 4) for x in compute_colorfulness(tower)] for tower in np.split(kernels, 2)]


def compute_colorfulness(kernels: NDArray[np.float64]) -> list[float]:
    """Return, for kernels (K, 3, H, W), the fraction of the energy of each outside the gray axis.

    The component of a pixel (r, g, b) along the gray axis (1, 1, 1) / √3 is (r + g + b) / √3. For
    independent random weights the fraction is 2/3 on average.
    """
    gray = kernels.sum(1) ** 2 / 3
    share = gray.sum((1, 2)) / (kernels**2).sum((1, 2, 3))
    return [float(x) for x in 1 - share]


def count_neighbors(run: Path, pack: Pack, device: str) -> dict[str, int]:
    """Count the nearest neighbors of validation images that have the image's own class.

    Neighbors are found twice, by L2 distance: among the features of fc7 and among the pixels.
    """
    from alexnet.checkpoint import find
    from alexnet.images.records import records_to_pictures
    from alexnet.predict import load

    split = pack.splits["val"]
    indices = select_evenly(split)
    classifier = load(find(run, ("last", "best")), device)
    features, pixels = [], []
    for batch in np.array_split(indices, math.ceil(len(indices) / BATCH)):
        images = records_to_pictures(split.gather(batch), pack.size, pack.pixels)
        features.append(classifier.features(list(images), "fc7").numpy())
        pixels.append(average_blocks(images))
    labels = split.labels[indices]
    return {
        "images": len(indices),
        "neighbors": NEIGHBORS,
        "same_by_features": count_same_class(np.concatenate(features), labels),
        "same_by_pixels": count_same_class(np.concatenate(pixels), labels),
    }


def select_evenly(split: Split) -> NDArray[np.int64]:
    """Return the indices of a split's labeled images: every k-th if they exceed MAX_IMAGES."""
    indices = np.flatnonzero(split.labels >= 0)
    return indices[:: math.ceil(len(indices) / MAX_IMAGES)]


def average_blocks(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the means of BLOCK×BLOCK blocks of pixels: (N, S, S, 3) → (N, 3 · (S // BLOCK)²)."""
    n, side = len(images), images.shape[1] // BLOCK
    cut = images[:, : side * BLOCK, : side * BLOCK].astype(np.float32)
    return cut.reshape(n, side, BLOCK, side, BLOCK, 3).mean((2, 4)).reshape(n, -1)


def count_same_class(vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> int:
    """Count, over all vectors (N, D), the nearest NEIGHBORS others that have the same label.

    Squared L2 distances are |a|² − 2 a·b + |b|².
    """
    squares = (vectors.astype(np.float64) ** 2).sum(1)
    distances = squares[:, None] + squares - 2.0 * (vectors @ vectors.T)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argpartition(distances, NEIGHBORS, axis=1)[:, :NEIGHBORS]
    return int((labels[nearest] == labels[:, None]).sum())
