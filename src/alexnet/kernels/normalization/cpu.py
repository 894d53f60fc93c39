"""ReLU, response norm and max pool in one pass over memory on the CPU. Images are N H W C.

A few pixels at a time, so many as fit the nearest cache, are spread out with n // 2 zeros around
every tower's maps, so that the sum over n neighbors is n shifted loads without borders. Only `pool`
normalized rows exist at a time, in a ring; going back they are computed again, which is cheaper
than to have written and read them.
"""

# mypy: disable-error-code="no-untyped-def"

import numpy as np

from alexnet.kernels.pooling.cpu import max_row, rectify, unpool
from alexnet.kernels.runtime.cpu_intrinsics import as_float, as_integer, bf16_to_float32, cast_like
from alexnet.kernels.runtime.cpu_threads import compiled, inlined

AT_ONCE = 1200
"""Numbers that a line of pixels should have: six such lines fit 32 KB."""

WHOLE_VECTORS = 32
"""What is computed with neighbors is a multiple of so many numbers long: vectors leave no rest."""

# alpha and k come in the type of the images: a Python float would widen float32 arithmetic.


@compiled
def forward(first, last, x, out, positions, n, alpha, beta, k, towers, pool, stride, relu):
    """out and positions, N H' W' C, of images first … last. relu: "first", "last" or "none".

    x may be bf16; out is what it is computed in.
    """
    height, width, maps = x.shape[1:]
    pixels = _pixels_at_once(width, maps, towers, n)
    lines = _zero_lines(4, pixels * towers, maps // towers, n, out)
    line, base, power, inverse = lines[0], lines[1], lines[2], lines[3]
    ring = np.empty((pool, width, maps), out.dtype)
    for image in range(first, last):
        done = 0
        for i in range(out.shape[1]):
            top, bottom = i * stride, min(i * stride + pool, height)
            for y in range(max(done, top), bottom):
                for left in range(0, width, pixels):
                    here = slice(left, min(left + pixels, width))
                    _spread(x[image, y, here], line, towers, n, relu == "first")
                    _bases(line, base, n, alpha, k)
                    powers(base, power, inverse, beta)
                    _gather_product(line, power, ring[y % pool, here], towers, n)
            done = bottom
            max_row(ring, (top, bottom), out[image, i], positions[image, i], pool, stride)
            if relu != "none":
                rectify(out[image, i], positions[image, i], pool * pool)


@compiled
def backward(first, last, pooled, x, positions, out, n, alpha, beta, k, towers, pool, stride, relu):
    """out: the gradient of x, both perhaps bf16, from `pooled`, that of the outputs."""
    height, width, maps = x.shape[1:]
    pixels = _pixels_at_once(width, maps, towers, n)
    lines = _zero_lines(6, pixels * towers, maps // towers, n, pooled)
    line, base, power, inverse = lines[0], lines[1], lines[2], lines[3]
    gradient, across = lines[4], lines[5]
    won = np.empty((pixels, maps), pooled.dtype)
    factor = alpha * pooled.dtype.type(-2 * beta)
    for image in range(first, last):
        for y in range(height):
            for left in range(0, width, pixels):
                here = slice(left, min(left + pixels, width))
                for column in range(left, here.stop):
                    at = won[column - left]
                    unpool(at, pooled[image], positions[image], y, column, pool, stride)
                gradient[:] = 0  # also between the towers, where a NaN may have come
                _spread(won[: here.stop - left], gradient, towers, n, False)
                _spread(x[image, y, here], line, towers, n, relu == "first")
                _bases(line, base, n, alpha, k)
                powers(base, power, inverse, beta)
                _through(line, power, inverse, gradient, across)
                _add_sums(across, line, gradient, n, factor)
                _gather(gradient, line, out[image, y, here], towers, n, relu == "first")


@inlined
def _pixels_at_once(width, maps, towers, n):
    """How many pixels a line holds: about as many in each of a row's lines."""
    lines = -(-width * (maps + towers * (n // 2)) // AT_ONCE)
    return -(-width // lines)


@inlined
def _zero_lines(count, groups, size, n, like):
    """Lines with room for `groups` groups of `size` maps, n // 2 zeros before, between and after.

    Between n // 2 numbers at either end, each is a multiple of WHOLE_VECTORS long.
    """
    vectors = -(-groups * (size + n // 2) // WHOLE_VECTORS)
    return np.zeros((count, n // 2 + vectors * WHOLE_VECTORS + n // 2), like.dtype)


# Places are unsigned below: where an index may be negative, loops are not vectorized.


@inlined
def _spread(pixels, line, towers, n, relu):
    """Copy the pixels (W C) into the line, each tower's maps to its place."""
    size, gap, flat = pixels.shape[1] // towers, n // 2, pixels.reshape(-1)
    for group in range(pixels.shape[0] * towers):
        source, target = np.uintp(group * size), np.uintp(gap + group * (size + gap))
        if relu:
            for c in range(np.uintp(size)):
                value = bf16_to_float32(flat[source + c])
                line[target + c] = np.float32(0) if value <= 0 else value
        else:
            for c in range(np.uintp(size)):
                line[target + c] = bf16_to_float32(flat[source + c])


@inlined
def _gather(gradient, line, pixels, towers, n, relu):
    """The other way: the gradient without its zeros, and without what ReLU blocks.

    A NaN in the line blocks nothing and shows.
    """
    size, gap, flat = pixels.shape[1] // towers, n // 2, pixels.reshape(-1)
    for group in range(pixels.shape[0] * towers):
        target, source = np.uintp(group * size), np.uintp(gap + group * (size + gap))
        if relu:
            for c in range(np.uintp(size)):
                blocked = line[source + c] <= 0
                value = np.float32(0) if blocked else gradient[source + c]
                flat[target + c] = cast_like(value, flat)
        else:
            for c in range(np.uintp(size)):
                flat[target + c] = cast_like(gradient[source + c], flat)


@inlined
def _gather_product(line, power, pixels, towers, n):
    """The pixels times their powers, without the zeros."""
    size, gap, flat = pixels.shape[1] // towers, n // 2, pixels.reshape(-1)
    for group in range(pixels.shape[0] * towers):
        target, source = np.uintp(group * size), np.uintp(gap + group * (size + gap))
        for c in range(np.uintp(size)):
            flat[target + c] = line[source + c] * power[source + c]


@inlined
def _bases(line, base, n, alpha, k):
    """base = k + alpha * the sum of squares over n maps, from n // 2 below."""
    gap = n // 2
    base[:] = k
    inner = base[gap : base.size - gap]
    if n == 5:  # the paper's: in one go
        for i in range(inner.size):
            a, b, c, d, e = line[i], line[i + 1], line[i + 2], line[i + 3], line[i + 4]
            inner[i] = k + alpha * (a * a + b * b + c * c + d * d + e * e)
        return
    for j in range(n):
        shifted = line[j:]
        for i in range(inner.size):
            inner[i] += alpha * shifted[i] * shifted[i]


@inlined
def powers(base, power, inverse, beta):
    """power = base ** -beta and inverse = 1 / base. Other powers than ½, ¾ and 1 are slow."""
    if beta == 0.75 and base.itemsize == 4:
        _quarters(base, power, inverse)
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


FOURTH_ROOT = 0x4F586040
"""A float32 x > 0 read as an integer is about linear in log x. So this, less a quarter of it, read
as a float32 again, is x ** -¼ to 3.1 %; the constant is the one with the least maximum error."""


@inlined
def _quarters(base, power, inverse):
    """power = base ** -¾, inverse = 1 / base, to a few units of the last place, by products alone.

    Newton's method for y ** -4 = base: y is right to 0.25 %, 0.002 % and 2e-7 after one, two and
    three steps. An inf or a NaN in the base does not come out as an ordinary number.
    """
    for i in range(base.size):
        x = np.float32(base[i])
        y = as_float(np.int32(FOURTH_ROOT) - (as_integer(x) >> 2))
        y = _nearer(x, _nearer(x, _nearer(x, y)))
        power[i] = y * y * y
        inverse[i] = (y * y) * (y * y)


@inlined
def _nearer(x, y):
    return y * (np.float32(1.25) - np.float32(0.25) * x * (y * y) * (y * y))


@inlined
def _through(line, power, inverse, gradient, across):
    """The gradient along the map itself, and what it hands to the maps of its window."""
    for i in range(line.size):
        gradient[i] *= power[i]
        across[i] = gradient[i] * line[i] * inverse[i]


@inlined
def _add_sums(across, line, gradient, n, factor):
    """gradient += factor * line * the sum of `across` over the maps whose window holds this one."""
    gap = n // 2
    inner, here = gradient[gap : line.size - gap], line[gap : line.size - gap]
    if n == 5:
        for i in range(inner.size):
            total = across[i] + across[i + 1] + across[i + 2] + across[i + 3] + across[i + 4]
            inner[i] += factor * here[i] * total
        return
    for j in range(n):
        shifted = across[2 * gap - n + 1 + j :]
        for i in range(inner.size):
            inner[i] += factor * here[i] * shifted[i]
