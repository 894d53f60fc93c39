"""The masks of dropout on the CPU: a Numba kernel of Philox4x32-10, defined in `reference`.

`operator.draw_keep_mask` runs it on slices of the rows. The words of a whole row are computed
first, in a buffer, because that loop is vectorized: its iterations are independent and hold
integers only.

    words[w, g] = word w of the counter of group g = the random word of unit 4 g + w
"""

# mypy: disable-error-code="no-untyped-def"

import numpy as np

from alexnet.kernels.dropout.reference import KEY_INCREMENTS, MULTIPLIERS, ROUNDS, WORD_MASK
from alexnet.kernels.runtime.cpu_threads import compiled, inlined

# Constants as uint64: Numba makes float64 of an int64 combined with a uint64.
MULTIPLIER_0, MULTIPLIER_2 = (np.uint64(multiplier) for multiplier in MULTIPLIERS)
INCREMENT_0, INCREMENT_1 = (np.uint64(increment) for increment in KEY_INCREMENTS)
WORD, HALF = np.uint64(WORD_MASK), np.uint64(32)


@compiled
def fill_keep_mask(first, stop, key_and_row, out, layer, threshold):
    """Write rows first … stop - 1 of the mask `out`, bool (N, units).

    key_and_row: int64, the key and the index of row 0 of `out` in the whole batch.
    """
    units, threshold = out.shape[1], np.uint64(threshold)
    words = np.empty((4, (units + 3) // 4), np.uint32)
    for i in range(first, stop):
        row = np.uint64(key_and_row[1] + i)
        _draw_words(np.uint64(key_and_row[0]), row, np.uint64(layer), words)
        for unit in range(units):
            out[i, unit] = words[unit % 4, unit // 4] >= threshold


@inlined
def _draw_words(key, row, layer, words):
    """Fill `words`, uint32 (4, groups), with the four words of each group of units of a row."""
    for group in range(words.shape[1]):
        c0, c1, c2, c3 = np.uint64(group), layer, row & WORD, row >> HALF
        k0, k1 = key & WORD, key >> HALF
        for _ in range(ROUNDS):
            first, second = c0 * MULTIPLIER_0, c2 * MULTIPLIER_2
            c0, c1 = (second >> HALF) ^ c1 ^ k0, second & WORD
            c2, c3 = (first >> HALF) ^ c3 ^ k1, first & WORD
            k0, k1 = (k0 + INCREMENT_0) & WORD, (k1 + INCREMENT_1) & WORD
        words[0, group] = np.uint32(c0)
        words[1, group] = np.uint32(c1)
        words[2, group] = np.uint32(c2)
        words[3, group] = np.uint32(c3)
