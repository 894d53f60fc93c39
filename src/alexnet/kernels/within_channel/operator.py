"""Norms within a map, which the 2012 code has and the paper does not mention.

    response:  y = x / (k + alpha/n² · Σ x²)^beta
    contrast:  y = x / (k + alpha/n² · Σ d²)^beta,   d = x − the mean of the n × n pixels around it

Σ runs over the n × n pixels around each pixel, those inside the map. A window of even n is one
longer above and on the left. Numba computes the response norm on the CPU; CUDA, and the contrast
norm, which few networks have, make do with the formula.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.kernels.runtime.backends import has_kernel
from alexnet.kernels.runtime.layout import allocate_like, as_array, as_kernel_input, check_window


def within_channel_norm(
    x: Tensor, n: int, alpha: float, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Response norm within each map. N C H W → N C H W."""
    check_window(x, 1, 1)
    if x.device.type == "cpu" and has_kernel(x.device, x.dtype):
        return normalize_within_channel(x, n, alpha / n**2, beta, k)
    return divide_formula(x, x, n, alpha / n**2, beta, k)


def contrast_norm(x: Tensor, n: int, alpha: float, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Contrast norm within each map. N C H W → N C H W.

    Each pixel has a mean of its own, and x itself is divided, as the 2012 code does it. That code
    took the means for constants on the way back; this is the whole gradient.
    """
    check_window(x, 1, 1)
    mean = window_sums(x, n) / window_sums(torch.ones_like(x[:1, :1]), n)
    return divide_formula(x, x - mean, n, alpha / n**2, beta, k)


def window_sums(x: Tensor, n: int) -> Tensor:
    """The sum of the n × n pixels around each pixel. N C H W → N C H W."""
    low = n // 2
    if n % 2:
        return F.avg_pool2d(x, n, 1, low, divisor_override=1)
    high = n - 1 - low
    return F.avg_pool2d(F.pad(x, (low, high, low, high)), n, 1, divisor_override=1)


def divide_formula(x: Tensor, d: Tensor, n: int, alpha: float, beta: float, k: float) -> Tensor:
    """x / (k + alpha · Σ d²)^beta, with float32 sums for half precision."""
    wide = torch.promote_types(x.dtype, torch.float32)
    base = k + alpha * window_sums(d.to(wide).square(), n)
    return (x * base.pow(-beta)).to(x.dtype)


@torch.library.custom_op("alexnet::normalize_within_channel", mutates_args=(), device_types="cpu")
def normalize_within_channel(x: Tensor, n: int, alpha: float, beta: float, k: float) -> Tensor:
    """Response norm within each map; alpha multiplies the sum."""
    from alexnet.kernels.runtime import cpu_threads
    from alexnet.kernels.within_channel import cpu as cpu_within_channel

    x, dtype = as_kernel_input(x), x.dtype
    out, images = allocate_like(x, *x.shape[2:]), as_array(x)
    how = n, images.dtype.type(alpha), beta, images.dtype.type(k)
    cpu_threads.run_on_batch(cpu_within_channel.forward, len(x), images, as_array(out), *how)
    return out.to(dtype)


@torch.library.custom_op(
    "alexnet::normalize_within_channel_backward", mutates_args=(), device_types="cpu"
)
def normalize_within_channel_backward(
    gradient: Tensor, x: Tensor, n: int, alpha: float, beta: float, k: float
) -> Tensor:
    """The gradient of the input of `normalize_within_channel`, from that of its output."""
    from alexnet.kernels.runtime import cpu_threads
    from alexnet.kernels.within_channel import cpu as cpu_within_channel

    gradient, x, dtype = as_kernel_input(gradient), as_kernel_input(x), x.dtype
    out, images = allocate_like(x, *x.shape[2:]), as_array(x)
    arrays = as_array(gradient), images, as_array(out)
    how = n, images.dtype.type(alpha), beta, images.dtype.type(k)
    cpu_threads.run_on_batch(cpu_within_channel.backward, len(x), *arrays, *how)
    return out.to(dtype)


@normalize_within_channel.register_fake
def _(x, n, alpha, beta, k):
    return allocate_like(x, *x.shape[2:])


@normalize_within_channel_backward.register_fake
def _(gradient, x, n, alpha, beta, k):
    return allocate_like(x, *x.shape[2:])


def _keep(ctx, inputs, output):
    x, *ctx.how = inputs
    ctx.save_for_backward(x)


def _gradient(ctx, gradient):
    (x,) = ctx.saved_tensors
    return normalize_within_channel_backward(gradient, x, *ctx.how), None, None, None, None


normalize_within_channel.register_autograd(_gradient, setup_context=_keep)
