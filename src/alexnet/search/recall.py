"""How many of the nearest images a search by codes finds, how fast, and the shortlist it needs.

    recall@k = the share of the k nearest images, by exact search, among the first k that are found

Re-ranking puts its candidates in the exact order, so recall@k after re-ranking is the share of the
k nearest images that are in the shortlist at all: the shortlist is chosen by the ranks that the
nearest images have in the order of Hamming distances. The queries are images of the index that the
encoder was not trained on, and that a search leaves out of its own results. Half of them choose the
shortlist; the other half, by which nothing was chosen, measure the recall.

`code_training` measures when it has made codes, and `alexnet codes --measure` later.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from alexnet.search.codes import BinaryCodes
from alexnet.search.index import FeatureIndex
from alexnet.validate import Range

TARGET = 0.98
"""The recall@10 that a shortlist is chosen for."""
K = 10
"""The k of the recall that a shortlist is chosen for."""
MEASURED = 1, 10, 100
"""Every k that recall is measured at."""
MOST_QUERIES = 500
LONGEST_SHORTLIST = 20_000
"""The longest shortlist that is chosen, whatever the recall: re-ranking it takes seconds."""
TIMED, TIMED_SECONDS = 20, 5.0
"""Queries that are timed by themselves, at most, and seconds after which no other one is begun."""
Amount = Annotated[float, Range(0)]
Method = Literal["exact", "codes", "reranked"]
Search = Callable[[BinaryCodes, NDArray[np.float32], int], NDArray[np.int64]]
"""(codes, features (Q, D) of queries, k) → indices (Q, k)."""


@dataclass(frozen=True)
class MethodScores:
    """How well and how fast one method of search finds the nearest images."""

    method: Method
    bytes_per_image: Annotated[int, Range(1)]
    """Of what is read of every image in a search."""
    recall: dict[str, Annotated[float, Range(0, 1)]]
    """For each k, as text: the share of the k nearest images that are among the first k found."""
    queries_per_second: Amount
    """In a batch of queries."""
    milliseconds: Amount
    """Of one query by itself: median."""


def draw_queries(images: int, seed: int) -> NDArray[np.int64]:
    """Draw the indices of the images that are queries: a tenth of all, at most MOST_QUERIES.

    The encoder is not trained on them.
    """
    count = min(images // 10, MOST_QUERIES)
    return np.random.default_rng([seed, 1]).permutation(images)[:count]


def choose_shortlist(codes: BinaryCodes, queries: NDArray[np.int64], target: float = TARGET) -> int:
    """Return the length, in tens, of the shortest shortlist with a recall@10 of at least `target`.

    `queries`: indices of images. The longest is LONGEST_SHORTLIST, or the whole index.
    """
    k = min(K, len(codes) - 1)
    longest = min(LONGEST_SHORTLIST, len(codes) - 1)
    nearest = exclude_queries(find_exactly, codes, queries, k)
    candidates = exclude_queries(find_by_codes, codes, queries, longest)
    needed = int(np.quantile(rank(nearest, candidates), target, method="inverted_cdf")) + 1
    return max(1, min(longest, 10 * math.ceil(needed / 10)))


def rank(wanted: NDArray[np.int64], found: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the position, from 0, of each of `wanted` (Q, k) in its row of `found` (Q, n).

    The position of those that are not there is n.
    """
    positions = np.full(wanted.shape, found.shape[1])
    for row, (items, line) in enumerate(zip(wanted, found, strict=True)):
        order = np.argsort(line)
        places = np.searchsorted(line, items, sorter=order).clip(max=len(line) - 1)
        hits = line[order[places]] == items
        positions[row][hits] = order[places[hits]]
    return positions


def measure_methods(codes: BinaryCodes, queries: NDArray[np.int64]) -> tuple[MethodScores, ...]:
    """Measure exact search, codes alone and codes with re-ranking on the images `queries`."""
    widest = min(max(MEASURED), len(codes) - 1)
    nearest = exclude_queries(find_exactly, codes, queries, widest)
    features = codes.index.gather(queries)
    scores = []
    for method, search in METHODS.items():
        found = exclude_queries(search, codes, queries, widest)
        recall = compute_recall(nearest, found)
        scores.append(
            MethodScores(
                method,
                _count_bytes(codes, method),
                recall,
                1 / time_search(search, codes, features),
                1e3 * time_single_searches(search, codes, features),
            )
        )
    return tuple(scores)


def compute_recall(nearest: NDArray[np.int64], found: NDArray[np.int64]) -> dict[str, float]:
    """Return recall@k for each k of MEASURED that is not larger than the n of both (Q, n)."""
    positions = rank(nearest, found)
    return {str(k): float((positions[:, :k] < k).mean()) for k in MEASURED if k <= nearest.shape[1]}


def exclude_queries(
    search: Search, codes: BinaryCodes, queries: NDArray[np.int64], k: int
) -> NDArray[np.int64]:
    """Search for images of the index; return the first k found other than the query itself: (Q, k).

    k is less than the number of images. One more is searched for, and the query is removed. If it
    was not found, because others are as near, the last one is.
    """
    found = search(codes, codes.index.gather(queries), k + 1)
    is_query = found == queries[:, None]
    is_query[~is_query.any(1), -1] = True
    return found[~is_query].reshape(len(queries), k)


# The three methods: (codes, features (Q, D), k) → indices (Q, k).


def find_exactly(codes: BinaryCodes, features: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Search the features of all images."""
    return search_exactly(codes.index, features, k)


def find_by_codes(codes: BinaryCodes, features: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Search by Hamming distance alone."""
    return codes.find_candidates(features, k)[0]


def find_reranked(codes: BinaryCodes, features: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Search by Hamming distance, then order the shortlist by the features."""
    return codes.search(features, k)[0]


METHODS: dict[Method, Search] = {
    "exact": find_exactly,
    "codes": find_by_codes,
    "reranked": find_reranked,
}


def _count_bytes(codes: BinaryCodes, method: Method) -> int:
    if method == "exact":
        return codes.index.dimensions * codes.index.features[0].itemsize
    return codes.bits // 8


def time_search(search: Search, codes: BinaryCodes, features: NDArray[np.float32]) -> float:
    """Return the seconds per query of one search with all queries, features (Q, D)."""
    began = time.perf_counter()
    search(codes, features, min(K, len(codes)))
    return (time.perf_counter() - began) / len(features)


def time_single_searches(
    search: Search, codes: BinaryCodes, features: NDArray[np.float32]
) -> float:
    """Return the seconds of a search with one query: the median over at most TIMED queries.

    Ends early when TIMED_SECONDS have passed.
    """
    times: list[float] = []
    for row in range(min(TIMED, len(features))):
        times.append(time_search(search, codes, features[row : row + 1]))
        if sum(times) > TIMED_SECONDS:
            break
    return statistics.median(times)


def search_exactly(index: FeatureIndex, features: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """TEMPORARY"""
    distances = []
    for shard in index.features:
        for first in range(0, len(shard), 4096):
            x = shard[first : first + 4096].astype(np.float32)
            distances.append((x * x).sum(1) - 2 * features @ x.T)
    return np.argsort(np.concatenate(distances, axis=1), axis=1, kind="stable")[:, :k]
