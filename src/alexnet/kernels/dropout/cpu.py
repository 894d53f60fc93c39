"""The masks of dropout on the CPU: Philox4x32-10, as `dropout` describes it, four units at once."""

# mypy: disable-error-code="no-untyped-def"

import numpy as np

from alexnet.kernels.dropout.operator import MULTIPLIERS, ROUNDS, WEYL
from alexnet.kernels.runtime.cpu_threads import compiled, inlined

FIRST, SECOND = (np.uint64(multiplier) for multiplier in MULTIPLIERS)
FIRST_STEP, SECOND_STEP = (np.uint64(step) for step in WEYL)
WORD, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@compiled
def kept_units(first, last, draw, out, layer, least):
    """out: rows first … last of the mask, N D bool. draw: the key and the number of row 0."""
    units, least = out.shape[1], np.uint64(least)
    words = np.empty((4, (units + 3) // 4), np.uint32)
    for i in range(first, last):
        _draw(np.uint64(draw[0]), np.uint64(draw[1] + i), np.uint64(layer), words)
        for unit in range(units):
            out[i, unit] = words[unit % 4, unit // 4] >= least


@inlined
def _draw(key, row, layer, words):
    """The four words of every group of units of a row: 4 D/4."""
    for group in range(words.shape[1]):
        c0, c1, c2, c3 = np.uint64(group), layer, row & WORD, row >> HALF
        k0, k1 = key & WORD, key >> HALF
        for _ in range(ROUNDS):
            one, other = c0 * FIRST, c2 * SECOND
            c0, c1 = (other >> HALF) ^ c1 ^ k0, other & WORD
            c2, c3 = (one >> HALF) ^ c3 ^ k1, one & WORD
            k0, k1 = (k0 + FIRST_STEP) & WORD, (k1 + SECOND_STEP) & WORD
        words[0, group] = np.uint32(c0)
        words[1, group] = np.uint32(c1)
        words[2, group] = np.uint32(c2)
        words[3, group] = np.uint32(c3)
