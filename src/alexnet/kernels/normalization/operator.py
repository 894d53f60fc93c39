"""Response normalization across channels (section 3.3), alone or with ReLU and max pooling.

    b = a / (k + alpha * Σ a²)^beta,   Σ over the n channels around each one, of the same tower

Called by the networks. `norm_pool` and `response_norm` check their arguments. If the device has a
kernel, both call the custom operator `relu_norm_max`, which supports autograd and does everything
in one pass over memory; otherwise they call the reference. `cpu` (Numba) and `cuda` (Triton) are
imported at the first call: importing this module must import neither compiler.
"""

# mypy: disable-error-code="no-untyped-def"

from typing import Literal

import torch
from torch import Tensor

from alexnet.kernels.normalization.reference import (
    NormPoolParameters,
    norm_pool_reference,
    response_norm_reference,
)
from alexnet.kernels.runtime.backends import has_kernel
from alexnet.kernels.runtime.layout import (
    allocate_like,
    allocate_pooled,
    as_array,
    as_kernel_input,
    check_window,
    to_channels_last,
)

NormOrder = Literal["relu-norm-pool", "norm-pool-relu"]
RELU = {"relu-norm-pool": "first", "norm-pool-relu": "last"}
"""`NormOrder` → `NormPoolParameters.relu`."""

LONGEST_ON_CUDA = 16
"""Largest n for the CUDA kernel: each thread keeps in registers the windows of its eight channels
and, in the backward pass, the windows of all channels in those windows."""


def norm_pool(
    x: Tensor,
    *,
    n: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 2.0,
    over_n: bool = False,
    towers: int = 1,
    pool: int = 3,
    stride: int = 2,
    order: NormOrder = "relu-norm-pool",
) -> Tensor:
    """ReLU, response normalization and max pooling. (N, C, H, W) → (N, C, H', W'), rounded up.

    The defaults are the paper's. `alpha` multiplies the sum of squares, as in the paper, or, if
    `over_n`, their mean, as in the 2012 code and torch.nn.LocalResponseNorm. A window contains only
    channels of one of the `towers`. The paper's `order` is "relu-norm-pool"; the first layer of the
    2012 code has "norm-pool-relu". On a CPU or CUDA the result is channels_last.

    Raises ValueError if n < 1, if `towers` does not divide the number of channels, if no pooling
    window fits into x, or if `order` is unknown.
    """
    if order not in RELU:
        raise ValueError(f"order must be one of {', '.join(map(repr, RELU))}, got {order!r}")
    check_window(x, pool, stride)
    _check_norm(x, n, towers)
    scale = alpha / n if over_n else alpha
    parameters = NormPoolParameters(n, scale, beta, k, towers, pool, stride, RELU[order])
    if _has_kernel(x, n):
        return relu_norm_max(x, *parameters)[0]
    return norm_pool_reference(x, parameters)


def response_norm(
    x: Tensor,
    *,
    n: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 2.0,
    over_n: bool = False,
    towers: int = 1,
) -> Tensor:
    """Response normalization alone, as in `norm_pool`. (N, C, H, W) → (N, C, H, W).

    A window of even n is one channel longer on the low side. Raises ValueError as `norm_pool` does.
    """
    check_window(x, 1, 1)
    _check_norm(x, n, towers)
    scale = alpha / n if over_n else alpha
    if _has_kernel(x, n):  # pooling windows of one pixel cost little
        return relu_norm_max(x, n, scale, beta, k, towers, 1, 1, "none")[0]
    return response_norm_reference(x, n=n, alpha=scale, beta=beta, k=k, towers=towers)


def _check_norm(x: Tensor, n: int, towers: int) -> None:
    if n < 1:
        raise ValueError(f"n, the number of channels in a window, must be 1 or more, got n={n}")
    if towers < 1 or x.shape[1] % towers:
        raise ValueError(
            f"{x.shape[1]} channels cannot be divided between {towers} towers: "
            "towers must be a divisor of the number of channels"
        )


def _has_kernel(x: Tensor, n: int) -> bool:
    return has_kernel(x.device, x.dtype) and (x.device.type == "cpu" or n <= LONGEST_ON_CUDA)


# The custom operators on a CPU. PyTorch passes parameters one by one; they are those of
# NormPoolParameters, in its order.


@torch.library.custom_op("alexnet::relu_norm_max", mutates_args=(), device_types="cpu")
def relu_norm_max(
    x: Tensor,
    n: int,
    alpha: float,
    beta: float,
    k: float,
    towers: int,
    pool: int,
    stride: int,
    relu: str,
) -> tuple[Tensor, Tensor]:
    """ReLU, normalization, max pooling: the maxima and their argmax indices, (N, C, H', W')."""
    from alexnet.kernels.normalization import cpu as cpu_norm
    from alexnet.kernels.runtime import cpu_threads

    x, dtype = _as_readable(x), x.dtype
    floats = torch.float32 if dtype == torch.bfloat16 else x.dtype
    out, argmax = allocate_pooled(x, pool, stride, floats)
    arrays = as_array(x), as_array(out), as_array(argmax)
    parameters = NormPoolParameters(n, alpha, beta, k, towers, pool, stride, relu)
    typed = cpu_norm.KernelParameters.of(parameters, arrays[1].dtype)
    cpu_threads.run_on_batch(cpu_norm.forward, len(x), *arrays, typed)
    return out.to(dtype), argmax


@torch.library.custom_op("alexnet::relu_norm_max_backward", mutates_args=(), device_types="cpu")
def relu_norm_max_backward(
    gradient: Tensor,
    x: Tensor,
    argmax: Tensor,
    n: int,
    alpha: float,
    beta: float,
    k: float,
    towers: int,
    pool: int,
    stride: int,
    relu: str,
) -> Tensor:
    """The gradient (N, C, H, W) of the input of `relu_norm_max`, from that of the maxima."""
    from alexnet.kernels.normalization import cpu as cpu_norm
    from alexnet.kernels.runtime import cpu_threads

    gradient, x, dtype = as_kernel_input(gradient), _as_readable(x), x.dtype
    out = allocate_like(x, *x.shape[2:])
    arrays = as_array(gradient), as_array(x), as_array(argmax), as_array(out)
    parameters = NormPoolParameters(n, alpha, beta, k, towers, pool, stride, relu)
    typed = cpu_norm.KernelParameters.of(parameters, arrays[0].dtype)
    cpu_threads.run_on_batch(cpu_norm.backward, len(x), *arrays, typed)
    return out.to(dtype)


def _as_readable(x: Tensor) -> Tensor:
    """Return x channels_last, in a dtype that the CPU kernel reads: bf16, float32 or float64."""
    return to_channels_last(x) if x.dtype == torch.bfloat16 else as_kernel_input(x)


# The same on CUDA. These kernels read bf16 and float16 themselves.


@relu_norm_max.register_kernel("cuda")
def _(x, n, alpha, beta, k, towers, pool, stride, relu):
    from alexnet.kernels.normalization import cuda as cuda_norm

    x = to_channels_last(x)
    out, argmax = allocate_pooled(x, pool, stride)
    parameters = NormPoolParameters(n, alpha, beta, k, towers, pool, stride, relu)
    cuda_norm.forward(x, out, argmax, parameters)
    return out, argmax


@relu_norm_max_backward.register_kernel("cuda")
def _(gradient, x, argmax, n, alpha, beta, k, towers, pool, stride, relu):
    from alexnet.kernels.normalization import cuda as cuda_norm

    gradient, x = to_channels_last(gradient), to_channels_last(x)
    out = allocate_like(x, *x.shape[2:])
    parameters = NormPoolParameters(n, alpha, beta, k, towers, pool, stride, relu)
    cuda_norm.backward(gradient, x, argmax, out, parameters)
    return out


# Shapes and dtypes of the results, for torch.compile and torch.export.


@relu_norm_max.register_fake
def _(x, n, alpha, beta, k, towers, pool, stride, relu):
    return allocate_pooled(x, pool, stride)


@relu_norm_max_backward.register_fake
def _(gradient, x, argmax, n, alpha, beta, k, towers, pool, stride, relu):
    return allocate_like(x, *x.shape[2:])


# Autograd.


def _setup_context(ctx, inputs, output):
    ctx.set_materialize_grads(False)  # no zeros as the gradient of the argmax indices
    x, *ctx.parameters = inputs
    ctx.save_for_backward(x, output[1])


def _backward(ctx, gradient, _):
    none = [None] * len(ctx.parameters)
    if gradient is None:
        return None, *none
    x, argmax = ctx.saved_tensors
    return relu_norm_max_backward(gradient, x, argmax, *ctx.parameters), *none


relu_norm_max.register_autograd(_backward, setup_context=_setup_context)
