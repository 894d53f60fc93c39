"""Which units dropout keeps, in plain PyTorch: the reference for the kernels on CPU and CUDA.

The random numbers come from Philox4x32-10, a counter-based generator (Salmon, Moraes, Dror and
Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011). It maps a counter of four 32-bit
words and a 64-bit key to four random 32-bit words and keeps no state. The counter is the position
of a unit, so the mask does not depend on the device, the precision or how a batch is split.

    counter = (unit // 4, layer, row mod 2³², row // 2³²)
    random word of the unit = philox(counter, key)[unit % 4]

    unit        0    1    2    3    4    5    6    7    8
             ┌────────────────────┬────────────────────┬────
    row 0    │  philox(0, layer,  │  philox(1, layer,  │        one call per four units
             │        0, 0)       │        0, 0)       │
             ├────────────────────┼────────────────────┼────
    row 1    │  philox(0, layer,  │  philox(1, layer,  │
             │        1, 0)       │        1, 0)       │

The operator and the CPU kernel import this module; it imports torch and nothing of this package.
"""

import math

import torch
from torch import Tensor

ROUNDS = 10
"""Rounds of the generator: the "10" in Philox4x32-10."""

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
"""The constants by which each round multiplies words 0 and 2 of the counter."""

KEY_INCREMENTS = 0x9E3779B9, 0xBB67AE85
"""The constants that are added to the two words of the key after each round (a Weyl sequence)."""

WORD_MASK = 0xFFFFFFFF
"""The lower 32 bits."""


def compute_keep_threshold(p: float) -> int:
    """Return the smallest 32-bit word that keeps a unit: ⌈p · 2³²⌉.

    For p = 1 it is 2³², which no word reaches: every unit is dropped.
    """
    return math.ceil(p * 2**32)


def keep_mask_reference(
    key_and_row: Tensor, rows: int, units: int, layer: int, threshold: int
) -> Tensor:
    """Return the mask that `operator.keep_mask` describes, as a bool tensor (rows, units).

    A unit is kept if its random word is at least `threshold`.
    """
    key, first_row = key_and_row.unbind()
    row = first_row + torch.arange(rows, device=key_and_row.device)[:, None]
    group = torch.arange(-(-units // 4), device=key_and_row.device)[None, :]
    zero = torch.zeros_like(row + group)  # (rows, groups), to which the words are broadcast
    counter = zero + group, zero + layer, zero + (row & WORD_MASK), zero + (row >> 32)
    words = philox(counter, key)
    return (torch.stack(words, 2) >= threshold).flatten(1)[:, :units]


def philox(counter: tuple[Tensor, ...], key: Tensor) -> tuple[Tensor, ...]:
    """Return the four random words of each counter.

    counter: four int64 tensors of one shape that hold 32-bit words. key: a scalar int64 tensor, of
    which all 64 bits are used. Returns four int64 tensors of the same shape that hold 32-bit words.

    PyTorch has no unsigned 64-bit product. The product of two words can exceed 2⁶³; int64 wraps
    around then, which leaves all 64 bits right, and masking after the shift removes the sign.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key & WORD_MASK, (key >> 32) & WORD_MASK
    for _ in range(ROUNDS):
        first, second = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1 = ((second >> 32) & WORD_MASK) ^ c1 ^ k0, second & WORD_MASK
        c2, c3 = ((first >> 32) & WORD_MASK) ^ c3 ^ k1, first & WORD_MASK
        k0 = (k0 + KEY_INCREMENTS[0]) & WORD_MASK
        k1 = (k1 + KEY_INCREMENTS[1]) & WORD_MASK
    return c0, c1, c2, c3
