"""The matrices of Winograd's method, written out: sums that two rows share are added once.

Each function multiplies column j of a tile by its matrix, for n maps at once, and writes row j of
another: points × points × maps. Twice that, and the tile is multiplied from both sides. A test
holds each to its matrix, `cook_toom.transforms`; the factors are exact in float32.
"""

# mypy: disable-error-code="no-untyped-def"

import numpy as np

from alexnet.kernels.runtime.cpu_threads import inlined

f = np.float32
"""A Python float would widen float32 arithmetic."""


# Filters of 3×3: the points 0, 1, -1, ½, -2 and infinity.


@inlined
def read_3(d, out, j, n):
    """Bᵀ times column j, into row j."""
    for c in range(n):
        d1, d2, d3, d4 = d[1, j, c], d[2, j, c], d[3, j, c], d[4, j, c]
        out[j, 0, c] = d[0, j, c] + f(1.5) * (d3 - d1) - f(2) * d2 + d4
        out[j, 1, c] = f(0.5) * (d4 - d1) + f(0.25) * d2 + f(1.25) * d3
        out[j, 2, c] = f(0.5) * (d4 + d1) - f(1.25) * d2 + f(0.25) * d3
        out[j, 3, c] = f(2) * (d3 - d1) + (d4 - d2)
        out[j, 4, c] = f(0.5) * (d4 - d2) - f(0.25) * (d3 - d1)
        out[j, 5, c] = d1 + f(1.5) * (d4 - d2) - f(2) * d3 + d[5, j, c]


@inlined
def unread_3(d, out, j, n):
    """B times column j, into row j."""
    for c in range(n):
        d0, d1, d2 = d[0, j, c], d[1, j, c], d[2, j, c]
        d3, d4, d5 = d[3, j, c], d[4, j, c], d[5, j, c]
        near, far = f(0.5) * (d1 + d2), f(0.25) * d4
        out[j, 0, c] = d0
        out[j, 1, c] = f(0.5) * (d2 - d1) - f(1.5) * d0 - f(2) * d3 + far + d5
        out[j, 2, c] = f(0.25) * d1 - f(1.25) * d2 - f(2) * (d0 + far) - d3 - f(1.5) * d5
        out[j, 3, c] = f(1.5) * d0 + f(1.25) * d1 + f(0.25) * d2 + f(2) * (d3 - d5) - far
        out[j, 4, c] = d0 + near + d3 + f(2) * far + f(1.5) * d5
        out[j, 5, c] = d5


@inlined
def write_3(d, out, j, n):
    """Aᵀ times column j, into row j."""
    for c in range(n):
        d3, d4 = d[3, j, c], d[4, j, c]
        even, odd = d[1, j, c] + d[2, j, c], d[1, j, c] - d[2, j, c]
        out[j, 0, c] = d[0, j, c] + even + d3 + d4
        out[j, 1, c] = odd + f(0.5) * d3 - f(2) * d4
        out[j, 2, c] = even + f(0.25) * d3 + f(4) * d4
        out[j, 3, c] = odd + f(0.125) * d3 - f(8) * d4 + d[5, j, c]


@inlined
def unwrite_3(d, out, j, n):
    """A times column j, into row j."""
    for c in range(n):
        d0, d1, d2, d3 = d[0, j, c], d[1, j, c], d[2, j, c], d[3, j, c]
        even, odd = d0 + d2, d1 + d3
        out[j, 0, c] = d0
        out[j, 1, c] = even + odd
        out[j, 2, c] = even - odd
        out[j, 3, c] = d0 + f(0.5) * d1 + f(0.25) * d2 + f(0.125) * d3
        out[j, 4, c] = d0 - f(2) * d1 + f(4) * d2 - f(8) * d3
        out[j, 5, c] = d3


# Filters of 5×5: the points 0, ±1, ±½, ±2 and infinity. Even and odd powers make the pairs.


@inlined
def read_5(d, out, j, n):
    """Bᵀ times column j, into row j."""
    for c in range(n):
        d1, d2, d3 = d[1, j, c], d[2, j, c], d[3, j, c]
        d4, d5, d6 = d[4, j, c], d[5, j, c], d[6, j, c]
        out[j, 0, c] = f(0.5) * (d6 - d[0, j, c]) + f(2.625) * (d2 - d4)
        out[j, 7, c] = f(0.5) * (d[7, j, c] - d1) + f(2.625) * (d3 - d5)
        even = f(0.25) * (d2 + d6) - f(1.0625) * d4
        odd = f(0.25) * (d1 + d5) - f(1.0625) * d3
        out[j, 1, c] = even + odd
        out[j, 2, c] = even - odd
        even = f(2) * d2 - f(2.5) * d4 + f(0.5) * d6
        odd = d1 - f(1.25) * d3 + f(0.25) * d5
        out[j, 3, c] = even + odd
        out[j, 4, c] = even - odd
        even = f(0.0625) * d2 - f(0.3125) * d4 + f(0.25) * d6
        odd = f(0.125) * d1 - f(0.625) * d3 + f(0.5) * d5
        out[j, 5, c] = even + odd
        out[j, 6, c] = even - odd


@inlined
def unread_5(d, out, j, n):
    """B times column j, into row j."""
    for c in range(n):
        d0, d7 = d[0, j, c], d[7, j, c]
        even1, odd1 = d[1, j, c] + d[2, j, c], d[1, j, c] - d[2, j, c]
        even2, odd2 = d[3, j, c] + d[4, j, c], d[3, j, c] - d[4, j, c]
        even3, odd3 = d[5, j, c] + d[6, j, c], d[5, j, c] - d[6, j, c]
        out[j, 0, c] = f(-0.5) * d0
        out[j, 1, c] = f(0.25) * odd1 + odd2 + f(0.125) * odd3 - f(0.5) * d7
        out[j, 2, c] = f(2.625) * d0 + f(0.25) * even1 + f(2) * even2 + f(0.0625) * even3
        out[j, 3, c] = f(2.625) * d7 - f(1.0625) * odd1 - f(1.25) * odd2 - f(0.625) * odd3
        out[j, 4, c] = f(-2.625) * d0 - f(1.0625) * even1 - f(2.5) * even2 - f(0.3125) * even3
        out[j, 5, c] = f(0.25) * (odd1 + odd2) + f(0.5) * odd3 - f(2.625) * d7
        out[j, 6, c] = f(0.5) * (d0 + even2) + f(0.25) * (even1 + even3)
        out[j, 7, c] = f(0.5) * d7


@inlined
def write_5(d, out, j, n):
    """Aᵀ times column j, into row j."""
    for c in range(n):
        even1, odd1 = d[1, j, c] + d[2, j, c], d[1, j, c] - d[2, j, c]
        even2, odd2 = d[3, j, c] + d[4, j, c], d[3, j, c] - d[4, j, c]
        even3, odd3 = d[5, j, c] + d[6, j, c], d[5, j, c] - d[6, j, c]
        out[j, 0, c] = d[0, j, c] + even1 + even2 + even3
        out[j, 1, c] = odd1 + f(0.5) * odd2 + f(2) * odd3
        out[j, 2, c] = even1 + f(0.25) * even2 + f(4) * even3
        out[j, 3, c] = odd1 + f(0.125) * odd2 + f(8) * odd3 + d[7, j, c]


@inlined
def unwrite_5(d, out, j, n):
    """A times column j, into row j."""
    for c in range(n):
        d0, d1, d2, d3 = d[0, j, c], d[1, j, c], d[2, j, c], d[3, j, c]
        out[j, 0, c] = d0
        even, odd = d0 + d2, d1 + d3
        out[j, 1, c] = even + odd
        out[j, 2, c] = even - odd
        even, odd = d0 + f(0.25) * d2, f(0.5) * d1 + f(0.125) * d3
        out[j, 3, c] = even + odd
        out[j, 4, c] = even - odd
        even, odd = d0 + f(4) * d2, f(2) * d1 + f(8) * d3
        out[j, 5, c] = even + odd
        out[j, 6, c] = even - odd
        out[j, 7, c] = d3
