"""Max pooling of one row and its backward pass for one pixel, on the CPU.

Inlined into the kernels of pooling and of normalization, which pools what it has normalized.

The argmax index of an output is the position of its maximum in the window, row * pool + column.
Where ReLU blocks the gradient, because the maximum is not positive, it is pool * pool, which is not
the index of a position:

    pool 3    0 1 2       9: blocked
              3 4 5
              6 7 8

It takes one byte (`layout.allocate_pooled`), while PyTorch stores the index of the pixel in 8
bytes. With it, the backward pass needs neither the input nor the output.

The backward pass gathers: each pixel adds up the gradients of the windows in which it is the
maximum. So threads never write to the same pixel, and the gradient need not be zeroed beforehand.
A pixel is covered by at most ceil(pool / stride) windows in each direction:

    pool 3, stride 2     x          0 1 2 3 4
                         window 0   └───┘         x = 2 is at column 2 of window 0
                         window 1       └───┘                and column 0 of window 1
"""

# mypy: disable-error-code="no-untyped-def"

import numpy as np

from alexnet.kernels.runtime.cpu_threads import inlined

# np.float32(0) below is a zero that promotes neither float32 nor float64 to another type.


@inlined
def max_pool_row(image, rows, out, argmax, pool, stride):
    """Pool one row of windows: fill `out` and `argmax`, both (W', C), from `image` (H, W, C).

    `rows` are the first row of the windows and the end. Row y of the image is read at index
    y % len(image), so that `image` may be a ring buffer of rows.
    """
    top, bottom = rows
    for j in range(out.shape[0]):
        left, right = j * stride, min(j * stride + pool, image.shape[1])
        _start_max(image[top % image.shape[0], left], out[j], argmax[j])
        for y in range(top, bottom):
            for x in range(left, right):
                position = (y - top) * pool + x - left
                if position > 0:
                    _update_max(image[y % image.shape[0], x], out[j], argmax[j], position)


@inlined
def _start_max(values, maximum, argmax):
    """Let the pixel at position 0 of a window be the maximum."""
    for c in range(maximum.size):
        maximum[c] = values[c]
        argmax[c] = 0


@inlined
def _update_max(values, maximum, argmax, position):
    """Let the pixel at `position` be the maximum where it is larger, or NaN, as in PyTorch."""
    for c in range(maximum.size):
        value = values[c]
        larger = value > maximum[c] or value != value
        maximum[c] = value if larger else maximum[c]
        argmax[c] = position if larger else argmax[c]


@inlined
def rectify_row(out, argmax, blocked_position):
    """ReLU of a row of maxima, in place; where it blocks, the index becomes `blocked_position`."""
    maxima, indices = out.reshape(-1), argmax.reshape(-1)
    for c in range(maxima.size):
        blocked = maxima[c] <= 0
        maxima[c] = np.float32(0) if blocked else maxima[c]
        indices[c] = blocked_position if blocked else indices[c]


@inlined
def gather_gradient(grad_pixel, grad_out, argmax, y, x, pool, stride):
    """Fill the gradient (C) of pixel y, x from that of the maxima (H', W', C) of its image."""
    grad_pixel[:] = 0
    for i in range(*find_windows(y, grad_out.shape[0], pool, stride)):
        for j in range(*find_windows(x, grad_out.shape[1], pool, stride)):
            position = (y - i * stride) * pool + x - j * stride
            _add_where_maximal(grad_pixel, grad_out[i, j], argmax[i, j], position)


@inlined
def _add_where_maximal(grad_pixel, grad_window, argmax, position):
    """Add the gradients of those channels of a window whose maximum is at `position`."""
    for c in range(grad_pixel.size):
        grad_pixel[c] += grad_window[c] if argmax[c] == position else np.float32(0)


@inlined
def find_windows(y, windows, pool, stride):
    """Return the first window that covers row (or column) y, and the end of those that do."""
    return max(0, (y - pool + stride) // stride), min(windows, y // stride + 1)
