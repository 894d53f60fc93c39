"""Exact search: the rows that truly are nearest, by a matrix product and direct differences.

For a batch of queries, the features are read once, in blocks:

    block of rows ─ matrix product ─▶ scores ± bound ─▶ shortlist ─ direct differences ─▶ nearest
    (B, D)          with (Q, D)ᵀ       float32 (Q, B)    few rows    float64               k of each

The scores are the distances up to rounding, and `bounds` says how far they can be off. Every row
thus has a lower and an upper limit for its distance. The kth smallest upper limit seen so far is a
`threshold`: k rows are no farther away than it. A row whose lower limit is above the threshold is
therefore not among the k nearest; all others, also those of which nothing is known, stay on the
shortlist. Since the shortlist contains the true neighbors, ordering it by distances from direct
differences in float64 (`distances`) gives them, near duplicates included. This is what `faiss`
leaves out: its `IndexFlatL2` returns the rounded scores.

Memory: one block of features in float32, its scores, and at most `MOST_PENDING` entries of the
shortlists; more are measured at once. Runs on the CPU with torch's threads. Knows nothing of
networks and images.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.search.bounds import BoundedQueries, BoundedRows, bound_queries, bound_rows
from alexnet.search.distances import Metric, Neighbors, measure_distances, select_nearest
from alexnet.search.index import gather_rows

BLOCK_NUMBERS = 1 << 23
"""Features in a block: 32 MiB in float32."""
MOST_ROWS = 1 << 14
"""Rows in a block, at most, because there is a score for every row and query."""
QUERIES_PER_PASS = 256
"""Queries that are answered in one pass over the features. More would make the scores of a block
larger than the block, and the pass is limited by arithmetic already."""
MOST_PENDING = 1 << 20
"""Entries of all shortlists that are kept before their distances are measured."""
MEASURED_ROWS = 1 << 11
"""Rows that are gathered at a time to be measured."""


class ExactSearch:
    """Searches the rows of some arrays for those that are nearest to queries.

    The norms of the rows are computed when they are first read, and kept. Several threads may
    search at once.

    >>> index = alexnet.open_index("photos.index")
    >>> nearest = alexnet.ExactSearch(index.features).search(index.features[0][:2], k=3)
    >>> nearest.indices[:, 0].tolist(), nearest.distances.shape  # each query is itself the nearest
    ([0, 1], (2, 3))
    """

    def __init__(self, features: Sequence[NDArray[Any]], metric: Metric = "euclidean") -> None:
        """`features`: arrays (n, D), float16 or float32, together N rows; may be memory maps.

        Raises ValueError if there are no rows, or rows of different lengths or types.
        """
        self.metric = metric
        self.features = list(features)
        shapes = {array.shape[1:] for array in self.features}
        kinds = {array.dtype.name for array in self.features}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1 or not kinds <= {"float16", "float32"}:
            raise ValueError(
                f"features have rows of the shapes {sorted(shapes)} and types {sorted(kinds)}, but "
                "must be arrays (n, D) of the same D, float16 or float32"
            )
        self.dimensions: int = shapes.pop()[0]
        self._tensors = [view_as_tensor(array) for array in self.features]
        self._starts = np.cumsum([0, *map(len, self.features)], dtype=np.int64)
        if not len(self):
            raise ValueError("there are no features to search in")
        self._norms = torch.full((len(self),), torch.nan, dtype=torch.float64)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def search(self, queries: NDArray[Any], k: int = 6, within: range | None = None) -> Neighbors:
        """Find the k nearest rows of each query.

        Args:
            queries: (Q, D), finite; computed with as float32.
            k: the number of neighbors; fewer are returned if there are fewer rows.
            within: search only the rows of these indices, which must be consecutive.

        Raises ValueError for queries of another shape or that are not finite, for k below 1 and
        for a range outside the rows.
        """
        within = range(len(self)) if within is None else within
        queries = np.ascontiguousarray(queries, np.float32)
        self._check(queries, k, within)
        k = min(k, len(within))
        with torch.inference_mode(), _compute_in_float32():
            parts = [
                self._search_in_one_pass(queries[begin : begin + QUERIES_PER_PASS], k, within)
                for begin in range(0, len(queries), QUERIES_PER_PASS)
            ]
        if not parts:
            return Neighbors(np.empty((0, k), np.int64), np.empty((0, k)))
        return Neighbors(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def _check(self, queries: NDArray[np.float32], k: int, within: range) -> None:
        if queries.ndim != 2 or queries.shape[1] != self.dimensions:
            raise ValueError(
                f"queries have the shape {queries.shape}, but must be (Q, {self.dimensions}) like "
                "the features"
            )
        if not np.isfinite(queries).all():
            raise ValueError("a query holds NaN or infinite values, which have no distance")
        if k < 1:
            raise ValueError(f"k is {k}, but must be at least 1")
        if within.step != 1 or not 0 <= within.start < within.stop <= len(self):
            raise ValueError(f"{within} is no range of consecutive indices below {len(self)}")

    def _search_in_one_pass(self, queries: NDArray[np.float32], k: int, within: range) -> Neighbors:
        bounded = bound_queries(torch.from_numpy(queries), self.metric)
        shortlists = _Shortlists(len(queries), k)
        nearest = Neighbors(
            np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.inf)
        )
        for begin, block, norms in self._iterate_blocks(within):
            shortlists.add(begin, block, bounded, bound_rows(norms, self.dimensions, self.metric))
            if shortlists.pending > MOST_PENDING:
                self._measure(shortlists, queries, nearest)
        self._measure(shortlists, queries, nearest)
        return nearest

    def _iterate_blocks(self, within: range) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield blocks of rows: the index of the first, float32 (B, D), and norms, float64 (B,)."""
        size = min(MOST_ROWS, max(1, BLOCK_NUMBERS // self.dimensions))
        buffer = torch.empty(size, self.dimensions)
        for start, shard in zip(self._starts.tolist(), self._tensors, strict=False):
            first, end = max(within.start, start), min(within.stop, start + len(shard))
            for begin in range(first, end, size):
                stop = min(begin + size, end)
                block = shard[begin - start : stop - start]
                if block.dtype != torch.float32:
                    block = buffer[: len(block)].copy_(block)
                yield begin, block, self._find_norms(begin, block)

    def _find_norms(self, begin: int, block: Tensor) -> Tensor:
        """Return the norms of the rows from `begin`, computed at the first call: float64 (B,)."""
        norms = self._norms[begin : begin + len(block)]
        if norms.isnan().any():
            norms.copy_(torch.linalg.vector_norm(block, dim=1, dtype=torch.float64))
            if not norms.isfinite().all():
                raise ValueError(
                    "the features hold NaN or infinite values, so that they are damaged: make the "
                    "index again"
                )
        return norms

    def _measure(
        self, shortlists: _Shortlists, queries: NDArray[np.float32], nearest: Neighbors
    ) -> None:
        """Measure the entries of the shortlists, and update the nearest rows of every query."""
        for query, candidates in shortlists.take():
            for begin in range(0, len(candidates), MEASURED_ROWS):
                part = candidates[begin : begin + MEASURED_ROWS]
                rows = gather_rows(self.features, self._starts, part)
                distances = measure_distances(rows, queries[query], self.metric)
                _update_nearest(nearest, query, part, distances)


def _update_nearest(
    nearest: Neighbors, query: int, indices: NDArray[np.int64], distances: NDArray[np.float64]
) -> None:
    """Put measured rows among the nearest of a query, as far as they belong there.

    Entries with the index −1 are not filled yet.
    """
    indices = np.concatenate([nearest.indices[query], indices])
    distances = np.concatenate([nearest.distances[query], distances])
    is_row = indices >= 0
    k = nearest.indices.shape[1]
    best, least = select_nearest(indices[is_row], distances[is_row], k)
    nearest.indices[query, : len(best)] = best
    nearest.distances[query, : len(best)] = least


@dataclass
class _Entries:
    """Entries of shortlists, as three arrays of the same length."""

    queries: Tensor
    """Which query: int64."""
    indices: Tensor
    """Which row: int64."""
    lower: Tensor
    """The lower limit of the score: float64."""

    def select(self, chosen: Tensor) -> _Entries:
        """Return the entries for which `chosen` is true."""
        return _Entries(self.queries[chosen], self.indices[chosen], self.lower[chosen])


class _Shortlists:
    """The rows that can still be among the k nearest, for each of Q queries."""

    def __init__(self, n_queries: int, k: int) -> None:
        self.k, self.pending = k, 0
        """The number of entries that have not been taken."""
        self._least = torch.full((n_queries, k), torch.inf, dtype=torch.float64)
        """For each query the k smallest upper limits so far, ascending."""
        self._parts: list[_Entries] = []

    def add(self, begin: int, block: Tensor, queries: BoundedQueries, rows: BoundedRows) -> None:
        """Add those of a block's rows, from index `begin`, that can be among the k nearest."""
        scores = rows.compute_scores(queries.matrix, block)
        self._lower_thresholds(scores, queries, rows)
        threshold = self._least[:, -1]
        # First with the largest bound of the block, in one comparison per pair; then, for the few
        # pairs that are left, with the bound of each. Comparisons with NaN are false: it stays.
        largest = queries.scale * rows.weight.max() + rows.rest.max()
        limit = torch.nextafter((threshold + largest).float(), torch.tensor(torch.inf))
        which, columns = (~(scores > limit[:, None])).nonzero(as_tuple=True)
        bound = queries.scale[which] * rows.weight[columns] + rows.rest[columns]
        entries = _Entries(which, columns + begin, scores[which, columns].double() - bound)
        self._parts.append(entries.select(~(entries.lower > threshold[which])))
        self.pending += len(self._parts[-1].queries)

    def _lower_thresholds(self, scores: Tensor, queries: BoundedQueries, rows: BoundedRows) -> None:
        """Take the upper limits of the k best scores of a block into account."""
        best = scores.topk(min(self.k, scores.shape[1]), dim=1, largest=False)
        bound = queries.scale[:, None] * rows.weight[best.indices] + rows.rest[best.indices]
        upper = (best.values.double() + bound).nan_to_num(nan=torch.inf, posinf=torch.inf)
        merged = torch.cat([self._least, upper], dim=1)
        self._least = merged.topk(self.k, dim=1, largest=False, sorted=True).values

    def take(self) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield each query with the indices on its shortlist, and empty the shortlists."""
        parts, self._parts, self.pending = self._parts, [], 0
        if not parts:
            return
        entries = _Entries(
            torch.cat([part.queries for part in parts]),
            torch.cat([part.indices for part in parts]),
            torch.cat([part.lower for part in parts]),
        )
        # The thresholds have fallen since the first blocks.
        entries = entries.select(~(entries.lower > self._least[entries.queries, -1]))
        order = entries.queries.argsort(stable=True)
        counts = entries.queries.bincount(minlength=len(self._least)).tolist()
        for query, indices in enumerate(entries.indices[order].split(counts)):
            if len(indices):
                yield query, indices.numpy()


@contextmanager
def _compute_in_float32() -> Iterator[None]:
    """Keep torch from computing matrix products with fewer bits than the bounds are made for."""
    precision = torch.get_float32_matmul_precision()
    if precision != "highest":
        torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast("cpu", enabled=False):
            yield
    finally:
        if precision != "highest":
            torch.set_float32_matmul_precision(precision)


def view_as_tensor(array: NDArray[Any]) -> Tensor:
    """Return a tensor that shares the memory of an array, which may be read-only.

    `torch.from_numpy` warns of read-only arrays, such as memory maps, because writing to the tensor
    would crash. Do not write to it.
    """
    array = np.ascontiguousarray(array)
    address, _ = array.__array_interface__["data"]
    interface = {**array.__array_interface__, "data": (address, False)}
    view: Any = types.SimpleNamespace(__array_interface__=interface, array=array)
    return torch.from_numpy(np.asarray(view))
