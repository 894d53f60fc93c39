"""ReLU and pooling, max or average, in one pass: sizes round up, windows are clipped."""

# mypy: disable-error-code="no-untyped-def"

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

PoolOrder = Literal["relu-pool", "pool-relu"]
FEW_MAPS = 64


def relu_pool(
    x: Tensor,
    *,
    pool: int = 3,
    stride: int = 2,
    kind: Literal["max", "avg"] = "max",
    order: PoolOrder = "relu-pool",
) -> Tensor:
    """ReLU and pooling. N C H W → N C H' W', where H' rounds up.

    Averages divide by the pixels inside the window. The gradient of a maximum goes to one pixel,
    the first in reading order, as in PyTorch. On a CPU or CUDA the result is channels_last.
    Raises ValueError for maps too small for a window, and for unknown words.
    """
    _check_words(kind, order)
    check_window(x, pool, stride)
    if not has_kernel(x.device, x.dtype):
        return relu_pool_formula(x, pool=pool, stride=stride, kind=kind, order=order)
    if library_is_faster(x, kind):
        x, first = to_channels_last(x), "pool-relu" if kind == "max" else order  # maxima commute
        return relu_pool_formula(x, pool=pool, stride=stride, kind=kind, order=first)
    return relu_pool_kernel(x, pool, stride, kind, order)


def library_is_faster(x: Tensor, kind: str) -> bool:
    """Whether PyTorch's own pooling beats the kernel on a CPU: averages, few maps, and bf16.

    Measured by `benchmarks/kernels.py` on quiet cores.
    """
    few = x.shape[1] < FEW_MAPS or x.element_size() < 4  # halves would have to be widened first
    return x.device.type == "cpu" and (kind == "avg" or few)


def relu_pool_kernel(x: Tensor, pool: int, stride: int, kind: str, order: str) -> Tensor:
    """What `relu_pool` computes, by the fused kernel."""
    if kind == "max":  # ReLU and maximum commute
        return relu_max(x, pool, stride)[0]
    return relu_avg(x, pool, stride, order == "relu-pool")


def relu_pool_formula(
    x: Tensor, *, pool: int, stride: int, kind: str = "max", order: str = "relu-pool"
) -> Tensor:
    """What `relu_pool` computes, in plain PyTorch."""
    if order == "relu-pool":
        x = F.relu(x)
    if kind == "max":
        x = F.max_pool2d(x, pool, stride, ceil_mode=True)
    else:
        x = F.avg_pool2d(x, pool, stride, ceil_mode=True, count_include_pad=False)
    return F.relu(x) if order == "pool-relu" else x


def _check_words(kind: str, order: str) -> None:
    if kind not in ("max", "avg"):
        raise ValueError(f"kind is {kind!r}, and must be 'max' or 'avg'")
    if order not in ("relu-pool", "pool-relu"):
        raise ValueError(f"order is {order!r}, and must be 'relu-pool' or 'pool-relu'")


@torch.library.custom_op("alexnet::relu_max", mutates_args=(), device_types="cpu")
def relu_max(x: Tensor, pool: int, stride: int) -> tuple[Tensor, Tensor]:
    """ReLU and max pool, and which position of each window won."""
    from alexnet.kernels.pooling import cpu as cpu_pool
    from alexnet.kernels.runtime import cpu_threads

    x, dtype = as_kernel_input(x), x.dtype
    out, positions = allocate_pooled(x, pool, stride)
    arrays = as_array(x), as_array(out), as_array(positions)
    cpu_threads.run_on_batch(cpu_pool.max_forward, len(x), *arrays, pool, stride)
    return out.to(dtype), positions


@torch.library.custom_op("alexnet::relu_max_backward", mutates_args=(), device_types="cpu")
def relu_max_backward(
    gradient: Tensor, positions: Tensor, height: int, width: int, pool: int, stride: int
) -> Tensor:
    """The gradient of the input of `relu_max`, height × width, from that of its maxima."""
    from alexnet.kernels.pooling import cpu as cpu_pool
    from alexnet.kernels.runtime import cpu_threads

    gradient, dtype = as_kernel_input(gradient), gradient.dtype
    out = allocate_like(gradient, height, width)
    arrays = as_array(gradient), as_array(positions), as_array(out)
    cpu_threads.run_on_batch(cpu_pool.max_backward, len(out), *arrays, pool, stride)
    return out.to(dtype)


@torch.library.custom_op("alexnet::relu_avg", mutates_args=(), device_types="cpu")
def relu_avg(x: Tensor, pool: int, stride: int, relu_first: bool) -> Tensor:
    """ReLU and average pool, or average pool and ReLU."""
    from alexnet.kernels.pooling import cpu as cpu_pool
    from alexnet.kernels.runtime import cpu_threads

    x, dtype = as_kernel_input(x), x.dtype
    out = allocate_pooled(x, pool, stride)[0]
    arrays = as_array(x), as_array(out)
    cpu_threads.run_on_batch(cpu_pool.avg_forward, len(x), *arrays, pool, stride, relu_first)
    return out.to(dtype)


@torch.library.custom_op("alexnet::relu_avg_backward", mutates_args=(), device_types="cpu")
def relu_avg_backward(
    gradient: Tensor,
    kept: Tensor,
    height: int,
    width: int,
    pool: int,
    stride: int,
    relu_first: bool,
) -> Tensor:
    """The gradient of the input of `relu_avg`. kept: it if ReLU is first, else the output."""
    from alexnet.kernels.pooling import cpu as cpu_pool
    from alexnet.kernels.runtime import cpu_threads

    gradient, kept, dtype = as_kernel_input(gradient), as_kernel_input(kept), gradient.dtype
    out = allocate_like(gradient, height, width)
    arrays = as_array(gradient), as_array(kept), as_array(out)
    cpu_threads.run_on_batch(cpu_pool.avg_backward, len(out), *arrays, pool, stride, relu_first)
    return out.to(dtype)


@relu_max.register_kernel("cuda")
def _(x: Tensor, pool: int, stride: int) -> tuple[Tensor, Tensor]:
    from alexnet.kernels.pooling import cuda as cuda_pool

    x = to_channels_last(x)
    out, positions = allocate_pooled(x, pool, stride)
    cuda_pool.max_forward(x, out, positions, pool, stride)
    return out, positions


@relu_max_backward.register_kernel("cuda")
def _(
    gradient: Tensor, positions: Tensor, height: int, width: int, pool: int, stride: int
) -> Tensor:
    from alexnet.kernels.pooling import cuda as cuda_pool

    out = allocate_like(gradient, height, width)
    cuda_pool.max_backward(to_channels_last(gradient), positions, out, pool, stride)
    return out


@relu_avg.register_kernel("cuda")
def _(x: Tensor, pool: int, stride: int, relu_first: bool) -> Tensor:
    from alexnet.kernels.pooling import cuda as cuda_pool

    x = to_channels_last(x)
    out = allocate_pooled(x, pool, stride)[0]
    cuda_pool.avg_forward(x, out, pool, stride, relu_first)
    return out


@relu_avg_backward.register_kernel("cuda")
def _(
    gradient: Tensor,
    kept: Tensor,
    height: int,
    width: int,
    pool: int,
    stride: int,
    relu_first: bool,
) -> Tensor:
    from alexnet.kernels.pooling import cuda as cuda_pool

    out = allocate_like(gradient, height, width)
    arrays = to_channels_last(gradient), to_channels_last(kept), out
    cuda_pool.avg_backward(*arrays, pool, stride, relu_first)
    return out


@relu_max.register_fake
def _(x, pool, stride):
    return allocate_pooled(x, pool, stride)


@relu_avg.register_fake
def _(x, pool, stride, relu_first):
    return allocate_pooled(x, pool, stride)[0]


@relu_max_backward.register_fake
def _(gradient, positions, height, width, pool, stride):
    return allocate_like(gradient, height, width)


@relu_avg_backward.register_fake
def _(gradient, kept, height, width, pool, stride, relu_first):
    return allocate_like(gradient, height, width)


def _keep_max(ctx, inputs, output):
    ctx.set_materialize_grads(False)  # nobody needs zeros as the gradient of positions
    x, *ctx.window = inputs
    ctx.size = x.shape[2:]
    ctx.save_for_backward(output[1])


def _max_gradient(ctx, gradient, _):
    if gradient is None:
        return None, None, None
    (positions,) = ctx.saved_tensors
    return relu_max_backward(gradient, positions, *ctx.size, *ctx.window), None, None


def _keep_avg(ctx, inputs, output):
    x, *ctx.window, ctx.relu_first = inputs
    ctx.size = x.shape[2:]
    ctx.save_for_backward(x if ctx.relu_first else output)


def _avg_gradient(ctx, gradient):
    (kept,) = ctx.saved_tensors
    how = *ctx.size, *ctx.window, ctx.relu_first
    return relu_avg_backward(gradient, kept, *how), None, None, None


relu_max.register_autograd(_max_gradient, setup_context=_keep_max)
relu_avg.register_autograd(_avg_gradient, setup_context=_keep_avg)
