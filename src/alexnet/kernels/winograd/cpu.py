"""Winograd's method on the CPU: the stages of `reference`, run on slices of the batch.

`operator` calls `run_forward` and `run_backward`. The filter transform and the products are
PyTorch's matrix products; the input and output transforms and their adjoints are the Numba kernels
of `cpu_tiles`. A slice of the batch goes through all stages before the next one begins, so that its
planes stay in the cache:

    x[slice] ─ input transform ─► inputs ─ bmm with U ─► products ─ output transform ─► out[slice]
                                 └──── workspace, written anew by every slice ────┘

It must not import `operator`.
"""

import math
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from alexnet.kernels.runtime.cpu_threads import run_on_batch
from alexnet.kernels.runtime.layout import as_array, to_channels_last
from alexnet.kernels.winograd import cpu_tiles
from alexnet.kernels.winograd.cook_toom import POINTS, build_matrices, tile_side
from alexnet.kernels.winograd.reference import Tiling

WORKSPACE_PER_THREAD = 18e6
"""Bytes per thread: the batch is processed in slices whose planes take no more than this, so that
they stay in the shared L3 cache. The fastest value on two cores of a Xeon with 2 MB of L2 each."""


def run_forward(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, tiling: Tiling) -> None:
    """Write the convolution to `out` (N, M, H', W'), channels_last. `operator` has the limits."""
    x = to_channels_last(x)
    filters = transform_filters(weight, tiling).transpose(1, 2)  # (t²·G, C/G, M/G)
    images, outputs, biases = as_array(x), as_array(out), bias.detach().numpy()
    for batch in _slice_batch(x, out, tiling):
        n, part, inputs, products = batch
        run_on_batch(cpu_tiles.transform_input, n, images[part], inputs.numpy(), tiling)
        torch.bmm(inputs.flatten(0, 1), filters, out=products.flatten(0, 1))
        run_on_batch(cpu_tiles.transform_output, n, products.numpy(), outputs[part], tiling, biases)


def run_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    grad_x: Tensor | None,
    tiling: Tiling,
    needs_weight: bool,
) -> tuple[Tensor, Tensor] | None:
    """Write the gradient of x to `grad_x`, unless it is None.

    Returns the gradients of the weights, with the strides of `weight`, and of the biases, if
    `needs_weight`.
    """
    x, gradient = to_channels_last(x), to_channels_last(gradient)
    filters = transform_filters(weight, tiling)  # (t²·G, M/G, C/G)
    grad_filters, grad_bias = torch.zeros_like(filters), torch.zeros_like(gradient[0, :, 0, 0])
    images, gradients = as_array(x), as_array(gradient)
    for batch in _slice_batch(x, gradient, tiling):
        n, part, inputs, products = batch
        flat_inputs, flat_products = inputs.flatten(0, 1), products.flatten(0, 1)
        run_on_batch(
            cpu_tiles.transform_output_adjoint, n, gradients[part], products.numpy(), tiling
        )
        if needs_weight:
            run_on_batch(cpu_tiles.transform_input, n, images[part], inputs.numpy(), tiling)
            grad_filters.baddbmm_(flat_products.transpose(1, 2), flat_inputs)
            grad_bias += products[_sum_plane(tiling.kernel)].sum(1).flatten()
        if grad_x is not None:
            torch.bmm(flat_products, filters, out=flat_inputs)
            target = as_array(grad_x)[part]
            run_on_batch(cpu_tiles.transform_input_adjoint, n, inputs.numpy(), target, tiling)
    if not needs_weight:
        return None
    return transform_filters_adjoint(grad_filters, weight, tiling), grad_bias


class BatchSlice(NamedTuple):
    """A slice of the batch, and the part of the workspace that holds its planes."""

    n_images: int
    """Images in the slice."""
    images: slice
    """Where they are in the batch."""
    inputs: Tensor
    """(t², G, T, C/G), for the transformed input tiles V, or their gradients."""
    products: Tensor
    """(t², G, T, M/G), for the products P, or their gradients."""


def _slice_batch(x: Tensor, out: Tensor, tiling: Tiling) -> Iterator[BatchSlice]:
    """Yield slices of equal size, as few as WORKSPACE_PER_THREAD allows; they share a workspace."""
    workspace_bytes = len(x) * tiling.workspace_bytes(x, out.shape[1])
    slices = max(1, math.ceil(workspace_bytes / (WORKSPACE_PER_THREAD * torch.get_num_threads())))
    step = math.ceil(len(x) / slices)
    positions, tiles = tile_side(tiling.kernel) ** 2, tiling.rows * tiling.columns
    workspace = [x.new_empty(step * positions * tiles * maps.shape[1]) for maps in (x, out)]
    for first in range(0, len(x), step):
        count = min(step, len(x) - first)
        shape = positions, tiling.groups, count * tiles
        inputs, products = (
            memory[: memory.numel() // step * count].view(*shape, maps.shape[1] // tiling.groups)
            for memory, maps in zip(workspace, (x, out), strict=True)
        )
        yield BatchSlice(count, slice(first, first + count), inputs, products)


def transform_filters(weight: Tensor, tiling: Tiling) -> Tensor:
    """Return U = G g Gᵀ of every filter: (M, C/G, r, r) → (t²·G, M/G, C/G)."""
    outputs, inputs, kernel, _ = weight.shape
    flat = weight.detach().permute(2, 3, 0, 1).reshape(kernel * kernel, outputs * inputs)
    return (_filter_matrix(kernel) @ flat).view(-1, outputs // tiling.groups, inputs)


def transform_filters_adjoint(gradient: Tensor, weight: Tensor, tiling: Tiling) -> Tensor:
    """Return Gᵀ U G, the gradient of the filters: (t²·G, M/G, C/G) → (M, C/G, r, r).

    It gets the strides of `weight`; otherwise the optimizer would have to convert it in every step.
    """
    outputs, inputs, kernel, _ = weight.shape
    flat = _filter_matrix(kernel).t() @ gradient.view(-1, outputs * inputs)
    filters = flat.view(kernel, kernel, outputs, inputs).permute(2, 3, 0, 1)
    return torch.empty_like(weight).copy_(filters)


@cache
def _filter_matrix(kernel: int) -> Tensor:
    """Return G ⊗ G (t² × r²), float32: g ↦ G g Gᵀ as one matrix, for filters as columns."""
    G = build_matrices(kernel)[1]
    return torch.from_numpy(np.kron(G, G)).float()


def _sum_plane(kernel: int) -> int:
    """Return the index of the plane that holds, for each tile, the sum of its output gradients.

    It is the plane of interpolation point 1 in rows and columns, whose row of A is all ones.
    """
    one = POINTS[kernel].index(1)
    return one * tile_side(kernel) + one
