"""Max pooling in registers, on CUDA: the steps that the kernels of pooling and normalization share.

Argmax indices are stored as on the CPU; `cpu_windows` has a drawing. Windows are numbered (i, j),
and window (i, j) starts at pixel (i * STRIDE, j * STRIDE). All arguments but the constexpr ones are
tensors with one element for each thread or pixel of a tile.
"""

# mypy: disable-error-code="no-untyped-def"

import triton
import triton.language as tl

from alexnet.kernels.runtime.triton_launch import pixel_offset


@triton.jit
def window_pixel_offset(
    image, i, j, position, height, width, channels, POOL: tl.constexpr, STRIDE: tl.constexpr
):
    """Offset in memory of the pixel at `position` of each window.

    A position outside the image gets the offset of the last row or column instead, so that every
    load is from memory of the image; `is_inside_image` tells which positions to use.
    """
    y = tl.minimum(i * STRIDE + position // POOL, height - 1)
    x = tl.minimum(j * STRIDE + position % POOL, width - 1)
    return pixel_offset(image, y, x, height, width, channels)


@triton.jit
def is_inside_image(i, j, position, height, width, POOL: tl.constexpr, STRIDE: tl.constexpr):
    """Whether `position` of each window lies inside the image."""
    return (i * STRIDE + position // POOL < height) & (j * STRIDE + position % POOL < width)


@triton.jit
def rectify(x):
    """ReLU. A NaN stays a NaN, which tl.maximum does not guarantee."""
    return tl.where(x <= 0, 0.0, x)


@triton.jit
def update_max(maximum, argmax, value, position, inside):
    """Return the larger of `maximum` and `value`, and its position; `value` counts where `inside`.

    A NaN counts as larger than anything, so that of several NaNs the last one is the maximum, as in
    PyTorch.
    """
    larger = inside & ((value > maximum) | (value != value))
    return tl.where(larger, value, maximum), tl.where(larger, position, argmax)


@triton.jit
def mark_blocked(argmax, maximum, POOL: tl.constexpr):
    """Return `argmax`, replaced by POOL * POOL (not a position) where ReLU blocks the gradient."""
    return tl.where(maximum <= 0, POOL * POOL, argmax)


@triton.jit
def is_covered(i, j, y, x, out_height, out_width, POOL: tl.constexpr, STRIDE: tl.constexpr):
    """Whether window (i, j) exists and covers pixel (y, x).

    The pixel must not lie above or left of the window. The windows that may cover a pixel are
    i = y // STRIDE - 0, 1, … COVER - 1, with COVER = ceil(POOL / STRIDE), and j likewise:
    `cpu_windows` has a drawing.
    """
    exists = (i >= 0) & (j >= 0) & (i < out_height) & (j < out_width)
    return exists & (y - i * STRIDE < POOL) & (x - j * STRIDE < POOL)
