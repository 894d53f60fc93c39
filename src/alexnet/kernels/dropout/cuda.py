"""The masks of dropout on CUDA: a Triton kernel around Triton's own Philox4x32-10.

`operator.draw_keep_mask` launches it. Counters and words are those of `reference`. It writes one
byte per unit; the key and the first row are read on the device, so that a captured CUDA graph draws
a new mask when they have been overwritten.

A program computes GROUPS counters of one row, that is, 4 * GROUPS units:

    program (row, 0)             program (row, 1)
    units 0 … 4 * GROUPS - 1     units 4 * GROUPS … 8 * GROUPS - 1     …
"""

# mypy: disable-error-code="no-untyped-def"

import triton
import triton.language as tl

from alexnet.kernels.runtime.triton_launch import launch

GROUPS = 512
"""Counters of one program, each of which gives the random words of four units."""


def fill_keep_mask(key_and_row, out, layer, threshold):
    """Write the mask `out`, bool (N, units).

    key_and_row: int64 (2,), the key and the index of row 0 of `out` in the whole batch.
    """
    rows, units = out.shape
    grid = rows, triton.cdiv(units, 4 * GROUPS)
    launch(_fill_keep_mask, grid, out, key_and_row, out, units, layer, threshold, GROUPS)


@triton.jit
def _fill_keep_mask(
    key_and_row, mask, units,
    LAYER: tl.constexpr, THRESHOLD: tl.constexpr, GROUPS: tl.constexpr,
):  # fmt: skip
    """Write GROUPS * 4 units of one row. Grid: (rows, ⌈units / (4 GROUPS)⌉)."""
    key, row = tl.load(key_and_row), tl.load(key_and_row + 1) + tl.program_id(0)
    group = tl.program_id(1) * GROUPS + tl.arange(0, GROUPS)
    layer, zero = tl.full((GROUPS,), LAYER, tl.uint32), tl.zeros((GROUPS,), tl.uint32)
    row_low, row_high = zero + (row & 0xFFFFFFFF).to(tl.uint32), zero + (row >> 32).to(tl.uint32)
    w0, w1, w2, w3 = tl.philox(key, group.to(tl.uint32), layer, row_low, row_high)
    words = tl.interleave(tl.interleave(w0, w2), tl.interleave(w1, w3))  # w0 w1 w2 w3 per group
    unit = tl.program_id(1) * (4 * GROUPS) + tl.arange(0, 4 * GROUPS)
    target = mask + tl.program_id(0).to(tl.int64) * units + unit
    tl.store(target, words.to(tl.int64) >= THRESHOLD, unit < units)
