"""The products with Winograd's matrices Aᵀ, A, Bᵀ and B, written out as sums.

A sum that two rows of a matrix share is computed once. Each function multiplies column j of a tile
(rows × columns × channels) by its matrix, for n channels at once, and writes the product as row j
of `out`, that is, transposed. Applied twice, it therefore gives matrix · tile · matrixᵀ:

    d                          out
    ┌───┬───┬───┐              ┌───────────┐
    │   │ j │   │   matrix ·   │           │        first   out = (matrix · d)ᵀ
    │   │   │   │   ───────►   ├───────────┤        again   out = (matrix · (matrix · d)ᵀ)ᵀ
    │   │   │   │              │     j     │                    = matrix · d · matrixᵀ
    └───┴───┴───┘              └───────────┘

`cpu_tiles` calls them; a test compares each with its matrix of `cook_toom`. The factors are exact
in float32. d0 … d7 are the numbers of the column. For a pair of points x and -x, `even` is the part
of the sum that is equal for both, and `odd` the part that has the opposite sign.
"""

# mypy: disable-error-code="no-untyped-def"

import numpy as np

from alexnet.kernels.runtime.cpu_threads import inlined

f = np.float32
"""A Python float would promote float32 arithmetic to float64."""


# F(4×4, 3×3), t = 6: the points 0, 1, -1, ½, -2 and infinity.


@inlined
def transform_input_3x3(d, out, j, n):
    """Write Bᵀ · column j of `d` as row j of `out`."""
    for c in range(n):
        d1, d2, d3, d4 = d[1, j, c], d[2, j, c], d[3, j, c], d[4, j, c]
        out[j, 0, c] = d[0, j, c] + f(1.5) * (d3 - d1) - f(2) * d2 + d4
        out[j, 1, c] = f(0.5) * (d4 - d1) + f(0.25) * d2 + f(1.25) * d3
        out[j, 2, c] = f(0.5) * (d4 + d1) - f(1.25) * d2 + f(0.25) * d3
        out[j, 3, c] = f(2) * (d3 - d1) + (d4 - d2)
        out[j, 4, c] = f(0.5) * (d4 - d2) - f(0.25) * (d3 - d1)
        out[j, 5, c] = d1 + f(1.5) * (d4 - d2) - f(2) * d3 + d[5, j, c]


@inlined
def transform_input_adjoint_3x3(d, out, j, n):
    """Write B · column j of `d` as row j of `out`."""
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
def transform_output_3x3(d, out, j, n):
    """Write Aᵀ · column j of `d` as row j of `out`."""
    for c in range(n):
        d3, d4 = d[3, j, c], d[4, j, c]
        even, odd = d[1, j, c] + d[2, j, c], d[1, j, c] - d[2, j, c]
        out[j, 0, c] = d[0, j, c] + even + d3 + d4
        out[j, 1, c] = odd + f(0.5) * d3 - f(2) * d4
        out[j, 2, c] = even + f(0.25) * d3 + f(4) * d4
        out[j, 3, c] = odd + f(0.125) * d3 - f(8) * d4 + d[5, j, c]


@inlined
def transform_output_adjoint_3x3(d, out, j, n):
    """Write A · column j of `d` as row j of `out`."""
    for c in range(n):
        d0, d1, d2, d3 = d[0, j, c], d[1, j, c], d[2, j, c], d[3, j, c]
        even, odd = d0 + d2, d1 + d3
        out[j, 0, c] = d0
        out[j, 1, c] = even + odd
        out[j, 2, c] = even - odd
        out[j, 3, c] = d0 + f(0.5) * d1 + f(0.25) * d2 + f(0.125) * d3
        out[j, 4, c] = d0 - f(2) * d1 + f(4) * d2 - f(8) * d3
        out[j, 5, c] = d3


# F(4×4, 5×5), t = 8: the points 0, ±1, ±½, ±2 and infinity. The rows of x and -x are computed
# as even + odd and even - odd.


@inlined
def transform_input_5x5(d, out, j, n):
    """Write Bᵀ · column j of `d` as row j of `out`."""
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
def transform_input_adjoint_5x5(d, out, j, n):
    """Write B · column j of `d` as row j of `out`."""
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
def transform_output_5x5(d, out, j, n):
    """Write Aᵀ · column j of `d` as row j of `out`."""
    for c in range(n):
        even1, odd1 = d[1, j, c] + d[2, j, c], d[1, j, c] - d[2, j, c]
        even2, odd2 = d[3, j, c] + d[4, j, c], d[3, j, c] - d[4, j, c]
        even3, odd3 = d[5, j, c] + d[6, j, c], d[5, j, c] - d[6, j, c]
        out[j, 0, c] = d[0, j, c] + even1 + even2 + even3
        out[j, 1, c] = odd1 + f(0.5) * odd2 + f(2) * odd3
        out[j, 2, c] = even1 + f(0.25) * even2 + f(4) * even3
        out[j, 3, c] = odd1 + f(0.125) * odd2 + f(8) * odd3 + d[7, j, c]


@inlined
def transform_output_adjoint_5x5(d, out, j, n):
    """Write A · column j of `d` as row j of `out`."""
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
