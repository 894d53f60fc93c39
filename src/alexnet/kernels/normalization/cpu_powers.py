"""x ** -beta and 1 / x of whole arrays on the CPU: the denominators of the norms.

Inlined into the kernels of `normalization` and `within_channel`.
"""

# mypy: disable-error-code="no-untyped-def"

import numpy as np

from alexnet.kernels.runtime.cpu_intrinsics import as_float, as_integer
from alexnet.kernels.runtime.cpu_threads import inlined


@inlined
def compute_powers(base, power, inverse, beta):
    """Fill power = base ** -beta and inverse = 1 / base, arrays of one shape (L,) and dtype.

    Exponents other than ½, ¾ and 1 are slow: they take a logarithm and an exponential each.
    """
    if beta == 0.75 and base.itemsize == 4:
        _compute_power_of_three_quarters(base, power, inverse)
        return
    for i in range(base.size):
        inverse[i] = np.float32(1) / base[i]
    if beta == 0.75:
        for i in range(base.size):
            root = np.sqrt(inverse[i])
            power[i] = root * np.sqrt(root)
    elif beta == 0.5:
        for i in range(base.size):
            power[i] = np.sqrt(inverse[i])
    elif beta == 1:
        for i in range(base.size):
            power[i] = inverse[i]
    else:
        for i in range(base.size):
            power[i] = base[i] ** base.dtype.type(-beta)


INVERSE_FOURTH_ROOT_BITS = 0x4F586040
"""The bits of a float32 x > 0, read as an integer, are approximately linear in log x. So this
constant minus a quarter of that integer, read as a float32, approximates x ** -¼ with a relative
error of at most 3.1 %; the constant minimizes the maximum error."""


@inlined
def _compute_power_of_three_quarters(base, power, inverse):
    """power = base ** -¾ and inverse = 1 / base in float32, by multiplications alone.

    From y ≈ base ** -¼, three steps of Newton's method reduce the relative error to 0.25 %, 0.002 %
    and 2e-7; then power = y³ and inverse = y⁴, to a few units in the last place. If base is inf or
    NaN, the power is not finite either.
    """
    for i in range(base.size):
        x = np.float32(base[i])
        y = as_float(np.int32(INVERSE_FOURTH_ROOT_BITS) - (as_integer(x) >> 2))
        y = _newton_step(x, _newton_step(x, _newton_step(x, y)))
        power[i] = y * y * y
        inverse[i] = (y * y) * (y * y)


@inlined
def _newton_step(x, y):
    """Newton's method for y ** -4 = x: y + y (1 - x y⁴) / 4."""
    return y * (np.float32(1.25) - np.float32(0.25) * x * (y * y) * (y * y))
