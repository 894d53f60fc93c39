"""ReLU and pooling on the CPU. Images are N H W C: a pixel's maps lie side by side in memory.

Max pooling keeps, for each output, which position of its window won (row * pool + column), or
pool * pool where ReLU blocks the gradient. Going back, each pixel asks the few windows that cover
it whether it won: no races, nothing to clear first, and the input is not needed again.
"""

# mypy: disable-error-code="no-untyped-def"

import numpy as np

from alexnet.kernels.cpu_threads import compiled

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
            unpool_row(out[image, y], pooled[image], positions[image], y, pool, stride)


@compiled
def avg_forward(first, last, x, out, pool, stride, relu_first):
    """out: the mean of the pixels inside each window, with ReLU before or after."""
    height, width = x.shape[1:3]
    for image in range(first, last):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                bottom, right = min(i * stride + pool, height), min(j * stride + pool, width)
                mean = out[image, i, j]
                mean[:] = 0
                for y in range(i * stride, bottom):
                    for x_ in range(j * stride, right):
                        _add(x[image, y, x_], mean, relu_first)
                _scale(mean, (bottom - i * stride) * (right - j * stride), not relu_first)


@compiled
def avg_backward(first, last, pooled, kept, out, pool, stride, relu_first):
    """out: the gradient of the input. `kept` is the input if ReLU came first, else the output."""
    height, width = out.shape[1:3]
    for image in range(first, last):
        for y in range(height):
            for x in range(width):
                gradient = out[image, y, x]
                gradient[:] = 0
                for i in range(*windows_over(y, pooled.shape[1], pool, stride)):
                    for j in range(*windows_over(x, pooled.shape[2], pool, stride)):
                        inside = min(pool, height - i * stride) * min(pool, width - j * stride)
                        alive = pooled[image, i, j] if relu_first else kept[image, i, j]
                        _add_share(gradient, pooled[image, i, j], alive, inside, relu_first)
                if relu_first:
                    block(gradient, kept[image, y, x])


@compiled
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


@compiled
def rectify(out, positions, dead):
    """ReLU of a row of maxima; where it blocks, the position becomes `dead`."""
    flat, where = out.reshape(-1), positions.reshape(-1)
    for c in range(flat.size):
        blocked = flat[c] <= 0
        flat[c] = np.float32(0) if blocked else flat[c]
        where[c] = dead if blocked else where[c]


@compiled
def unpool_row(gradient, pooled, positions, y, pool, stride):
    """The gradient of row y of an image (W C), from that of its maxima (H' W' C)."""
    for x in range(gradient.shape[0]):
        gradient[x] = 0
        for i in range(*windows_over(y, pooled.shape[0], pool, stride)):
            for j in range(*windows_over(x, pooled.shape[1], pool, stride)):
                here = (y - i * stride) * pool + x - j * stride
                _add_won(gradient[x], pooled[i, j], positions[i, j], here)


@compiled
def windows_over(y, windows, pool, stride):
    """The first window that covers y, and the first after it that does not."""
    return max(0, (y - pool + stride) // stride), min(windows, y // stride + 1)


@compiled
def block(gradient, x):
    """The gradient of ReLU, in place; a NaN in x blocks nothing and shows."""
    for c in range(gradient.size):
        gradient[c] = np.float32(0) if x[c] <= 0 else gradient[c]


@compiled
def _start(values, best, position):
    for c in range(best.size):
        best[c] = values[c]
        position[c] = 0


@compiled
def _take_larger(values, best, position, here):
    for c in range(best.size):
        value = values[c]
        larger = value > best[c] or value != value  # a NaN wins and stays, as in PyTorch
        best[c] = value if larger else best[c]
        position[c] = here if larger else position[c]


@compiled
def _add_won(gradient, pooled, positions, here):
    for c in range(gradient.size):
        gradient[c] += pooled[c] if positions[c] == here else np.float32(0)


@compiled
def _add(values, total, relu):
    if relu:
        for c in range(total.size):
            total[c] += np.float32(0) if values[c] <= 0 else values[c]
    else:
        for c in range(total.size):
            total[c] += values[c]


@compiled
def _scale(total, count, relu):
    share = total.dtype.type(1 / count)
    for c in range(total.size):
        mean = total[c] * share
        total[c] = np.float32(0) if relu and mean <= 0 else mean


@compiled
def _add_share(gradient, pooled, alive, count, always):
    share = gradient.dtype.type(1 / count)
    if always:
        for c in range(gradient.size):
            gradient[c] += pooled[c] * share
    else:
        for c in range(gradient.size):
            gradient[c] += np.float32(0) if alive[c] <= 0 else pooled[c] * share
