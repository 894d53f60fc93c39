"""Normalization within each channel, which is in the 2012 code but not in the paper.

    response   y = x / (k + alpha/n² · Σ x²)^beta
    contrast   y = x / (k + alpha/n² · Σ d²)^beta,   d = x - the mean of the n × n pixels around it

Σ adds up the n × n pixels around each pixel in the same channel, without those outside the image.
If n is even, the window has one more row above and one more column to the left
(`reference.sum_windows` has a drawing). The first is local response normalization within channels
(Caffe's WITHIN_CHANNEL), the second local contrast normalization.

Called by the networks of the 2012 code. Numba computes the first on a CPU; PyTorch computes it on
other devices, and the second, which few networks have, everywhere. `cpu` is imported at the first
call: importing this module must not import Numba.
"""

# mypy: disable-error-code="no-untyped-def"

import torch
from torch import Tensor

from alexnet.kernels.runtime.backends import has_kernel
from alexnet.kernels.runtime.layout import allocate_like, as_array, as_kernel_input, check_window
from alexnet.kernels.within_channel.reference import divide_by_windows, subtract_window_means


def within_channel_norm(
    x: Tensor, n: int, alpha: float, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Local response normalization within each channel. (N, C, H, W) → (N, C, H, W).

    n: height and width of the windows, in pixels. alpha multiplies the sum of squares divided by
    n², also at the border, where fewer pixels are added up. Raises ValueError if x is not a
    floating-point tensor (N, C, H, W).
    """
    check_window(x, 1, 1)
    if x.device.type == "cpu" and has_kernel(x.device, x.dtype):
        return normalize_within_channel(x, n, alpha / n**2, beta, k)
    return divide_by_windows(x, x, n, alpha / n**2, beta, k)


def contrast_norm(x: Tensor, n: int, alpha: float, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Local contrast normalization within each channel. (N, C, H, W) → (N, C, H, W).

    Parameters and errors are those of `within_channel_norm`. x itself is divided, not d, as in the
    2012 code. In its backward pass, that code treated the means as constants; here the gradient is
    exact.
    """
    check_window(x, 1, 1)
    return divide_by_windows(x, subtract_window_means(x, n), n, alpha / n**2, beta, k)


# The custom operators, on a CPU only.


@torch.library.custom_op("alexnet::normalize_within_channel", mutates_args=(), device_types="cpu")
def normalize_within_channel(x: Tensor, n: int, alpha: float, beta: float, k: float) -> Tensor:
    """Compute `within_channel_norm` by the kernel; alpha multiplies the sum, not the mean."""
    from alexnet.kernels.runtime import cpu_threads
    from alexnet.kernels.within_channel import cpu as cpu_within_channel

    x, dtype = as_kernel_input(x), x.dtype
    out, images = allocate_like(x, *x.shape[2:]), as_array(x)
    parameters = n, images.dtype.type(alpha), beta, images.dtype.type(k)
    arrays = images, as_array(out)
    cpu_threads.run_on_batch(cpu_within_channel.forward, len(x), *arrays, *parameters)
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
    parameters = n, images.dtype.type(alpha), beta, images.dtype.type(k)
    cpu_threads.run_on_batch(cpu_within_channel.backward, len(x), *arrays, *parameters)
    return out.to(dtype)


# Shapes and dtypes of the results, for torch.compile and torch.export.


@normalize_within_channel.register_fake
def _(x, n, alpha, beta, k):
    return allocate_like(x, *x.shape[2:])


@normalize_within_channel_backward.register_fake
def _(gradient, x, n, alpha, beta, k):
    return allocate_like(x, *x.shape[2:])


# Autograd.


def _setup_context(ctx, inputs, output):
    x, *ctx.parameters = inputs
    ctx.save_for_backward(x)


def _backward(ctx, gradient):
    (x,) = ctx.saved_tensors
    out = normalize_within_channel_backward(gradient, x, *ctx.parameters)
    return out, *[None] * len(ctx.parameters)


normalize_within_channel.register_autograd(_backward, setup_context=_setup_context)
