"""ReLU, response norm and max pool in one pass over memory on the CPU. Images are N H W C.

A row of pixels is spread out with n // 2 zeros around every tower's maps, so that the sum over n
neighbors is n shifted loads without borders. Only `pool` normalized rows exist at a time, in a
ring; going back they are computed again, which is cheaper than to have written and read them.
"""

# mypy: disable-error-code="no-untyped-def"

import numpy as np

from alexnet.kernels.cpu_pool import block, max_row, rectify, unpool_row
from alexnet.kernels.cpu_threads import compiled, part

# alpha and k come in the type of the images: a Python float would widen float32 arithmetic.


@compiled
def forward(first, last, x, out, positions, n, alpha, beta, k, towers, pool, stride, relu):
    """out and positions, N H' W' C, of images first … last. relu: "first", "last" or "none"."""
    height, width, maps = x.shape[1:]
    rows = _zero_rows(3, width * towers, maps // towers, n, x)
    row, base, power = rows[0], rows[1], rows[2]
    ring = np.empty((pool, width, maps), x.dtype)
    for image in range(first, last):
        done = 0
        for i in range(out.shape[1]):
            top, bottom = i * stride, min(i * stride + pool, height)
            for y in range(max(done, top), bottom):
                _spread(x[image, y], row, towers, n, relu == "first")
                _bases(row, base, n, alpha, k)
                powers(base, power, beta)
                _multiply(row, power)
                _gather(power, ring[y % pool], towers, n)
            done = bottom
            max_row(ring, (top, bottom), out[image, i], positions[image, i], pool, stride)
            if relu != "none":
                rectify(out[image, i], positions[image, i], pool * pool)


@compiled
def backward(first, last, pooled, x, positions, out, n, alpha, beta, k, towers, pool, stride, relu):
    """out: the gradient of x, from `pooled`, that of the outputs."""
    height, width, maps = x.shape[1:]
    rows = _zero_rows(5, width * towers, maps // towers, n, x)
    row, base, power, gradient, across = rows[0], rows[1], rows[2], rows[3], rows[4]
    won = np.empty((width, maps), x.dtype)
    for image in range(first, last):
        for y in range(height):
            unpool_row(won, pooled[image], positions[image], y, pool, stride)
            _spread(won, gradient, towers, n, False)
            _spread(x[image, y], row, towers, n, relu == "first")
            _bases(row, base, n, alpha, k)
            powers(base, power, beta)
            _through(row, base, power, gradient, across)
            _add_sums(across, row, gradient, n, alpha * x.dtype.type(-2 * beta))
            _gather(gradient, out[image, y], towers, n)
            if relu == "first":
                block(out[image, y].reshape(-1), x[image, y].reshape(-1))


@part
def _zero_rows(count, groups, size, n, like):
    """Rows with room for `groups` groups of `size` maps, n // 2 zeros before, between and after."""
    return np.zeros((count, n // 2 + groups * (size + n // 2)), like.dtype)


@part
def _spread(pixels, row, towers, n, relu):
    """Copy the pixels (W C) into the row, each tower's maps to its place."""
    size, gap, flat = pixels.shape[1] // towers, n // 2, pixels.reshape(-1)
    for group in range(pixels.shape[0] * towers):
        source, target = group * size, gap + group * (size + gap)
        if relu:
            for c in range(size):
                value = flat[source + c]
                row[target + c] = np.float32(0) if value <= 0 else value
        else:
            for c in range(size):
                row[target + c] = flat[source + c]


@part
def _gather(row, pixels, towers, n):
    """The other way: the row without its zeros."""
    size, gap, flat = pixels.shape[1] // towers, n // 2, pixels.reshape(-1)
    for group in range(pixels.shape[0] * towers):
        target, source = group * size, gap + group * (size + gap)
        for c in range(size):
            flat[target + c] = row[source + c]


@part
def _bases(row, base, n, alpha, k):
    """base = k + alpha * the sum of squares over n maps, from n // 2 below."""
    gap = n // 2
    base[:] = k
    inner = base[gap : base.size - gap]
    if n == 5:  # the paper's: in one go
        for i in range(inner.size):
            a, b, c, d, e = row[i], row[i + 1], row[i + 2], row[i + 3], row[i + 4]
            inner[i] = k + alpha * (a * a + b * b + c * c + d * d + e * e)
        return
    for j in range(n):
        shifted = row[j:]
        for i in range(inner.size):
            inner[i] += alpha * shifted[i] * shifted[i]


@part
def powers(base, power, beta):
    """power = base ** -beta. Only roots and quotients are vectorized: other powers are slow."""
    if beta == 0.75:
        for i in range(base.size):
            root = np.float32(1) / np.sqrt(base[i])
            power[i] = root * np.sqrt(root)
    elif beta == 0.5:
        for i in range(base.size):
            power[i] = np.float32(1) / np.sqrt(base[i])
    elif beta == 1:
        for i in range(base.size):
            power[i] = np.float32(1) / base[i]
    else:
        for i in range(base.size):
            power[i] = base[i] ** base.dtype.type(-beta)


@part
def _multiply(row, power):
    for i in range(row.size):
        power[i] *= row[i]


@part
def _through(row, base, power, gradient, across):
    """The gradient along the map itself, and what it hands to the maps of its window."""
    for i in range(row.size):
        gradient[i] *= power[i]
        across[i] = gradient[i] * row[i] / base[i]


@part
def _add_sums(across, row, gradient, n, factor):
    """gradient += factor * row * the sum of `across` over the maps whose window holds this one."""
    gap = n // 2
    inner, here = gradient[gap : row.size - gap], row[gap : row.size - gap]
    if n == 5:
        for i in range(inner.size):
            total = across[i] + across[i + 1] + across[i + 2] + across[i + 3] + across[i + 4]
            inner[i] += factor * here[i] * total
        return
    for j in range(n):
        shifted = across[2 * gap - n + 1 + j :]
        for i in range(inner.size):
            inner[i] += factor * here[i] * shifted[i]
