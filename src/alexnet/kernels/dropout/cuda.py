"""The masks of dropout on CUDA: Triton's own Philox4x32-10, counted as `dropout` describes it.

Writes a byte a unit and reads the key and the first row from the device, so that a recorded graph
draws anew whenever they are written.
"""

# mypy: disable-error-code="no-untyped-def"

import triton
import triton.language as tl

from alexnet.kernels.runtime.triton_launch import launch

GROUPS = 512
"""Counters of a program, of four units each."""


def kept_units(draw, out, layer, least):
    """Write the mask `out`, N D bool. draw: 2 int64, the key and the number of row 0."""
    rows, units = out.shape
    grid = rows, triton.cdiv(units, 4 * GROUPS)
    launch(_kept_units, grid, out, draw, out, units, layer, least, GROUPS)


@triton.jit
def _kept_units(draw, mask, units, LAYER: tl.constexpr, LEAST: tl.constexpr, GROUPS: tl.constexpr):
    key, row = tl.load(draw), tl.load(draw + 1) + tl.program_id(0)
    group = tl.program_id(1) * GROUPS + tl.arange(0, GROUPS)
    layer, zero = tl.full((GROUPS,), LAYER, tl.uint32), tl.zeros((GROUPS,), tl.uint32)
    low, high = zero + (row & 0xFFFFFFFF).to(tl.uint32), zero + (row >> 32).to(tl.uint32)
    a, b, c, d = tl.philox(key, group.to(tl.uint32), layer, low, high)
    words = tl.interleave(tl.interleave(a, c), tl.interleave(b, d))  # a b c d of each group
    unit = tl.program_id(1) * (4 * GROUPS) + tl.arange(0, 4 * GROUPS)
    target = mask + tl.program_id(0).to(tl.int64) * units + unit
    tl.store(target, words.to(tl.int64) >= LEAST, unit < units)
