"""ReLU and pooling, max or average, in one pass over memory. The paper's pooling is section 3.4.

Called by the networks. `relu_pool` checks its arguments and chooses the implementation:

    no kernel for the device or dtype    the reference, in plain PyTorch
    CPU, where PyTorch is faster         the reference too, on channels_last memory
    otherwise                            `run_kernel`: a custom operator of PyTorch, with autograd

The custom operators call `cpu` (Numba) or `cuda` (Triton), which are imported at the first call:
importing this module must import neither compiler.
"""

# mypy: disable-error-code="no-untyped-def"

from typing import Literal

import torch
from torch import Tensor

from alexnet.kernels.pooling.reference import relu_pool_reference
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
"""Which of the two comes first."""

FEWEST_CHANNELS = 64
"""With fewer channels, PyTorch's max pooling on a CPU is faster than the kernel."""


def relu_pool(
    x: Tensor,
    *,
    pool: int = 3,
    stride: int = 2,
    kind: Literal["max", "avg"] = "max",
    order: PoolOrder = "relu-pool",
) -> Tensor:
    """ReLU and pooling. (N, C, H, W) → (N, C, H', W'), where H' and W' are rounded up.

    Windows of `pool` × `pool` pixels start every `stride` pixels and are clipped at the border;
    averages divide by the number of pixels inside the image. The gradient of a maximum goes to one
    pixel, the first in reading order, as in PyTorch. On a CPU or CUDA the result is channels_last.

    Raises ValueError if no window fits into x, or if `kind` or `order` is unknown.
    """
    _check_words(kind, order)
    check_window(x, pool, stride)
    if not has_kernel(x.device, x.dtype):
        return relu_pool_reference(x, pool=pool, stride=stride, kind=kind, order=order)
    if is_pytorch_faster(x, kind):
        # ReLU and maximum commute: ReLU comes last, when there are fewer pixels.
        x, first = to_channels_last(x), "pool-relu" if kind == "max" else order
        return relu_pool_reference(x, pool=pool, stride=stride, kind=kind, order=first)
    return run_kernel(x, pool, stride, kind, order)


def is_pytorch_faster(x: Tensor, kind: str) -> bool:
    """Whether PyTorch's own pooling beats the kernel on a CPU.

    It does for averages, for few channels, and for bf16, which the kernel would have to convert to
    float32 first. Measured by `benchmarks/kernels.py`; it depends on nothing but x and `kind`, so
    that training, evaluation and a resumed training choose alike.
    """
    slow_for_kernel = x.shape[1] < FEWEST_CHANNELS or x.element_size() < 4
    return x.device.type == "cpu" and (kind == "avg" or slow_for_kernel)


def run_kernel(x: Tensor, pool: int, stride: int, kind: str, order: str) -> Tensor:
    """Compute `relu_pool` by the kernel for the device of x."""
    if kind == "max":  # the order does not matter: ReLU and maximum commute
        return relu_max(x, pool, stride)[0]
    return relu_avg(x, pool, stride, order == "relu-pool")


def _check_words(kind: str, order: str) -> None:
    if kind not in ("max", "avg"):
        raise ValueError(f"kind must be 'max' or 'avg', got {kind!r}")
    if order not in ("relu-pool", "pool-relu"):
        raise ValueError(f"order must be 'relu-pool' or 'pool-relu', got {order!r}")


# The custom operators on a CPU.


@torch.library.custom_op("alexnet::relu_max", mutates_args=(), device_types="cpu")
def relu_max(x: Tensor, pool: int, stride: int) -> tuple[Tensor, Tensor]:
    """ReLU and max pooling: the maxima and their argmax indices, both (N, C, H', W')."""
    from alexnet.kernels.pooling import cpu as cpu_pool
    from alexnet.kernels.runtime import cpu_threads

    x, dtype = as_kernel_input(x), x.dtype
    out, argmax = allocate_pooled(x, pool, stride)
    arrays = as_array(x), as_array(out), as_array(argmax)
    cpu_threads.run_on_batch(cpu_pool.max_forward, len(x), *arrays, pool, stride)
    return out.to(dtype), argmax


@torch.library.custom_op("alexnet::relu_max_backward", mutates_args=(), device_types="cpu")
def relu_max_backward(
    gradient: Tensor, argmax: Tensor, height: int, width: int, pool: int, stride: int
) -> Tensor:
    """The gradient (N, C, height, width) of the input of `relu_max`, from that of the maxima."""
    from alexnet.kernels.pooling import cpu as cpu_pool
    from alexnet.kernels.runtime import cpu_threads

    gradient, dtype = as_kernel_input(gradient), gradient.dtype
    out = allocate_like(gradient, height, width)
    arrays = as_array(gradient), as_array(argmax), as_array(out)
    cpu_threads.run_on_batch(cpu_pool.max_backward, len(out), *arrays, pool, stride)
    return out.to(dtype)


@torch.library.custom_op("alexnet::relu_avg", mutates_args=(), device_types="cpu")
def relu_avg(x: Tensor, pool: int, stride: int, relu_first: bool) -> Tensor:
    """Average pooling (N, C, H', W'), with ReLU before it if `relu_first`, else after it."""
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
    """The gradient (N, C, height, width) of the input of `relu_avg`.

    `kept` is that input if ReLU comes before the pooling, else the output.
    """
    from alexnet.kernels.pooling import cpu as cpu_pool
    from alexnet.kernels.runtime import cpu_threads

    gradient, kept, dtype = as_kernel_input(gradient), as_kernel_input(kept), gradient.dtype
    out = allocate_like(gradient, height, width)
    arrays = as_array(gradient), as_array(kept), as_array(out)
    cpu_threads.run_on_batch(cpu_pool.avg_backward, len(out), *arrays, pool, stride, relu_first)
    return out.to(dtype)


# The same on CUDA. These kernels read bf16 and float16 themselves.


@relu_max.register_kernel("cuda")
def _(x: Tensor, pool: int, stride: int) -> tuple[Tensor, Tensor]:
    from alexnet.kernels.pooling import cuda as cuda_pool

    x = to_channels_last(x)
    out, argmax = allocate_pooled(x, pool, stride)
    cuda_pool.max_forward(x, out, argmax, pool, stride)
    return out, argmax


@relu_max_backward.register_kernel("cuda")
def _(gradient: Tensor, argmax: Tensor, height: int, width: int, pool: int, stride: int) -> Tensor:
    from alexnet.kernels.pooling import cuda as cuda_pool

    out = allocate_like(gradient, height, width)
    cuda_pool.max_backward(to_channels_last(gradient), argmax, out, pool, stride)
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
    tensors = to_channels_last(gradient), to_channels_last(kept), out
    cuda_pool.avg_backward(*tensors, pool, stride, relu_first)
    return out


# Shapes and dtypes of the results, for torch.compile and torch.export.


@relu_max.register_fake
def _(x, pool, stride):
    return allocate_pooled(x, pool, stride)


@relu_avg.register_fake
def _(x, pool, stride, relu_first):
    return allocate_pooled(x, pool, stride)[0]


@relu_max_backward.register_fake
def _(gradient, argmax, height, width, pool, stride):
    return allocate_like(gradient, height, width)


@relu_avg_backward.register_fake
def _(gradient, kept, height, width, pool, stride, relu_first):
    return allocate_like(gradient, height, width)


# Autograd.


def _setup_max(ctx, inputs, output):
    ctx.set_materialize_grads(False)  # no zeros as the gradient of the argmax indices
    x, *ctx.window = inputs
    ctx.size = x.shape[2:]
    ctx.save_for_backward(output[1])


def _backward_max(ctx, gradient, _):
    if gradient is None:
        return None, None, None
    (argmax,) = ctx.saved_tensors
    return relu_max_backward(gradient, argmax, *ctx.size, *ctx.window), None, None


def _setup_avg(ctx, inputs, output):
    x, *ctx.window, ctx.relu_first = inputs
    ctx.size = x.shape[2:]
    ctx.save_for_backward(x if ctx.relu_first else output)


def _backward_avg(ctx, gradient):
    (kept,) = ctx.saved_tensors
    out = relu_avg_backward(gradient, kept, *ctx.size, *ctx.window, ctx.relu_first)
    return out, None, None, None


relu_max.register_autograd(_backward_max, setup_context=_setup_max)
relu_avg.register_autograd(_backward_avg, setup_context=_setup_avg)
