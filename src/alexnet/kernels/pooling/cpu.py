"""ReLU and pooling on the CPU. Images are N H W C: a pixel's maps lie side by side in memory.

Max pooling keeps, for each output, which position of its window won (row * pool + column), or
pool * pool where ReLU blocks the gradient. Going back, each pixel asks the few windows that cover
it whether it won: no races, nothing to clear first, and the input is not needed again.
"""

# mypy: disable-error-code="no-untyped-def"

import numpy as np

from alexnet.kernels.runtime.cpu_threads import compiled, inlined

# np.float32(0) below is a zero that widens neither float32 nor float64.


@compiled
def max_forward(first, last, x, out, positions, pool, stride):
    """out = ReLU(max over each window of x) and its positions, both N H' W' C."""
    for image in range(first, last):
        for i in range(out.shape[1]):
            rows = i * stride, min(i * stride + pool, x.shape[1])
            max_row(x[image], rows, out[image, i], positions[image, i], pool, stride)
            rectify(out[image, i], positions[image, i], pool * pool)


@compiled
def max_backward(first, last, pooled, positions, out, pool, stride):
    """out: the gradient N H W C of the input, from `pooled`, that of the outputs."""
    for image in range(first, last):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                unpool(out[image, y, x], pooled[image], positions[image], y, x, pool, stride)


@compiled
def avg_forward(first, last, x, out, pool, stride, relu_first):
    """out: the mean of the pixels inside each window, with ReLU before or after."""
    height, width, maps = x.shape[1:]
    column = np.empty(width * maps, x.dtype)  # the sums down the window, of a row of pixels
    for image in range(first, last):
        for i in range(out.shape[1]):
            top, bottom = i * stride, min(i * stride + pool, height)
            column[:] = 0
            for y in range(top, bottom):
                _add(x[image, y].reshape(-1), column, relu_first)
            means = out[image, i].reshape(-1)
            for j in range(out.shape[2]):
                left, right = j * stride, min(j * stride + pool, width)
                share = x.dtype.type(1 / ((bottom - top) * (right - left)))
                _add_pixels(column, left, right, share, means, j, maps)
            if not relu_first:
                block(means, means)


@compiled
def avg_backward(first, last, pooled, kept, out, pool, stride, relu_first):
    """out: the gradient of the input. `kept` is the input if ReLU came first, else the output."""
    height, width, maps = out.shape[1:]
    high, wide = pooled.shape[1:3]
    column = np.empty(wide * maps, out.dtype)  # what the windows over a row of pixels hand it
    for image in range(first, last):
        for y in range(height):
            column[:] = 0
            for i in range(*windows_over(y, high, pool, stride)):
                share = out.dtype.type(1 / min(pool, height - i * stride))
                gradient = pooled[image, i].reshape(-1)
                alive = gradient if relu_first else kept[image, i].reshape(-1)
                _add_share(column, gradient, alive, share, relu_first)
            row = out[image, y].reshape(-1)
            row[:] = 0
            for j in range(wide):
                left, right = j * stride, min(j * stride + pool, width)
                _spread_pixel(column, j, row, left, right, out.dtype.type(1 / (right - left)), maps)
            if relu_first:
                block(row, kept[image, y].reshape(-1))


@inlined
def max_row(image, rows, out, positions, pool, stride):
    """One row of outputs. Row y of the image is at y % (number of rows held): a ring will do."""
    top, bottom = rows
    for j in range(out.shape[0]):
        left, right = j * stride, min(j * stride + pool, image.shape[1])
        _start(image[top % image.shape[0], left], out[j], positions[j])
        for y in range(top, bottom):
            for x in range(left, right):
                here = (y - top) * pool + x - left
                if here > 0:
                    _take_larger(image[y % image.shape[0], x], out[j], positions[j], here)


@inlined
def rectify(out, positions, dead):
    """ReLU of a row of maxima; where it blocks, the position becomes `dead`."""
    flat, where = out.reshape(-1), positions.reshape(-1)
    for c in range(flat.size):
        blocked = flat[c] <= 0
        flat[c] = np.float32(0) if blocked else flat[c]
        where[c] = dead if blocked else where[c]


@inlined
def unpool(gradient, pooled, positions, y, x, pool, stride):
    """The gradient of pixel y, x of an image (C), from that of its maxima (H' W' C)."""
    gradient[:] = 0
    for i in range(*windows_over(y, pooled.shape[0], pool, stride)):
        for j in range(*windows_over(x, pooled.shape[1], pool, stride)):
            here = (y - i * stride) * pool + x - j * stride
            _add_won(gradient, pooled[i, j], positions[i, j], here)


@inlined
def windows_over(y, windows, pool, stride):
    """The first window that covers y, and the first after it that does not."""
    return max(0, (y - pool + stride) // stride), min(windows, y // stride + 1)


@inlined
def block(gradient, x):
    """The gradient of ReLU, in place; a NaN in x blocks nothing and shows."""
    for c in range(gradient.size):
        gradient[c] = np.float32(0) if x[c] <= 0 else gradient[c]


@inlined
def _start(values, best, position):
    for c in range(best.size):
        best[c] = values[c]
        position[c] = 0


@inlined
def _take_larger(values, best, position, here):
    for c in range(best.size):
        value = values[c]
        larger = value > best[c] or value != value  # a NaN wins and stays, as in PyTorch
        best[c] = value if larger else best[c]
        position[c] = here if larger else position[c]


@inlined
def _add_won(gradient, pooled, positions, here):
    for c in range(gradient.size):
        gradient[c] += pooled[c] if positions[c] == here else np.float32(0)


@inlined
def _add(values, total, relu):
    if relu:
        for c in range(total.size):
            total[c] += np.float32(0) if values[c] <= 0 else values[c]
    else:
        for c in range(total.size):
            total[c] += values[c]


@inlined
def _add_pixels(column, left, right, share, means, j, maps):
    """means of pixel j = share * the sum of the pixels left … right of the column sums."""
    for c in range(maps):
        means[j * maps + c] = column[left * maps + c] * share
    for x in range(left + 1, right):
        for c in range(maps):
            means[j * maps + c] += column[x * maps + c] * share


@inlined
def _spread_pixel(column, j, row, left, right, share, maps):
    for x in range(left, right):
        for c in range(maps):
            row[x * maps + c] += column[j * maps + c] * share


@inlined
def _add_share(total, gradient, alive, share, always):
    """total += gradient * share, where ReLU let the output through or came `always` before."""
    if always:
        for c in range(total.size):
            total[c] += gradient[c] * share
    else:
        for c in range(total.size):
            total[c] += np.float32(0) if alive[c] <= 0 else gradient[c] * share
