"""Response norm within each map on the CPU. Images are N H W C, seen as rows of W·C numbers.

A window's sum is taken in two steps: its n rows are added up, with room for the window beside
them, and n such sums, each a pixel (C numbers) further, are added up in turn.
"""

# mypy: disable-error-code="no-untyped-def"

import numpy as np

from alexnet.kernels.normalization.cpu import powers
from alexnet.kernels.runtime.cpu_threads import compiled, inlined

# alpha and k come in the type of the images: a Python float would widen float32 arithmetic.


@compiled
def forward(first, last, x, out, n, alpha, beta, k):
    """out = x / (k + alpha * the sums of squares) ** beta, of images first … last."""
    height, width, maps = x.shape[1:]
    line = np.empty((width + n - 1) * maps, x.dtype)
    base, power, inverse = np.empty((3, width * maps), x.dtype)
    for image in range(first, last):
        rows = x[image].reshape(height, -1)
        for y in range(height):
            _bases(rows, y, line, base, n, maps, alpha, k)
            powers(base, power, inverse, beta)
            row, target = rows[y], out[image, y].reshape(-1)
            for i in range(row.size):
                target[i] = row[i] * power[i]


@compiled
def backward(first, last, gradient, x, out, n, alpha, beta, k):
    """out: the gradient of x, from that of the outputs."""
    height, width, maps = x.shape[1:]
    line = np.empty((width + n - 1) * maps, x.dtype)
    base, power, inverse = np.empty((3, width * maps), x.dtype)
    across = np.empty((height, width * maps), x.dtype)
    factor = alpha * x.dtype.type(-2 * beta)
    for image in range(first, last):
        rows, results = x[image].reshape(height, -1), out[image].reshape(height, -1)
        for y in range(height):
            _bases(rows, y, line, base, n, maps, alpha, k)
            powers(base, power, inverse, beta)
            received = gradient[image, y].reshape(-1)
            _through(received, rows[y], power, inverse, results[y], across[y])
        for y in range(height):
            _add_rows(across, y, line, n - 1 - n // 2, n, maps, False)
            _add_columns(line, base, n, maps)
            row, result = rows[y], results[y]
            for i in range(row.size):
                result[i] += factor * row[i] * base[i]


@inlined
def _bases(rows, y, line, base, n, maps, alpha, k):
    """base = k + alpha * the sum of squares over the windows of row y."""
    _add_rows(rows, y, line, n // 2, n, maps, True)
    _add_columns(line, base, n, maps)
    for i in range(base.size):
        base[i] = k + alpha * base[i]


@inlined
def _add_rows(rows, y, line, low, n, maps, squared):
    """line: n rows from `low` above y added up, or their squares, after `low` pixels of zeros."""
    line[:] = 0
    sums = line[low * maps : low * maps + rows.shape[1]]
    for source in range(max(y - low, 0), min(y - low + n, rows.shape[0])):
        row = rows[source]
        if squared:
            for i in range(row.size):
                sums[i] += row[i] * row[i]
        else:
            for i in range(row.size):
                sums[i] += row[i]


@inlined
def _add_columns(line, sums, n, maps):
    """The sum of n neighboring pixels of the line, map by map."""
    sums[:] = 0
    for j in range(n):
        shifted = line[j * maps :]
        for i in range(sums.size):
            sums[i] += shifted[i]


@inlined
def _through(gradient, row, power, inverse, out, across):
    """The gradient along the pixel itself, and what it hands to the pixels of its window."""
    for i in range(row.size):
        out[i] = gradient[i] * power[i]
        across[i] = out[i] * row[i] * inverse[i]
