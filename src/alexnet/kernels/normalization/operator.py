"""Response norm across maps (§3.3), alone or with ReLU and max pool in one pass over memory.

    b = a / (k + alpha * Σ a²)^beta,   Σ over the n maps from n // 2 below, of the same tower

The formula below is a banded 1×1 convolution; the kernels must give what it gives.
"""

# mypy: disable-error-code="no-untyped-def"

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

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
    """ReLU, response norm and max pool. N C H W → N C H' W', where H' rounds up.

    alpha multiplies the sum, as the paper prints it, or the mean if `over_n`, as the 2012 code and
    torch.nn.LocalResponseNorm have it. The window never reaches from one tower's maps into the
    next. The paper's order is "relu-norm-pool", that of the code's first layer "norm-pool-relu".
    On a CPU or CUDA the result is channels_last. Raises ValueError for what cannot be divided so.
    """
    if order not in RELU:
        raise ValueError(f"order is {order!r}, and must be one of {', '.join(map(repr, RELU))}")
    check_window(x, pool, stride)
    _check_norm(x, n, towers)
    scale = alpha / n if over_n else alpha
    if _has_kernel(x, n):
        return relu_norm_max(x, n, scale, beta, k, towers, pool, stride, RELU[order])[0]
    x = F.relu(x) if order == "relu-norm-pool" else x
    x = response_norm_formula(x, n=n, alpha=scale, beta=beta, k=k, towers=towers)
    x = F.max_pool2d(x, pool, stride, ceil_mode=True)
    return F.relu(x) if order == "norm-pool-relu" else x


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
    """Response norm alone. N C H W → N C H W. An even window is one longer on the low side."""
    check_window(x, 1, 1)
    _check_norm(x, n, towers)
    scale = alpha / n if over_n else alpha
    if _has_kernel(x, n):  # pooling single pixels costs little
        return relu_norm_max(x, n, scale, beta, k, towers, 1, 1, "none")[0]
    return response_norm_formula(x, n=n, alpha=scale, beta=beta, k=k, towers=towers)


def response_norm_formula(
    x: Tensor, *, n: int, alpha: float, beta: float, k: float, towers: int
) -> Tensor:
    """The formula in plain PyTorch, with float32 sums for half precision."""
    with _no_autocast(x.device.type):
        a = x.float() if x.element_size() < 4 else x
        sums = F.conv2d(a.square(), _band(a, n, towers), groups=towers)
        return (a * (k + alpha * sums).pow(-beta)).to(x.dtype)


def _no_autocast(device: str) -> AbstractContextManager[object]:
    known = torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if known else nullcontext()


def _band(x: Tensor, n: int, towers: int) -> Tensor:
    """1×1 filters that add up n neighboring maps: C C/towers 1 1."""
    maps = torch.arange(x.shape[1] // towers, device=x.device)
    offset = maps[None, :] - (maps[:, None] - n // 2)  # of each map in each map's window
    inside = (offset >= 0) & (offset < n)
    return inside.to(x.dtype).repeat(towers, 1)[:, :, None, None]


def _check_norm(x: Tensor, n: int, towers: int) -> None:
    if n < 1:
        raise ValueError(f"a response norm over n={n} maps: n must be 1 or more")
    if towers < 1 or x.shape[1] % towers:
        raise ValueError(f"{x.shape[1]} maps cannot be divided between {towers} towers")


def _has_kernel(x: Tensor, n: int) -> bool:
    return has_kernel(x.device, x.dtype) and (x.device.type == "cpu" or n <= LONGEST_ON_CUDA)


LONGEST_ON_CUDA = 16
"""A thread there holds the windows of its maps, and the windows of those, in registers."""


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
    """ReLU ("first", "last", "none"), norm, max pool, and which position of each window won."""
    from alexnet.kernels.normalization import cpu as cpu_norm
    from alexnet.kernels.runtime import cpu_threads

    x, dtype = _readable(x), x.dtype
    floats = torch.float32 if dtype == torch.bfloat16 else x.dtype
    out, positions = allocate_pooled(x, pool, stride, floats)
    images, maxima = as_array(x), as_array(out)
    scale, base = maxima.dtype.type(alpha), maxima.dtype.type(k)
    arrays = images, maxima, as_array(positions)
    how = n, scale, beta, base, towers, pool, stride, relu
    cpu_threads.run_on_batch(cpu_norm.forward, len(x), *arrays, *how)
    return out.to(dtype), positions


@torch.library.custom_op("alexnet::relu_norm_max_backward", mutates_args=(), device_types="cpu")
def relu_norm_max_backward(
    gradient: Tensor,
    x: Tensor,
    positions: Tensor,
    n: int,
    alpha: float,
    beta: float,
    k: float,
    towers: int,
    pool: int,
    stride: int,
    relu: str,
) -> Tensor:
    """The gradient of the input of `relu_norm_max`, from that of its maxima."""
    from alexnet.kernels.normalization import cpu as cpu_norm
    from alexnet.kernels.runtime import cpu_threads

    gradient, x, dtype = as_kernel_input(gradient), _readable(x), x.dtype
    out, maxima = allocate_like(x, *x.shape[2:]), as_array(gradient)
    scale, base = maxima.dtype.type(alpha), maxima.dtype.type(k)
    arrays = maxima, as_array(x), as_array(positions), as_array(out)
    how = n, scale, beta, base, towers, pool, stride, relu
    cpu_threads.run_on_batch(cpu_norm.backward, len(x), *arrays, *how)
    return out.to(dtype)


def _readable(x: Tensor) -> Tensor:
    """The same, channels_last, in a type that the kernel on the CPU reads."""
    return to_channels_last(x) if x.dtype == torch.bfloat16 else as_kernel_input(x)


@relu_norm_max.register_kernel("cuda")
def _(x, n, alpha, beta, k, towers, pool, stride, relu):
    from alexnet.kernels.normalization import cuda as cuda_norm

    x = to_channels_last(x)
    out, positions = allocate_pooled(x, pool, stride)
    cuda_norm.forward(x, out, positions, n, alpha, beta, k, towers, pool, stride, relu)
    return out, positions


@relu_norm_max_backward.register_kernel("cuda")
def _(gradient, x, positions, n, alpha, beta, k, towers, pool, stride, relu):
    from alexnet.kernels.normalization import cuda as cuda_norm

    gradient, x = to_channels_last(gradient), to_channels_last(x)
    out = allocate_like(x, *x.shape[2:])
    arrays = gradient, x, positions, out
    cuda_norm.backward(*arrays, n, alpha, beta, k, towers, pool, stride, relu)
    return out


@relu_norm_max.register_fake
def _(x, n, alpha, beta, k, towers, pool, stride, relu):
    return allocate_pooled(x, pool, stride)


@relu_norm_max_backward.register_fake
def _(gradient, x, positions, n, alpha, beta, k, towers, pool, stride, relu):
    return allocate_like(x, *x.shape[2:])


def _keep(ctx, inputs, output):
    ctx.set_materialize_grads(False)  # nobody needs zeros as the gradient of positions
    x, *ctx.how = inputs
    ctx.save_for_backward(x, output[1])


def _gradient(ctx, gradient, _):
    if gradient is None:
        return None, *[None] * len(ctx.how)
    x, positions = ctx.saved_tensors
    return relu_norm_max_backward(gradient, x, positions, *ctx.how), *[None] * len(ctx.how)


relu_norm_max.register_autograd(_gradient, setup_context=_keep)
