"""Convolutions of stride 1 as an operator: the public `convolve`, its limits, and autograd.

`alexnet.nets.layers.Convolution` calls `convolve`. Where it is faster, `convolve` runs Winograd's
method, which needs a quarter to a sixth of the multiplications; otherwise it calls `F.conv2d`.
`reference` explains the method; `cpu` runs it. Numba is imported only when a kernel runs, never by
this module itself.

    convolve ─┬─ is_faster ──► winograd  (custom operator) ──► cpu.run_forward
              │                winograd_backward           ──► cpu.run_backward
              └─ otherwise ──► F.conv2d
"""

# mypy: disable-error-code="no-untyped-def"

import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.kernels.runtime.backends import has_kernel
from alexnet.kernels.runtime.layout import VECTOR, allocate_like
from alexnet.kernels.winograd.cook_toom import POINTS
from alexnet.kernels.winograd.reference import Tiling

MIN_TILES = 128
MIN_CHANNELS = 64
"""With fewer tiles or channels, the matrix products save less time than the transforms cost."""

MAX_WORKSPACE_PER_IMAGE = 100e6
"""Bytes. A convolution that needs more is computed by `F.conv2d`, which needs no workspace."""


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, padding: int = 0, groups: int = 1
) -> Tensor:
    """Convolve with stride 1, as `F.conv2d` does: (N, C, H, W) → (N, M, H', W').

    weight: (M, C/groups, r, r). bias: (M,) or None.

    Float32 convolutions on a CPU with 3×3 or 5×5 filters and enough images and channels
    (`is_faster`) are computed by Winograd's method. In that case the result is channels_last, only
    first-order reverse-mode differentiation is supported, and an inf or NaN in x makes all outputs
    of every tile that contains it inf or NaN. All others are computed by `F.conv2d`.
    """
    if bias is not None and is_faster(x, weight, bias, padding, groups):
        return winograd(x, weight, bias, padding, groups)
    return F.conv2d(x, weight, bias, padding=padding, groups=groups)


def is_faster(x: Tensor, weight: Tensor, bias: Tensor, padding: int, groups: int) -> bool:
    """Return whether `winograd` supports this convolution and is faster than `F.conv2d`.

    The limits were measured with `benchmarks/kernels.py`. They depend on shapes only, never on a
    measurement at run time, so that a resumed training computes what an uninterrupted one does.
    """
    if x.device.type != "cpu" or torch.is_autocast_enabled("cpu") or torch.compiler.is_exporting():
        return False
    if not _is_supported(x, weight, bias, groups):
        return False
    tiling = Tiling.of(x, weight.shape[3], padding, groups)
    enough_tiles = len(x) * tiling.rows * tiling.columns >= MIN_TILES
    enough_channels = min(x.shape[1], len(weight)) >= MIN_CHANNELS
    small = tiling.workspace_bytes(x, len(weight)) <= MAX_WORKSPACE_PER_IMAGE
    return enough_tiles and enough_channels and small and has_kernel(x.device, x.dtype)


def _is_supported(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> bool:
    """Return whether `winograd` can compute this convolution."""
    if x.dim() != 4 or weight.dim() != 4 or weight.shape[2] != weight.shape[3]:
        return False
    inputs, outputs = x.shape[1], len(weight)
    whole_vectors = inputs % (groups * VECTOR) == 0 and outputs % (groups * VECTOR) == 0
    consistent = weight.shape[1] * groups == inputs and bias.shape == (outputs,)
    float32 = {x.dtype, weight.dtype, bias.dtype} == {torch.float32}
    return whole_vectors and consistent and float32 and weight.shape[3] in POINTS


@torch.library.custom_op("alexnet::winograd", mutates_args=(), device_types="cpu")
def winograd(x: Tensor, weight: Tensor, bias: Tensor, padding: int, groups: int) -> Tensor:
    """Convolve by Winograd's method: (N, C, H, W), (M, C/groups, r, r), (M,) → (N, M, H', W').

    Raises ValueError unless all are float32, the filters are 3×3 or 5×5, and the channels per group
    are a multiple of VECTOR.
    """
    from alexnet.kernels.winograd import cpu

    if not _is_supported(x, weight, bias, groups):
        shapes = ", ".join(f"{t.dtype} {tuple(t.shape)}" for t in (x, weight, bias))
        raise ValueError(
            f"winograd does not support {shapes} with groups={groups}: it needs float32, 3×3 or "
            f"5×5 filters, and channels per group that are a multiple of {VECTOR}. Call "
            "`convolve`, which falls back to F.conv2d"
        )
    tiling = Tiling.of(x, weight.shape[3], padding, groups)
    out = _allocate_outputs(x, weight, tiling)
    cpu.run_forward(x, weight, bias, out, tiling)
    return out


@torch.library.custom_op("alexnet::winograd_backward", mutates_args=(), device_types="cpu")
def winograd_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    padding: int,
    groups: int,
    to_x: bool,
    to_weight: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x (N, C, H, W), weight (M, C/groups, r, r) and bias (M,).

    The first is empty if `to_x` is false, the other two if `to_weight` is false.
    """
    from alexnet.kernels.winograd import cpu

    tiling = Tiling.of(x, weight.shape[3], padding, groups)
    grad_x = allocate_like(x, *x.shape[2:]) if to_x else None
    others = cpu.run_backward(gradient, x, weight, grad_x, tiling, to_weight)
    grad_weight, grad_bias = others or (weight.new_empty(0), weight.new_empty(0))
    return x.new_empty(0) if grad_x is None else grad_x, grad_weight, grad_bias


def _allocate_outputs(x: Tensor, weight: Tensor, tiling: Tiling) -> Tensor:
    """Return a channels_last tensor (N, M, H', W') that is not initialized."""
    shape = len(x), len(weight), tiling.height, tiling.width
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


@winograd.register_fake
def _(x, weight, bias, padding, groups):
    return _allocate_outputs(x, weight, Tiling.of(x, weight.shape[3], padding, groups))


@winograd_backward.register_fake
def _(gradient, x, weight, padding, groups, to_x, to_weight):
    grad_x = allocate_like(x, *x.shape[2:]) if to_x else x.new_empty(0)
    grad_weight = torch.empty_like(weight) if to_weight else weight.new_empty(0)
    return grad_x, grad_weight, weight.new_empty(len(weight) if to_weight else 0)


def _setup_context(ctx, inputs, output):
    x, weight, _, ctx.padding, ctx.groups = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx, gradient):
    x, weight = ctx.saved_tensors
    needs_x, needs_weight, needs_bias, _, _ = ctx.needs_input_grad
    with torch.autocast("cpu", enabled=False):  # as the forward pass
        gradients = winograd_backward(
            gradient, x, weight, ctx.padding, ctx.groups, needs_x, needs_weight or needs_bias
        )
    needed = zip(gradients, (needs_x, needs_weight, needs_bias), strict=True)
    return *(g if is_needed else None for g, is_needed in needed), None, None


winograd.register_autograd(_backward, setup_context=_setup_context)
