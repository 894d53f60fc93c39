"""Dropout's masks as an operator: the interface to the layers, and the choice of backend.

`alexnet.nets.layers.Dropout` calls `keep_mask`. The algorithm is explained in `reference`. Numba
and Triton are imported only when a kernel runs, never by importing this module.
"""

# mypy: disable-error-code="no-untyped-def"

import torch
from torch import Tensor

from alexnet.kernels.dropout.reference import compute_keep_threshold, keep_mask_reference
from alexnet.kernels.runtime.backends import has_kernel


def keep_mask(key_and_row: Tensor, rows: int, units: int, *, layer: int, p: float) -> Tensor:
    """Return which units are kept, each with probability 1 − p: a bool tensor (rows, units).

    key_and_row: int64, shape (2,): the 64-bit key and the index of the first row in the whole
        batch. The mask is on the same device. The values are read on the device, so that a
        captured CUDA graph draws a new mask when they have been overwritten.
    layer: the number of the layer, which makes the masks of the layers in one step independent.
    p: the probability of dropping a unit. A unit is kept if its random 32-bit word is at least
        p · 2³²; both are compared as integers, so the precision of the network does not matter.
    """
    threshold = compute_keep_threshold(p)
    if has_kernel(key_and_row.device, torch.float32):
        return draw_keep_mask(key_and_row, rows, units, layer, threshold)
    return keep_mask_reference(key_and_row, rows, units, layer, threshold)


@torch.library.custom_op("alexnet::kept_units", mutates_args=(), device_types="cpu")
def draw_keep_mask(
    key_and_row: Tensor, rows: int, units: int, layer: int, threshold: int
) -> Tensor:
    """Compute the mask with a kernel. Arguments and result as in `keep_mask_reference`."""
    from alexnet.kernels.dropout import cpu
    from alexnet.kernels.runtime import cpu_threads

    out = _new_mask(key_and_row, rows, units)
    arrays = key_and_row.numpy(), out.numpy()
    cpu_threads.run_on_batch(cpu.fill_keep_mask, rows, *arrays, layer, threshold)
    return out


@draw_keep_mask.register_kernel("cuda")
def _(key_and_row: Tensor, rows: int, units: int, layer: int, threshold: int) -> Tensor:
    from alexnet.kernels.dropout import cuda

    out = _new_mask(key_and_row, rows, units)
    cuda.fill_keep_mask(key_and_row, out, layer, threshold)
    return out


@draw_keep_mask.register_fake
def _(key_and_row, rows, units, layer, threshold):
    return _new_mask(key_and_row, rows, units)


def _new_mask(key_and_row: Tensor, rows: int, units: int) -> Tensor:
    return key_and_row.new_empty(rows, units, dtype=torch.bool)
