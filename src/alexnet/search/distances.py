"""Distances between features, from direct differences in float64, and the nearest of them.

`exact` and every search with re-ranking measure their candidates here. The usual way to compute
many Euclidean distances at once, ‖x‖² + ‖q‖² − 2 q·x, cancels: if both norms are 1000 and the
images nearly equal, the difference of two numbers around 10⁶ in float32, whose spacing there is
1/16, cannot show a squared distance of 0.4. Differences first, ‖x − q‖², do not cancel. Imports
nothing of this package.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Metric = Literal["euclidean", "cosine"]
ROWS = 1024
"""Rows that are converted to float64 at a time."""


class Neighbors(NamedTuple):
    """The nearest images of each of Q queries, the nearest first."""

    indices: NDArray[np.int64]
    """Their indices: int64 (Q, k). Of equal distances, the lower index comes first."""
    distances: NDArray[np.float64]
    """Their distances: float64 (Q, k)."""


def measure_distances(
    features: NDArray[Any], query: NDArray[Any], metric: Metric = "euclidean"
) -> NDArray[np.float64]:
    """Measure the distance of every row of `features` (N, D) to `query` (D,): float64 (N,).

    `euclidean` is ‖x − q‖. `cosine` is 1 − cos(x, q), computed as ½ ‖x/‖x‖ − q/‖q‖‖², which is the
    same and does not cancel; a row or a query of zeros has no direction, and its distance is 1. The
    relative error is about D · 10⁻¹⁶.
    """
    q = np.asarray(query, np.float64)
    measure = _measure_cosine if metric == "cosine" else _measure_euclidean
    parts = [
        measure(np.asarray(features[begin : begin + ROWS], np.float64), q)
        for begin in range(0, len(features), ROWS)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _measure_euclidean(x: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(np.square(x - q).sum(1))


def _measure_cosine(x: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    norms, norm = np.sqrt(np.square(x).sum(1)), np.sqrt(np.square(q).sum())
    has_direction = (norms > 0) & (norm > 0)
    units = x / np.where(norms > 0, norms, 1)[:, None]
    halves = np.square(units - q / (norm if norm > 0 else 1)).sum(1) / 2
    return np.where(has_direction, halves, 1.0)


def select_nearest(
    indices: NDArray[np.int64], distances: NDArray[np.float64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the k nearest of the candidates of one query, sorted by distance, then by index."""
    order = np.lexsort((indices, distances))[:k]
    return indices[order], distances[order]
