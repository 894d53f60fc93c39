"""Search by Hamming distance on the CPU, in two passes.

The first pass measures: XOR leaves a 1 where two codes differ, and one instruction counts the ones
of 64 bits. It is limited by memory, so its slices are codes, and each code that is read meets all
queries of the block:

    code       1 0 1 1 0 0 1 0 …
    query      1 1 1 0 0 0 1 0 …
    XOR        0 1 0 1 0 0 0 0 …      distance 2

The second pass selects. A distance is a whole number from 0 to `bits`, so no comparison sort is
needed: counting how many codes lie at each distance gives the largest distance that is wanted and,
by adding the counts up, the place where each distance begins in the sorted result.

    distance      0  1  2  3  4 …
    codes         0  2  5  9 40 …
    begins at     0  0  2  7          k = 10: distances up to 3, of the last one 3 codes

Codes at the same distance come out in their own order, as a stable sort leaves them. Called by
`operator` through `cpu_threads.run_on_batch`.
"""

# mypy: disable-error-code="no-untyped-def"

import numpy as np

from alexnet.kernels.runtime.cpu_intrinsics import count_ones
from alexnet.kernels.runtime.cpu_threads import compiled


@compiled
def measure_distances(first, stop, codes, queries, distances):
    """Fill distances (Q, N) for the codes `first … stop - 1` of codes (N, words)."""
    words = codes.shape[1]
    for query in range(queries.shape[0]):
        row = distances[query]
        for code in range(first, stop):
            differing = np.uint64(0)
            for word in range(words):
                differing += count_ones(codes[code, word] ^ queries[query, word])
            row[code] = differing


@compiled
def select_nearest(first, stop, distances, bits, indices, nearest):
    """Fill indices and nearest (Q, k) for the queries `first … stop - 1` of distances (Q, N)."""
    wanted = indices.shape[1]
    counts = np.empty(bits + 1, np.int64)
    for query in range(first, stop):
        counts[:] = 0
        row = distances[query]
        for code in range(row.size):
            counts[row[code]] += 1
        places, before = counts, 0
        limit = -1  # the largest distance that is wanted
        for distance in range(bits + 1):
            if before >= wanted:
                break
            limit = distance
            here = counts[distance]
            places[distance] = before
            before += here
        for code in range(row.size):
            distance = row[code]
            if distance <= limit:
                place = places[distance]
                if place < wanted:
                    indices[query, place] = code
                    nearest[query, place] = distance
                    places[distance] = place + 1
