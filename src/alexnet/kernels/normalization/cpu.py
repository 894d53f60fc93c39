"""ReLU, response normalization and max pooling on the CPU, in one pass over memory.

Arrays are images (N, H, W, C). A few pixels are normalized at a time, as many as fit in the L1
cache. They are copied to a line with n // 2 zeros around the channels of every tower, so that the
sum over a window is n shifted loads, without a special case at borders:

    n = 5, towers a and b of 4 channels     0 0 a a a a 0 0 b b b b 0 0 a a a a 0 0 b b b b 0 0
                                                └─── pixel 0 ─────┘     └─── pixel 1 ─────┘
    the window of channel 1 of tower a        └───────┘

    base = k + alpha * the sum of squares over the window
    b = a * base ** -beta

Only `pool` normalized rows are kept at a time, in a ring buffer in which row y has index y % pool.
Each row of outputs is pooled from this buffer, so normalized images are never written to memory.
The backward pass recomputes the normalization, which is cheaper than storing and loading it.

With the gradient g of the normalized b = a · base ** -beta, the gradient of a is

    g · base ** -beta  -  2 alpha beta · a · Σ (g · a · base ** -beta / base)
    └── pointwise ──┘                        └────── cross terms ─────────┘

where Σ runs over the channels whose window contains this one; if n is even, these are the mirrored
window.

Called by `operator` through `cpu_threads.run_on_batch`; each kernel processes the images
`first … stop - 1`.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from alexnet.kernels.normalization.cpu_powers import compute_powers
from alexnet.kernels.normalization.reference import NormPoolParameters
from alexnet.kernels.pooling.cpu_windows import gather_gradient, max_pool_row, rectify_row
from alexnet.kernels.runtime.cpu_intrinsics import bf16_to_float32, cast_like
from alexnet.kernels.runtime.cpu_threads import compiled, inlined

LINE_LENGTH = 1200
"""Numbers that a line of pixels should have: six such lines of float32 fit 32 KB."""

LINE_MULTIPLE = 32
"""The interior of a line is padded to a multiple of this length, so that vectorized loops have no
remainder."""


class KernelParameters(NamedTuple):
    """NormPoolParameters as the kernels take them.

    alpha and k have the dtype of the arithmetic: a Python float would turn float32 arithmetic into
    float64. `relu` is two booleans: Numba needs 10 µs to pass a tuple that contains a str, and 1 µs
    for one of numbers.
    """

    n: int
    alpha: Any
    beta: float
    k: Any
    towers: int
    pool: int
    stride: int
    relu_first: bool
    relu_last: bool

    @classmethod
    def of(cls, parameters: NormPoolParameters, dtype: np.dtype) -> KernelParameters:
        """Convert the parameters for arithmetic in `dtype`."""
        n, alpha, beta, k, towers, pool, stride, relu = parameters
        scalars = n, dtype.type(alpha), beta, dtype.type(k)
        return cls(*scalars, towers, pool, stride, relu == "first", relu == "last")


@compiled
def forward(first, stop, x, out, argmax, parameters):
    """Fill the maxima `out` and their argmax indices, both (N, H', W', C).

    x may be bf16 (as uint16); out is float32 then, or else of the dtype of x.
    """
    n, alpha, beta, k, towers, pool, stride, relu_first, relu_last = parameters
    height, width, channels = x.shape[1:]
    pixels = _count_pixels_of_line(width, channels, towers, n)
    lines = _allocate_lines(4, pixels * towers, channels // towers, n, out)
    line, base, power, inverse = lines[0], lines[1], lines[2], lines[3]
    ring = np.empty((pool, width, channels), out.dtype)
    for image in range(first, stop):
        done = 0
        for i in range(out.shape[1]):
            top, bottom = i * stride, min(i * stride + pool, height)
            for y in range(max(done, top), bottom):
                for left in range(0, width, pixels):
                    columns = slice(left, min(left + pixels, width))
                    _copy_to_line(x[image, y, columns], line, towers, n, relu_first)
                    _compute_bases(line, base, n, alpha, k)
                    compute_powers(base, power, inverse, beta)
                    _store_normalized(line, power, ring[y % pool, columns], towers, n)
            done = bottom
            max_pool_row(ring, (top, bottom), out[image, i], argmax[image, i], pool, stride)
            if relu_first or relu_last:
                rectify_row(out[image, i], argmax[image, i], pool * pool)


@compiled
def backward(first, stop, grad_out, x, argmax, grad_x, parameters):
    """Fill grad_x (N, H, W, C) from the gradient of the maxima. x and grad_x may both be bf16."""
    n, alpha, beta, k, towers, pool, stride, relu_first, _ = parameters
    height, width, channels = x.shape[1:]
    pixels = _count_pixels_of_line(width, channels, towers, n)
    lines = _allocate_lines(6, pixels * towers, channels // towers, n, grad_out)
    line, base, power, inverse = lines[0], lines[1], lines[2], lines[3]
    gradient, cross_terms = lines[4], lines[5]
    unpooled = np.empty((pixels, channels), grad_out.dtype)
    factor = alpha * grad_out.dtype.type(-2 * beta)
    for image in range(first, stop):
        for y in range(height):
            for left in range(0, width, pixels):
                columns = slice(left, min(left + pixels, width))
                for column in range(left, columns.stop):
                    pixel = unpooled[column - left]
                    gather_gradient(pixel, grad_out[image], argmax[image], y, column, pool, stride)
                gradient[:] = 0  # also between the towers, where the last line may have left NaNs
                _copy_to_line(unpooled[: columns.stop - left], gradient, towers, n, False)
                _copy_to_line(x[image, y, columns], line, towers, n, relu_first)
                _compute_bases(line, base, n, alpha, k)
                compute_powers(base, power, inverse, beta)
                _backward_pointwise(line, power, inverse, gradient, cross_terms)
                _add_cross_terms(cross_terms, line, gradient, n, factor)
                target = grad_x[image, y, columns]
                _copy_from_line(gradient, line, target, towers, n, relu_first)


@inlined
def _count_pixels_of_line(width, channels, towers, n):
    """Return how many pixels a line holds, so that the lines of a row are about equally long."""
    lines = -(-width * (channels + towers * (n // 2)) // LINE_LENGTH)
    return -(-width // lines)


@inlined
def _allocate_lines(count, groups, size, n, like):
    """Return `count` lines (count, L) of zeros, each for `groups` groups of `size` channels.

    L includes n // 2 zeros before, between and after the groups. Without those at both ends it is
    a multiple of LINE_MULTIPLE.
    """
    multiples = -(-groups * (size + n // 2) // LINE_MULTIPLE)
    return np.zeros((count, n // 2 + multiples * LINE_MULTIPLE + n // 2), like.dtype)


# Indices are unsigned in the next three functions: loops whose indices may be negative are not
# vectorized.


@inlined
def _copy_to_line(pixels, line, towers, n, relu):
    """Copy pixels (W, C), or ReLU of them, to a line, leaving n // 2 zeros around each tower."""
    size, gap, flat = pixels.shape[1] // towers, n // 2, pixels.reshape(-1)
    for group in range(pixels.shape[0] * towers):
        source, target = np.uintp(group * size), np.uintp(gap + group * (size + gap))
        if relu:
            for c in range(np.uintp(size)):
                value = bf16_to_float32(flat[source + c])
                line[target + c] = np.float32(0) if value <= 0 else value
        else:
            for c in range(np.uintp(size)):
                line[target + c] = bf16_to_float32(flat[source + c])


@inlined
def _copy_from_line(gradient, line, pixels, towers, n, relu):
    """Copy the gradient to `pixels` (W, C) without the zeros: the inverse of `_copy_to_line`.

    If `relu`, the gradient is set to 0 where ReLU blocks it (line <= 0). Where the line is NaN it
    passes, so that the NaN stays visible.
    """
    size, gap, flat = pixels.shape[1] // towers, n // 2, pixels.reshape(-1)
    for group in range(pixels.shape[0] * towers):
        target, source = np.uintp(group * size), np.uintp(gap + group * (size + gap))
        if relu:
            for c in range(np.uintp(size)):
                blocked = line[source + c] <= 0
                value = np.float32(0) if blocked else gradient[source + c]
                flat[target + c] = cast_like(value, flat)
        else:
            for c in range(np.uintp(size)):
                flat[target + c] = cast_like(gradient[source + c], flat)


@inlined
def _store_normalized(line, power, pixels, towers, n):
    """pixels (W, C) = line * power, without the zeros."""
    size, gap, flat = pixels.shape[1] // towers, n // 2, pixels.reshape(-1)
    for group in range(pixels.shape[0] * towers):
        target, source = np.uintp(group * size), np.uintp(gap + group * (size + gap))
        for c in range(np.uintp(size)):
            flat[target + c] = line[source + c] * power[source + c]


@inlined
def _compute_bases(line, base, n, alpha, k):
    """base = k + alpha * the sum of squares over n channels, which start n // 2 below this one."""
    gap = n // 2
    base[:] = k
    inner = base[gap : base.size - gap]
    if n == 5:  # the paper's n: one loop instead of five
        for i in range(inner.size):
            a, b, c, d, e = line[i], line[i + 1], line[i + 2], line[i + 3], line[i + 4]
            inner[i] = k + alpha * (a * a + b * b + c * c + d * d + e * e)
        return
    for j in range(n):
        shifted = line[j:]
        for i in range(inner.size):
            inner[i] += alpha * shifted[i] * shifted[i]


@inlined
def _backward_pointwise(line, power, inverse, gradient, cross_terms):
    """Multiply the gradient by `power`, in place, and fill `cross_terms`."""
    for i in range(line.size):
        gradient[i] *= power[i]
        cross_terms[i] = gradient[i] * line[i] * inverse[i]


@inlined
def _add_cross_terms(cross_terms, line, gradient, n, factor):
    """gradient += factor * line * the cross terms added up over the windows that hold a channel."""
    gap = n // 2
    inner, a = gradient[gap : line.size - gap], line[gap : line.size - gap]
    if n == 5:
        for i in range(inner.size):
            total = (
                cross_terms[i]
                + cross_terms[i + 1]
                + cross_terms[i + 2]
                + cross_terms[i + 3]
                + cross_terms[i + 4]
            )
            inner[i] += factor * a[i] * total
        return
    for j in range(n):
        shifted = cross_terms[2 * gap - n + 1 + j :]
        for i in range(inner.size):
            inner[i] += factor * a[i] * shifted[i]
