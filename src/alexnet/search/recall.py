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
from alexnet.search.exact import ExactSearch
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
Search = Callable[[NDArray[np.float32], int], NDArray[np.int64]]
"""(features (Q, D) of queries, k) → indices (Q, k)."""


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
    methods = list_methods(codes)
    longest = min(LONGEST_SHORTLIST, len(codes) - 1)
    nearest = exclude_queries(methods["exact"], codes.index, queries, min(K, longest))
    candidates = exclude_queries(methods["codes"], codes.index, queries, longest)
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


def list_methods(codes: BinaryCodes) -> dict[Method, Search]:
    """Return the three ways to search: all features; codes alone; codes and re-ranking."""
    exact = ExactSearch(codes.index.features)
    return {
        "exact": lambda features, k: exact.search(features, k).indices,
        "codes": lambda features, k: codes.find_candidates(features, k)[0],
        "reranked": lambda features, k: codes.search(features, k).indices,
    }


def measure_methods(codes: BinaryCodes, queries: NDArray[np.int64]) -> tuple[MethodScores, ...]:
    """Measure exact search, codes alone and codes with re-ranking on the images `queries`.

    `queries`: indices of images, which the encoder should not have been trained on.
    """
    index, methods = codes.index, list_methods(codes)
    widest = min(max(MEASURED), len(codes) - 1)
    features = index.gather(queries)
    nearest = exclude_queries(methods["exact"], index, queries, widest)
    return tuple(
        MethodScores(
            method,
            bytes_per_image=_count_bytes(codes, method),
            recall=compute_recall(nearest, exclude_queries(search, index, queries, widest)),
            queries_per_second=1 / time_search(search, features),
            milliseconds=1e3 * time_single_searches(search, features),
        )
        for method, search in methods.items()
    )


def compute_recall(nearest: NDArray[np.int64], found: NDArray[np.int64]) -> dict[str, float]:
    """Return recall@k for each k of MEASURED that is not larger than the n of both (Q, n)."""
    positions = rank(nearest, found)
    return {str(k): float((positions[:, :k] < k).mean()) for k in MEASURED if k <= nearest.shape[1]}


def exclude_queries(
    search: Search, index: FeatureIndex, queries: NDArray[np.int64], k: int
) -> NDArray[np.int64]:
    """Search for images of the index; return the first k found other than the query itself: (Q, k).

    k is less than the number of images. One more is searched for, and the query is removed. If it
    was not found, because others are as near, the last one is.
    """
    found = search(index.gather(queries), k + 1)
    is_query = found == queries[:, None]
    is_query[~is_query.any(1), -1] = True
    return found[~is_query].reshape(len(queries), k)


def time_search(search: Search, features: NDArray[np.float32]) -> float:
    """Return the seconds per query of one search for ten images with all queries (Q, D)."""
    began = time.perf_counter()
    search(features, K)
    return (time.perf_counter() - began) / len(features)


def time_single_searches(search: Search, features: NDArray[np.float32]) -> float:
    """Return the seconds of a search with one query: the median over at most TIMED queries.

    Ends early when TIMED_SECONDS have passed.
    """
    times: list[float] = []
    for row in range(min(TIMED, len(features))):
        times.append(time_search(search, features[row : row + 1]))
        if sum(times) > TIMED_SECONDS:
            break
    return statistics.median(times)


def _count_bytes(codes: BinaryCodes, method: Method) -> int:
    """The bytes that a search reads of every image."""
    if method == "exact":
        return codes.index.dimensions * codes.index.features[0].itemsize
    return codes.bits // 8
