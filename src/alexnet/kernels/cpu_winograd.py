"""Winograd's transforms on the CPU: from tiles of images to places of planes, and back.

Images are N H W C, planes P G T C/G: places of a transformed tile, groups, tiles, maps. A transform
multiplies a tile by its matrix from both sides: twice along the first axis, turning the tile over.
The matrices are those of `winograd.transforms`, written out, so that sums common to two rows are
added once; a test holds each to its matrix. Powers of two and their like are exact in float32.
"""

# mypy: disable-error-code="no-untyped-def"

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from alexnet.kernels.cpu_intrinsics import copy_vector
from alexnet.kernels.cpu_threads import compiled, part
from alexnet.kernels.maps import VECTOR

f = np.float32
"""A Python float would widen float32 arithmetic."""

AT_ONCE = 128
"""So many maps of a tile, thrice, fit the near caches. Loops over few maps are not vectorized."""

STEP = 4
"""A tile has 4×4 outputs."""


class Kernels(NamedTuple):
    """The transforms for one size of filters; each works on images first … last."""

    read: Callable
    """Bᵀ d B: tiles of images, which overlap, to planes."""
    write: Callable
    """Aᵀ m A: products to outputs, biases added."""
    unwrite: Callable
    """A g Aᵀ: the gradient of outputs to that of products."""
    unread: Callable
    """B g Bᵀ: the gradient of planes to that of images, added up where tiles overlap."""


# Places are unsigned below: where an index may be negative, loops are not vectorized.


@part
def _to_planes(transform, takes, gives, first, last, images, planes, tiles, padding):
    """Tiles of takes × takes pixels, every STEP pixels, to gives × gives planes."""
    _, height, width, maps = images.shape
    down, across = tiles
    share, size, each = _share(maps), planes.shape[3], planes[0].size
    places = _places(planes)
    tile = np.empty((takes, takes, share), images.dtype)
    half = np.empty((takes, gives, share), images.dtype)
    full = np.empty((across, gives, gives, share), images.dtype)
    images_, tile_, full_, planes_ = _flat(images), _flat(tile), _flat(full), _flat(planes)
    for band in range(first * down, last * down):
        image, top = band // down, band % down * STEP - padding
        for start in range(0, maps, share):
            n = min(share, maps - start)
            for t in range(across):
                left = t * STEP - padding
                tile[:] = 0
                for i in range(max(0, -top), min(takes, height - top)):
                    for j in range(max(0, -left), min(takes, width - left)):
                        pixel = ((image * height + top + i) * width + left + j) * maps + start
                        for c in range(0, n, VECTOR):
                            copy_vector(tile_, (i * takes + j) * share + c, images_, pixel + c)
                for j in range(takes):
                    transform(tile, half, j, np.uintp(n))
                for j in range(gives):
                    transform(half, full[t], j, np.uintp(n))
            for i in range(gives * gives):
                for c in range(0, n, VECTOR):
                    to = i * each + places[(start + c) // VECTOR] + band * across * size
                    for t in range(across):
                        at = (t * gives * gives + i) * share + c
                        copy_vector(planes_, to + t * size, full_, at)


@part
def _from_planes(transform, takes, gives, first, last, planes, images, tiles, padding, biases):
    """takes × takes planes to tiles of gives × gives pixels, every STEP pixels, added up."""
    _, height, width, maps = images.shape
    down, across = tiles
    share, size, each = _share(maps), planes.shape[3], planes[0].size
    places = _places(planes)
    tile = np.empty((across, takes, takes, share), images.dtype)
    half = np.empty((takes, gives, share), images.dtype)
    full = np.empty((gives, gives, share), images.dtype)
    tile_, planes_ = _flat(tile), _flat(planes)
    for band in range(first * down, last * down):
        image, top = band // down, band % down * STEP - padding
        if band % down == 0:
            images[image] = biases
        for start in range(0, maps, share):
            n, here = np.uintp(min(share, maps - start)), np.uintp(start)
            for i in range(takes * takes):
                for c in range(0, n, VECTOR):
                    at = i * each + places[(start + c) // VECTOR] + band * across * size
                    for t in range(across):
                        to = (t * takes * takes + i) * share + c
                        copy_vector(tile_, to, planes_, at + t * size)
            for t in range(across):
                left = t * STEP - padding
                for j in range(takes):
                    transform(tile[t], half, j, n)
                for j in range(gives):
                    transform(half, full, j, n)
                for i in range(max(0, -top), min(gives, height - top)):
                    for j in range(max(0, -left), min(gives, width - left)):
                        for c in range(n):
                            images[image, top + i, left + j, here + c] += full[i, j, c]


@part
def _flat(array):
    """The same memory as one row of numbers."""
    return array.reshape(array.size)


@part
def _places(planes):
    """Where each VECTOR of all maps has its first tile in a plane."""
    _, groups, tiles, size = planes.shape
    maps = np.arange(0, groups * size, VECTOR)
    return maps // size * tiles * size + maps % size


@part
def _share(maps):
    """How many maps are transformed at once: equal shares, none too large for the near caches."""
    shares = -(-maps // AT_ONCE)
    return -(-maps // (VECTOR * shares)) * VECTOR


# Filters of 3×3: the points 0, 1, -1, ½, -2 and infinity.


@part
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


@part
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


@part
def write_3(d, out, j, n):
    """Aᵀ times column j, into row j."""
    for c in range(n):
        d3, d4 = d[3, j, c], d[4, j, c]
        even, odd = d[1, j, c] + d[2, j, c], d[1, j, c] - d[2, j, c]
        out[j, 0, c] = d[0, j, c] + even + d3 + d4
        out[j, 1, c] = odd + f(0.5) * d3 - f(2) * d4
        out[j, 2, c] = even + f(0.25) * d3 + f(4) * d4
        out[j, 3, c] = odd + f(0.125) * d3 - f(8) * d4 + d[5, j, c]


@part
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


@part
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


@part
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


@part
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


@part
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


@compiled
def _read_3(first, last, images, planes, tiles, padding):
    _to_planes(read_3, 6, 6, first, last, images, planes, tiles, padding)


@compiled
def _write_3(first, last, planes, images, tiles, biases):
    _from_planes(write_3, 6, 4, first, last, planes, images, tiles, 0, biases)


@compiled
def _unwrite_3(first, last, images, planes, tiles):
    _to_planes(unwrite_3, 4, 6, first, last, images, planes, tiles, 0)


@compiled
def _unread_3(first, last, planes, images, tiles, padding):
    _from_planes(unread_3, 6, 6, first, last, planes, images, tiles, padding, f(0))


@compiled
def _read_5(first, last, images, planes, tiles, padding):
    _to_planes(read_5, 8, 8, first, last, images, planes, tiles, padding)


@compiled
def _write_5(first, last, planes, images, tiles, biases):
    _from_planes(write_5, 8, 4, first, last, planes, images, tiles, 0, biases)


@compiled
def _unwrite_5(first, last, images, planes, tiles):
    _to_planes(unwrite_5, 4, 8, first, last, images, planes, tiles, 0)


@compiled
def _unread_5(first, last, planes, images, tiles, padding):
    _from_planes(unread_5, 8, 8, first, last, planes, images, tiles, padding, f(0))


KERNELS = {
    3: Kernels(_read_3, _write_3, _unwrite_3, _unread_3),
    5: Kernels(_read_5, _write_5, _unwrite_5, _unread_5),
}
