"""Local response normalization within each channel on the CPU.

An image (H, W, C) is read as H rows of W·C numbers; the pixels of a row are C numbers apart. Sums
over windows of n × n pixels are separable. First, n rows are added up element by element into
a line that is padded with zeros on both sides. Then n copies of the line are added up, each shifted
by one more pixel:

    n = 3, C = 1        row y - 1      a a a a
                        row y          b b b b
                        row y + 1      c c c c
                                       ───────
                        line         0 s s s s 0     s = a² + b² + c²
                        shifted by 0 └─────┘
                        shifted by 1   └─────┘       base = k + alpha * the sum of the three
                        shifted by 2     └─────┘

The backward pass is that of `normalization.cpu`, with pixels instead of channels: a pointwise part,
and cross terms that are added up over the windows that hold a pixel, by the same two steps.

Called by `operator` through `cpu_threads.run_on_batch`; each kernel processes the images
`first … stop - 1`. alpha and k have the dtype of the images: a Python float would turn float32
arithmetic into float64.
"""

# mypy: disable-error-code="no-untyped-def"

import numpy as np

from alexnet.kernels.normalization.cpu_powers import compute_powers
from alexnet.kernels.runtime.cpu_threads import compiled, inlined


@compiled
def forward(first, stop, x, out, n, alpha, beta, k):
    """Fill out (N, H, W, C) = x / (k + alpha * sum of x² over the window) ** beta."""
    height, width, channels = x.shape[1:]
    line = np.empty((width + n - 1) * channels, x.dtype)
    base, power, inverse = np.empty((3, width * channels), x.dtype)
    for image in range(first, stop):
        rows = x[image].reshape(height, -1)
        for y in range(height):
            _compute_bases(rows, y, line, base, n, channels, alpha, k)
            compute_powers(base, power, inverse, beta)
            row, target = rows[y], out[image, y].reshape(-1)
            for i in range(row.size):
                target[i] = row[i] * power[i]


@compiled
def backward(first, stop, grad_out, x, grad_x, n, alpha, beta, k):
    """Fill grad_x (N, H, W, C) from the gradient of the outputs."""
    height, width, channels = x.shape[1:]
    line = np.empty((width + n - 1) * channels, x.dtype)
    base, power, inverse = np.empty((3, width * channels), x.dtype)
    cross_terms = np.empty((height, width * channels), x.dtype)
    factor = alpha * x.dtype.type(-2 * beta)
    for image in range(first, stop):
        rows, results = x[image].reshape(height, -1), grad_x[image].reshape(height, -1)
        for y in range(height):
            _compute_bases(rows, y, line, base, n, channels, alpha, k)
            compute_powers(base, power, inverse, beta)
            received = grad_out[image, y].reshape(-1)
            _backward_pointwise(received, rows[y], power, inverse, results[y], cross_terms[y])
        for y in range(height):
            _add_rows(cross_terms, y, line, n - 1 - n // 2, n, channels, False)
            _add_shifted(line, base, n, channels)
            row, result = rows[y], results[y]
            for i in range(row.size):
                result[i] += factor * row[i] * base[i]


@inlined
def _compute_bases(rows, y, line, base, n, channels, alpha, k):
    """base = k + alpha * the sum of squares over the windows of row y."""
    _add_rows(rows, y, line, n // 2, n, channels, True)
    _add_shifted(line, base, n, channels)
    for i in range(base.size):
        base[i] = k + alpha * base[i]


@inlined
def _add_rows(rows, y, line, low, n, channels, squared):
    """Add up n rows, or their squares, from `low` above y on, behind `low` pixels of zeros."""
    line[:] = 0
    sums = line[low * channels : low * channels + rows.shape[1]]
    for source in range(max(y - low, 0), min(y - low + n, rows.shape[0])):
        row = rows[source]
        if squared:
            for i in range(row.size):
                sums[i] += row[i] * row[i]
        else:
            for i in range(row.size):
                sums[i] += row[i]


@inlined
def _add_shifted(line, sums, n, channels):
    """sums = n copies of the line added up, each shifted by one more pixel."""
    sums[:] = 0
    for j in range(n):
        shifted = line[j * channels :]
        for i in range(sums.size):
            sums[i] += shifted[i]


@inlined
def _backward_pointwise(gradient, row, power, inverse, out, cross_terms):
    """Fill `out`, the gradient through the numerator, and the cross terms of the denominator."""
    for i in range(row.size):
        out[i] = gradient[i] * power[i]
        cross_terms[i] = out[i] * row[i] * inverse[i]
