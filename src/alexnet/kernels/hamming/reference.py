"""Search by Hamming distance in plain NumPy: what the kernels must compute.

Also used in earnest where Numba cannot be imported. Called by `operator`; imports neither it nor a
kernel.
"""

import numpy as np
from numpy.typing import NDArray


def measure_distances(codes: NDArray[np.uint64], query: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """Count the bits in which each code (N, words) differs from the query (words,). → (N,)."""
    distances = np.zeros(len(codes), np.uint16)
    for word in range(codes.shape[1]):
        distances += np.bitwise_count(codes[:, word] ^ query[word])
    return distances


def find_nearest_codes_reference(
    codes: NDArray[np.uint64], queries: NDArray[np.uint64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
    """Sort all codes by their distance to each query; those at the same distance keep their order.

    codes (N, words), queries (Q, words) → indices and distances of the first k: both (Q, k).
    """
    indices = np.empty((len(queries), k), np.int64)
    nearest = np.empty((len(queries), k), np.uint16)
    for row, query in enumerate(queries):
        distances = measure_distances(codes, query)
        indices[row] = np.argsort(distances, kind="stable")[:k]
        nearest[row] = distances[indices[row]]
    return indices, nearest
