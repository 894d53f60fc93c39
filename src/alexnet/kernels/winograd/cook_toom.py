"""The matrices of Winograd's convolutions, by Cook and Toom: products of polynomials, at points.

A product of polynomials is known when its values at enough points are, and each value is a single
multiplication. Filters and outputs are the coefficients of two such, and what a convolution does is
the transpose of multiplying them. The points are those whose matrices round little (as in arXiv
1803.10986).
"""

from functools import cache

import numpy as np

OUTPUTS = 4
"""A tile has so many outputs a side."""

POINTS = {3: (0, 1, -1, 0.5, -2), 5: (0, 1, -1, 0.5, -0.5, 2, -2)}
"""Where the polynomials are known, besides infinity, for filters of 3×3 and 5×5."""


@cache
def transforms(kernel: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Aᵀ (4 × t), G (t × kernel) and Bᵀ (t × t), where t = kernel + 3, in float64.

    Row j of A holds the powers of point j; of G the same, divided by the product of the point's
    distances from the others; of Bᵀ the polynomial that is zero at the others. Powers of two are
    moved between the last two, so that both have numbers of like sizes.
    """
    points = np.array(POINTS[kernel])
    size = len(points) + 1
    a, g, b = np.zeros((size, OUTPUTS)), np.zeros((size, kernel)), np.zeros((size, size))
    for j, point in enumerate(points):
        others = np.delete(points, j)
        a[j], g[j] = point ** np.arange(OUTPUTS), point ** np.arange(kernel)
        g[j] /= np.prod(point - others)
        b[j, :-1] = np.poly(others)[::-1]
    a[-1, -1] = g[-1, -1] = 1  # the point at infinity
    b[-1] = np.poly(points)[::-1]
    scale = 2.0 ** np.round(np.log2(np.abs(b).max(1) / np.abs(g).max(1)) / 2)[:, None]
    return a.T, g * scale, b / scale
