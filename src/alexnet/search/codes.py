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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.kernels.hamming.operator import find_nearest_codes
from alexnet.search.autoencoder import Encoder
from alexnet.search.distances import Metric, Neighbors, measure_distances, select_nearest
from alexnet.search.index import FeatureIndex


@dataclass(frozen=True, eq=False)
class BinaryCodes:
    """The binary codes of the N images of an index.

    >>> codes = alexnet.open_codes("photos.index")
    >>> len(codes), codes.bits, codes.codes.shape
    (60, 64, (60, 8))
    >>> queries = codes.index.features[0][:2]  # (2, D)
    >>> codes.search(queries, k=3).indices.shape
    (2, 3)
    """

    index: FeatureIndex
    encoder: Encoder
    """What turns features into codes."""
    codes: NDArray[np.uint8]
    """The codes of all images, a read-only memory map: uint8 (N, bits / 8)."""
    shortlist: int
    """Number of candidates whose features a search compares, unless it is told another."""
    metric: Metric = "euclidean"
    """Distance between features that orders the candidates. The codes are made for euclidean."""

    def __len__(self) -> int:
        return len(self.codes)

    def __repr__(self) -> str:
        """Return the length and number of the codes, and the index, on one line."""
        return (
            f"BinaryCodes({len(self):,} codes of {self.bits} bits, a shortlist of "
            f"{self.shortlist:,}, {self.metric}; {self.index!r})"
        )

    @property
    def bits(self) -> int:
        """Length of a code."""
        return self.encoder.bits

    def find_candidates(
        self, queries: Any, count: int, within: range | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
        """Find the images whose codes differ from those of the queries in the fewest bits.

        queries: features (Q, D), an array or a tensor. `within`: consider only the images of these
        consecutive indices. Returns indices and Hamming distances, both (Q, count) or, of fewer
        images, (Q, N); of equal distances, the lower index comes first. Raises ValueError for
        features of another shape, for a count below 1, and for a range outside the index.
        """
        within = range(len(self)) if within is None else within
        if within.step != 1 or not 0 <= within.start < within.stop <= len(self):
            raise ValueError(f"{within} is no range of consecutive indices below {len(self)}")
        codes = self.codes[within.start : within.stop]
        indices, distances = find_nearest_codes(codes, self.encoder.encode(queries), count)
        return indices + within.start, distances

    def search(
        self,
        queries: Any,
        k: int = 6,
        within: range | None = None,
        *,
        shortlist: int | None = None,
    ) -> Neighbors:
        """Find the k images with the nearest features among the candidates of each query.

        The same call as `ExactSearch.search`.

        Parameters
        ----------
        queries
            Features, float32 (Q, D): a NumPy array or a tensor.
        k
            Number of images to find; fewer are returned if there are fewer.
        within
            Consider only the images of these consecutive indices.
        shortlist
            Number of candidates whose features are compared; at least k. By default the length
            that was chosen by measurement.

        Raises ValueError as `find_candidates` does, and for queries that are not finite.
        """
        queries = np.asarray(queries, np.float32)
        if not np.isfinite(queries).all():
            raise ValueError("a query holds NaN or infinite values, which have no distance")
        count = max(k, self.shortlist if shortlist is None else shortlist)
        candidates, _ = self.find_candidates(queries, count if k > 0 else k, within)
        nearest = [
            self._rerank(query, np.sort(row), k)  # sorted, to read the features in order
            for query, row in zip(queries, candidates, strict=True)
        ]
        shape = len(queries), min(k, candidates.shape[1])
        return Neighbors(
            np.array([indices for indices, _ in nearest], np.int64).reshape(shape),
            np.array([distances for _, distances in nearest], np.float64).reshape(shape),
        )

    def _rerank(
        self, query: NDArray[np.float32], candidates: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return indices and distances of the k candidates that are nearest to a query (D,)."""
        features = self.index.gather(candidates)
        if self.metric == "euclidean":
            near = select_possible(features, query, k)
            candidates, features = candidates[near], features[near]
        return select_nearest(candidates, measure_distances(features, query, self.metric), k)


def select_possible(
    features: NDArray[np.float32], query: NDArray[np.float32], k: int
) -> NDArray[np.bool_]:
    """Mark the rows of features (M, D) that can be among the k nearest to a query (D,): (M,).

    Their distances are then measured in float64, which takes longer than this. A sum of D squares
    in float32 has a relative error below (D + 2) · 2⁻²³, twice what the rounding of each square and
    of the sum can come to; four times that lies between the kth sum and those that are left out.
    """
    with np.errstate(over="ignore"):  # infinite sums are possible if the kth one is infinite
        differences = features - query
        squares = np.einsum("md,md->m", differences, differences)
    if k >= len(squares):
        return np.ones(len(squares), bool)
    margin = 1 + 4 * (features.shape[1] + 2) * 2.0**-23
    smallest = 2.0**-100 * features.shape[1]  # squares that underflow are off by less
    return squares <= np.float64(np.partition(squares, k - 1)[k - 1]) * margin + smallest
