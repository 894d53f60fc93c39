"""ReLU and pooling on the CPU, in one pass over memory.

Arrays are images (N, H, W, C), in which the C channels of a pixel are adjacent. The innermost loop
of each function runs over channels, or over whole rows of W·C numbers, and is vectorized.
`cpu_windows` has the max pooling of a row, and explains argmax indices and the gathering backward
pass.

Average pooling is separable. Forward, the rows of a window are added up for all columns at once:

    rows of x    a a a a a a
                 b b b b b b
                 c c c c c c
                 ───────────
    column sums  s s s s s s      s = ReLU(a) + ReLU(b) + ReLU(c)
    outputs      └─o─┘            o = the mean of 3 of them; the next one starts `stride` further
                     └─o─┘

Backward, the same two steps run in reverse order.

Called by `operator` through `cpu_threads.run_on_batch`; each kernel processes the images
`first … stop - 1`.
"""

# mypy: disable-error-code="no-untyped-def"

import numpy as np

from alexnet.kernels.pooling.cpu_windows import (
    find_windows,
    gather_gradient,
    max_pool_row,
    rectify_row,
)
from alexnet.kernels.runtime.cpu_threads import compiled, inlined

# np.float32(0) below is a zero that promotes neither float32 nor float64 to another type.


@compiled
def max_forward(first, stop, x, out, argmax, pool, stride):
    """Fill out = ReLU(maximum of each window of x) and its argmax indices, both (N, H', W', C)."""
    for image in range(first, stop):
        for i in range(out.shape[1]):
            rows = i * stride, min(i * stride + pool, x.shape[1])
            max_pool_row(x[image], rows, out[image, i], argmax[image, i], pool, stride)
            rectify_row(out[image, i], argmax[image, i], pool * pool)


@compiled
def max_backward(first, stop, grad_out, argmax, grad_x, pool, stride):
    """Fill grad_x (N, H, W, C) from the gradient and the argmax indices of the outputs."""
    for image in range(first, stop):
        for y in range(grad_x.shape[1]):
            for x in range(grad_x.shape[2]):
                pixel = grad_x[image, y, x]
                gather_gradient(pixel, grad_out[image], argmax[image], y, x, pool, stride)


@compiled
def avg_forward(first, stop, x, out, pool, stride, relu_first):
    """Fill out (N, H', W', C): the mean of each window, with ReLU before it or after it."""
    height, width, channels = x.shape[1:]
    sums = np.empty(width * channels, x.dtype)  # of each column of the windows in a row
    for image in range(first, stop):
        for i in range(out.shape[1]):
            top, bottom = i * stride, min(i * stride + pool, height)
            sums[:] = 0
            for y in range(top, bottom):
                _add_row(x[image, y].reshape(-1), sums, relu_first)
            means = out[image, i].reshape(-1)
            for j in range(out.shape[2]):
                left, right = j * stride, min(j * stride + pool, width)
                share = x.dtype.type(1 / ((bottom - top) * (right - left)))
                _add_columns(sums, left, right, share, means, j, channels)
            if not relu_first:
                mask_by_relu(means, means)


@compiled
def avg_backward(first, stop, grad_out, kept, grad_x, pool, stride, relu_first):
    """Fill grad_x (N, H, W, C). `kept` is x if ReLU came before the pooling, else the output."""
    height, width, channels = grad_x.shape[1:]
    out_height, out_width = grad_out.shape[1:3]
    shares = np.empty(out_width * channels, grad_x.dtype)  # what a row gets from its windows
    for image in range(first, stop):
        for y in range(height):
            shares[:] = 0
            for i in range(*find_windows(y, out_height, pool, stride)):
                share = grad_x.dtype.type(1 / min(pool, height - i * stride))
                gradient = grad_out[image, i].reshape(-1)
                alive = gradient if relu_first else kept[image, i].reshape(-1)
                _add_share(shares, gradient, alive, share, relu_first)
            row = grad_x[image, y].reshape(-1)
            row[:] = 0
            for j in range(out_width):
                left, right = j * stride, min(j * stride + pool, width)
                share = grad_x.dtype.type(1 / (right - left))
                _spread_to_columns(shares, j, row, left, right, share, channels)
            if relu_first:
                mask_by_relu(row, kept[image, y].reshape(-1))


@inlined
def mask_by_relu(gradient, x):
    """Set the gradient to 0 where ReLU blocks it, in place. Where x is NaN it passes."""
    for c in range(gradient.size):
        gradient[c] = np.float32(0) if x[c] <= 0 else gradient[c]


@inlined
def _add_row(row, sums, relu):
    """sums += row, or ReLU(row)."""
    if relu:
        for c in range(sums.size):
            sums[c] += np.float32(0) if row[c] <= 0 else row[c]
    else:
        for c in range(sums.size):
            sums[c] += row[c]


@inlined
def _add_columns(sums, left, right, share, means, j, channels):
    """Output j of `means` = share * (the pixels left … right - 1 of `sums` added up)."""
    for c in range(channels):
        means[j * channels + c] = sums[left * channels + c] * share
    for x in range(left + 1, right):
        for c in range(channels):
            means[j * channels + c] += sums[x * channels + c] * share


@inlined
def _spread_to_columns(shares, j, row, left, right, share, channels):
    """Add share * (output j of `shares`) to the pixels left … right - 1 of `row`."""
    for x in range(left, right):
        for c in range(channels):
            row[x * channels + c] += shares[j * channels + c] * share


@inlined
def _add_share(total, gradient, alive, share, relu_first):
    """total += gradient * share; if ReLU came last, except where it blocked the output `alive`."""
    if relu_first:
        for c in range(total.size):
            total[c] += gradient[c] * share
    else:
        for c in range(total.size):
            total[c] += np.float32(0) if alive[c] <= 0 else gradient[c] * share
