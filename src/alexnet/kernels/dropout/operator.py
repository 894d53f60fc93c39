"""Which units dropout keeps, drawn by a counter-based generator: Philox4x32-10.

Philox (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011) turns a counter of four
32-bit words into four random ones, under a key of 64 bits. There is no state: each unit's word
follows from the key and from where the unit is, so that every device, every precision and every
way to split a batch draws the same.

    counter = (unit // 4, layer, row, row >> 32)
    word of the unit = philox(counter, key)[unit % 4]
"""

# mypy: disable-error-code="no-untyped-def"

import math

import torch
from torch import Tensor

from alexnet.kernels.runtime.backends import has_kernel

ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85
"""What is added to the two words of the key after each round."""

WORD = 0xFFFFFFFF


def keep_mask(draw: Tensor, rows: int, units: int, *, layer: int, p: float) -> Tensor:
    """Which units are kept, each with probability 1 − p: rows units bool.

    draw: 2 int64, the key and where the first row stands in the whole batch; the mask is on its
    device. The number of the layer tells apart the masks of one step. A unit is kept if its word is
    at least p·2³², compared as integers.
    """
    if has_kernel(draw.device, torch.float32):
        return kept_units(draw, rows, units, layer, least_kept(p))
    return keep_mask_formula(draw, rows, units, layer, least_kept(p))


def least_kept(p: float) -> int:
    """The smallest 32-bit word that keeps a unit; 2³², which no word reaches, where p is 1."""
    return math.ceil(p * 2**32)


def keep_mask_formula(draw: Tensor, rows: int, units: int, layer: int, least: int) -> Tensor:
    """What `keep_mask` computes, in plain PyTorch: rows units bool."""
    key, first_row = draw.unbind()
    row = first_row + torch.arange(rows, device=draw.device)[:, None]
    group = torch.arange(-(-units // 4), device=draw.device)[None, :]
    zero = torch.zeros_like(row + group)
    words = philox((zero + group, zero + layer, zero + (row & WORD), zero + (row >> 32)), key)
    return (torch.stack(words, 2) >= least).flatten(1)[:, :units]


def philox(counter: tuple[Tensor, ...], key: Tensor) -> tuple[Tensor, ...]:
    """Four random words of each counter: int64 tensors of 32-bit words, an int64 key of 64 bits.

    Products of two words can reach 2⁶⁴. int64 wraps around there, which leaves every bit right.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key & WORD, (key >> 32) & WORD
    for _ in range(ROUNDS):
        first, second = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1 = ((second >> 32) & WORD) ^ c1 ^ k0, second & WORD
        c2, c3 = ((first >> 32) & WORD) ^ c3 ^ k1, first & WORD
        k0, k1 = (k0 + WEYL[0]) & WORD, (k1 + WEYL[1]) & WORD
    return c0, c1, c2, c3


@torch.library.custom_op("alexnet::kept_units", mutates_args=(), device_types="cpu")
def kept_units(draw: Tensor, rows: int, units: int, layer: int, least: int) -> Tensor:
    """The mask: rows units bool, from the key and the first row in `draw`."""
    from alexnet.kernels.dropout import cpu as cpu_dropout
    from alexnet.kernels.runtime import cpu_threads

    out = draw.new_empty(rows, units, dtype=torch.bool)
    arrays = draw.numpy(), out.numpy()
    cpu_threads.run_on_batch(cpu_dropout.kept_units, rows, *arrays, layer, least)
    return out


@kept_units.register_kernel("cuda")
def _(draw: Tensor, rows: int, units: int, layer: int, least: int) -> Tensor:
    from alexnet.kernels.dropout import cuda as cuda_dropout

    out = draw.new_empty(rows, units, dtype=torch.bool)
    cuda_dropout.kept_units(draw, out, layer, least)
    return out


@kept_units.register_fake
def _(draw, rows, units, layer, least):
    return draw.new_empty(rows, units, dtype=torch.bool)
