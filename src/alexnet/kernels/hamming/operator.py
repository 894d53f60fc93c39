"""Nearest binary codes by Hamming distance, exact.

A code is a row of bytes, eight bits each. The search of `alexnet.search` calls this operator. Numba
compiles it on a CPU; NumPy computes the same where Numba cannot be imported. `cpu` is imported at
the first call: importing this module must not import Numba.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from alexnet.kernels.hamming.reference import find_nearest_codes_reference
from alexnet.kernels.runtime.backends import has_kernel

WORD_BITS = 64
"""Bits that are compared at once; the length of a code is a multiple of it."""
LEAST_WORDS = 1 << 19
"""Comparisons of words, of all queries together, that are worth a second thread."""
BLOCK_BYTES = 1 << 25
"""Bytes of distances that are held at a time, at least those of one query."""


def find_nearest_codes(
    codes: NDArray[np.uint8], queries: NDArray[np.uint8], k: int
) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
    """Find the k codes with the fewest bits that differ from each query, the nearest first.

    codes: uint8 (N, bits / 8); queries: uint8 (Q, bits / 8). Returns the indices of the codes and
    their distances, both (Q, k), or (Q, N) if there are fewer than k codes. Codes at the same
    distance are in the order of their indices. Raises ValueError for arrays of other types or
    shapes, if bits is no multiple of 64, and if k is not positive.
    """
    _check(codes, queries, k)
    words, query_words = _view_words(codes), _view_words(queries)
    k = min(k, len(codes))
    if k == 0 or not has_kernel(torch.device("cpu"), torch.uint8):
        return find_nearest_codes_reference(words, query_words, k)
    shape = len(queries), k
    indices, nearest = np.empty(shape, np.int64), np.empty(shape, np.uint16)
    block = max(1, BLOCK_BYTES // (2 * len(codes)))
    distances = np.empty((min(block, len(queries)), len(codes)), np.uint16)
    for first in range(0, len(queries), block):
        part = slice(first, first + block)
        _search_block(words, query_words[part], distances, indices[part], nearest[part])
    return indices, nearest


def _search_block(
    codes: Any, queries: Any, distances: Any, indices: NDArray[Any], nearest: NDArray[Any]
) -> None:
    """Fill indices and nearest (Q, k) for a block of queries, with room for its distances."""
    from alexnet.kernels.hamming import cpu
    from alexnet.kernels.runtime.cpu_threads import run_on_batch

    measure = codes, queries, distances[: len(queries)]
    select = distances[: len(queries)], WORD_BITS * codes.shape[1], indices, nearest
    if codes.size * len(queries) < LEAST_WORDS:
        cpu.measure_distances(0, len(codes), *measure)
        cpu.select_nearest(0, len(queries), *select)
    else:
        run_on_batch(cpu.measure_distances, len(codes), *measure)
        run_on_batch(cpu.select_nearest, len(queries), *select)


def _check(codes: NDArray[np.uint8], queries: NDArray[np.uint8], k: int) -> None:
    for name, array in (("codes", codes), ("queries", queries)):
        if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] % (WORD_BITS // 8):
            raise ValueError(
                f"{name} must be uint8 (N, bits / 8) with bits a multiple of {WORD_BITS}, got "
                f"{array.dtype} {array.shape}"
            )
    if codes.shape[1] != queries.shape[1] or not codes.shape[1]:
        raise ValueError(
            f"codes of {8 * codes.shape[1]} bits cannot be compared with queries of "
            f"{8 * queries.shape[1]} bits"
        )
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")


def _view_words(codes: NDArray[np.uint8]) -> Any:
    """View codes (N, bits / 8) as words of 64 bits (N, bits / 64), without a copy if possible."""
    return np.ascontiguousarray(codes).view(np.uint64)
