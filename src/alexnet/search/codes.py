"""Binary codes of an index: the search by Hamming distance, and the re-ranking of what it finds.

A few hundred bits per image stand in for features of thousands of numbers. The nearest codes by
Hamming distance are a shortlist; the distances between the features put it in order, and only the
features of the shortlist are read:

    query ──encoder──▶ code ──Hamming distance──▶ shortlist of S images ──features──▶ nearest k
                            all N codes: 38 MB                     S rows of the memory maps
                            for 1.2 million images of 256 bits

`code_files.open_codes` opens the codes of an index, `code_training` makes them. Commands and
`recall` search through `BinaryCodes.search`. This module reads no files but the features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from alexnet.kernels.hamming.operator import find_nearest_codes
from alexnet.search.autoencoder import Encoder
from alexnet.search.index import FeatureIndex


@dataclass(frozen=True, eq=False)
class BinaryCodes:
    """The binary codes of the N images of an index."""

    index: FeatureIndex
    encoder: Encoder
    """What turns features into codes."""
    codes: NDArray[np.uint8]
    """The codes of all images, a read-only memory map: uint8 (N, bits / 8)."""
    shortlist: int
    """Number of candidates whose features a search compares, unless it is told another."""

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def bits(self) -> int:
        """Length of a code."""
        return self.encoder.bits

    def find_candidates(
        self, queries: Any, count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
        """Find the images whose codes differ from those of the queries in the fewest bits.

        queries: features (Q, D). Returns indices and Hamming distances, both (Q, count) or, in an
        index of fewer images, (Q, N). Raises ValueError for features of another shape.
        """
        return find_nearest_codes(self.codes, self.encoder.encode(queries), count)

    def search(
        self,
        queries: Any,
        k: int = 10,
        *,
        shortlist: int | None = None,
        metric: Literal["euclidean", "cosine"] = "euclidean",
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find the k images with the nearest features among the candidates of each query.

        Parameters
        ----------
        queries
            Features, float32 (Q, D): a NumPy array or a tensor.
        k
            Number of images to find.
        shortlist
            Number of candidates whose features are compared; at least k. By default the length
            that was chosen by measurement.
        metric
            Distance between features; cosine is 1 − the cosine of the angle.

        Returns indices (Q, k) and distances (Q, k), the nearest first. Images at the same distance
        are in the order of their indices. Raises ValueError for features of another shape, and if k
        is not positive.
        """
        queries = np.asarray(queries, np.float32)
        candidates, _ = self.find_candidates(queries, max(k, shortlist or self.shortlist))
        candidates = np.sort(candidates, axis=1)  # rows are read in order; ties by index
        k = min(k, candidates.shape[1])
        indices, distances = np.empty((len(queries), k), np.int64), np.empty((len(queries), k))
        for row, query in enumerate(queries):
            found = measure_distances(self.index.gather(candidates[row]), query, metric)
            order = np.argsort(found, kind="stable")[:k]
            indices[row], distances[row] = candidates[row][order], found[order]
        return indices, distances.astype(np.float32)


def measure_distances(
    features: NDArray[np.float32], query: NDArray[np.float32], metric: str
) -> NDArray[Any]:
    """Measure the distance of each row of features (M, D) from the query (D,): (M,).

    Euclidean distances are those of the differences themselves: the expansion into squares and a
    product would lose the small distances of near duplicates to rounding.
    """
    if metric == "euclidean":
        return np.linalg.norm(features - query, axis=1)
    lengths = np.linalg.norm(features, axis=1) * np.linalg.norm(query)
    cosines = features @ query / np.maximum(lengths, np.finfo(np.float32).tiny)
    return 1 - cosines
