"""The matrices of Winograd's method, F(m×m, r×r), by the Toom–Cook construction.

The product of two polynomials is determined by its values at enough points, and each value costs
one multiplication. For a filter with the coefficients of a polynomial g, one-dimensional
convolution is the transpose of the linear map x ↦ g·x, where x has as many coefficients as there
are outputs. With matrices that evaluate and interpolate the polynomials, F(m, r) is

    y = Aᵀ [(G g) ⊙ (Bᵀ d)]        y: m outputs, g: r filter taps, d: t = m + r - 1 inputs

    Aᵀ is m × t, G is t × r, Bᵀ is t × t; ⊙ multiplies t pairs of numbers instead of m·r

(Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv 1509.09308). The points
are chosen for small rounding errors (Barabasz et al., arXiv 1803.10986). The entries of Aᵀ and Bᵀ
are exact in float32.

`reference`, `cpu` and `cpu_tiles` import this module; it imports NumPy only.
"""

from functools import cache

import numpy as np

OUTPUT_TILE = 4
"""m: the side of an output tile."""

POINTS = {3: (0, 1, -1, 0.5, -2), 5: (0, 1, -1, 0.5, -0.5, 2, -2)}
"""r, the side of the filters → the finite interpolation points; infinity is added to them."""


def tile_side(kernel: int) -> int:
    """Return t = m + r - 1, the side of an input tile, for filters of side r = `kernel`."""
    return OUTPUT_TILE + kernel - 1


@cache
def build_matrices(kernel: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Aᵀ (m × t), G (t × r) and Bᵀ (t × t) in float64, for filters of side r = `kernel`.

    Row j of A holds the powers of point j. Row j of G holds the same powers divided by the product
    of the differences between point j and the other points. Row j of Bᵀ holds the coefficients of
    the monic polynomial whose roots are the other points. The last row of each is that of the point
    at infinity. Each row of G is multiplied by a power of two, and the same row of Bᵀ divided by
    it, so that their entries have similar magnitudes.
    """
    points = np.array(POINTS[kernel])
    t = tile_side(kernel)
    A, G, BT = np.zeros((t, OUTPUT_TILE)), np.zeros((t, kernel)), np.zeros((t, t))
    for j, point in enumerate(points):
        others = np.delete(points, j)
        A[j], G[j] = point ** np.arange(OUTPUT_TILE), point ** np.arange(kernel)
        G[j] /= np.prod(point - others)
        BT[j, :-1] = np.poly(others)[::-1]
    A[-1, -1] = G[-1, -1] = 1
    BT[-1] = np.poly(points)[::-1]
    scale = 2.0 ** np.round(np.log2(np.abs(BT).max(1) / np.abs(G).max(1)) / 2)[:, None]
    return A.T, G * scale, BT / scale
