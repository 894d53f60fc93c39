"""Winograd's transforms on the CPU: from tiles of images to places of planes, and back.

Images are N H W C, planes P G T C/G: places of a transformed tile, groups, tiles, maps. A row of
tiles is transformed at once and then written plane by plane, or read so: the planes of a single
tile lie on so many pages that finding these takes longer than the arithmetic.
"""

# mypy: disable-error-code="no-untyped-def"

import numpy as np

from alexnet.kernels.runtime.cpu_intrinsics import copy_vector
from alexnet.kernels.runtime.cpu_threads import compiled, inlined
from alexnet.kernels.runtime.layout import VECTOR
from alexnet.kernels.winograd.cook_toom import OUTPUTS
from alexnet.kernels.winograd.cpu_transforms import (
    read_3,
    read_5,
    unread_3,
    unread_5,
    unwrite_3,
    unwrite_5,
    write_3,
    write_5,
)

AT_ONCE = 128
"""So many maps of a tile, thrice, fit the near caches; loops over few maps are not vectorized."""

OF_3 = 36
"""Planes of filters of 3×3; those of 5×5 have 64."""


@compiled
def read(first, last, images, planes, tiles, padding):
    """Bᵀ d B of images first … last: tiles, which overlap, to planes."""
    if len(planes) == OF_3:
        _to_planes(read_3, 6, 6, first, last, images, planes, tiles, padding)
    else:
        _to_planes(read_5, 8, 8, first, last, images, planes, tiles, padding)


@compiled
def write(first, last, planes, images, tiles, biases):
    """Aᵀ m A: products to outputs, biases added."""
    if len(planes) == OF_3:
        _from_planes(write_3, 6, 4, first, last, planes, images, tiles, 0, biases)
    else:
        _from_planes(write_5, 8, 4, first, last, planes, images, tiles, 0, biases)


@compiled
def unwrite(first, last, images, planes, tiles):
    """A g Aᵀ: the gradient of outputs to that of products."""
    if len(planes) == OF_3:
        _to_planes(unwrite_3, 4, 6, first, last, images, planes, tiles, 0)
    else:
        _to_planes(unwrite_5, 4, 8, first, last, images, planes, tiles, 0)


@compiled
def unread(first, last, planes, images, tiles, padding):
    """B g Bᵀ: the gradient of planes to that of images, added up where tiles overlap."""
    if len(planes) == OF_3:
        _from_planes(unread_3, 6, 6, first, last, planes, images, tiles, padding, np.float32(0))
    else:
        _from_planes(unread_5, 8, 8, first, last, planes, images, tiles, padding, np.float32(0))


@inlined
def _to_planes(transform, takes, gives, first, last, images, planes, tiles, padding):
    """Tiles of takes × takes pixels, every OUTPUTS pixels, to gives × gives planes."""
    maps, (down, across) = images.shape[3], tiles
    share, places = _share(maps), _places(planes)
    tile = np.empty((takes, takes, share), images.dtype)
    half = np.empty((takes, gives, share), images.dtype)
    full = np.empty((across, gives, gives, share), images.dtype)
    for band in range(first * down, last * down):
        image, top = band // down, band % down * OUTPUTS - padding
        for start in range(0, maps, share):
            n = min(share, maps - start)
            for t in range(across):
                _cut(images, image, top, t * OUTPUTS - padding, start, n, tile)
                _both_sides(transform, tile, half, full[t], n)
            flat = full.reshape(across, gives * gives, share)
            _exchange(planes, places[start // VECTOR :], band * across, flat, n, True)


@inlined
def _from_planes(transform, takes, gives, first, last, planes, images, tiles, padding, biases):
    """takes × takes planes to tiles of gives × gives pixels, every OUTPUTS pixels, added up."""
    maps, (down, across) = images.shape[3], tiles
    share, places = _share(maps), _places(planes)
    tile = np.empty((across, takes, takes, share), images.dtype)
    half = np.empty((takes, gives, share), images.dtype)
    full = np.empty((gives, gives, share), images.dtype)
    for band in range(first * down, last * down):
        image, top = band // down, band % down * OUTPUTS - padding
        if band % down == 0:
            images[image] = biases
        for start in range(0, maps, share):
            n = min(share, maps - start)
            flat = tile.reshape(across, takes * takes, share)
            _exchange(planes, places[start // VECTOR :], band * across, flat, n, False)
            for t in range(across):
                _both_sides(transform, tile[t], half, full, n)
                _add(full, images, image, top, t * OUTPUTS - padding, start, n)


@inlined
def _both_sides(transform, tile, half, full, n):
    """full = matrix tile matrixᵀ, for n maps."""
    for j in range(tile.shape[1]):
        transform(tile, half, j, np.uintp(n))
    for j in range(half.shape[1]):
        transform(half, full, j, np.uintp(n))


@inlined
def _cut(images, image, top, left, start, n, tile):
    """n maps, from `start` on, of a tile's pixels; zeros outside the image."""
    _, height, width, maps = images.shape
    size, _, share = tile.shape
    source, target = _flat(images), _flat(tile)
    tile[:] = 0
    for i in range(max(0, -top), min(size, height - top)):
        for j in range(max(0, -left), min(size, width - left)):
            pixel = ((image * height + top + i) * width + left + j) * maps + start
            for c in range(0, n, VECTOR):
                copy_vector(target, (i * size + j) * share + c, source, pixel + c)


@inlined
def _add(full, images, image, top, left, start, n):
    """Add n maps, from `start` on, to those of a tile's pixels that are inside the image."""
    size, height, width = len(full), images.shape[1], images.shape[2]
    first = np.uintp(start)  # where a place may be negative, loops are not vectorized
    for i in range(max(0, -top), min(size, height - top)):
        for j in range(max(0, -left), min(size, width - left)):
            for c in range(np.uintp(n)):
                images[image, top + i, left + j, first + c] += full[i, j, c]


@inlined
def _exchange(planes, places, row, tiles, n, out):
    """Copy n maps of a row of tiles (across, places, maps) to the planes if `out`, else from there.

    The tiles are rows `row` … of each plane; `places` is where each VECTOR of their maps begins.
    """
    across, points, share = tiles.shape
    each, size = planes[0].size, planes.shape[3]
    here, there = _flat(tiles), _flat(planes)
    for i in range(points):
        for c in range(0, n, VECTOR):
            place = i * each + places[c // VECTOR] + row * size
            for t in range(across):
                at = (t * points + i) * share + c
                if out:
                    copy_vector(there, place + t * size, here, at)
                else:
                    copy_vector(here, at, there, place + t * size)


@inlined
def _flat(array):
    """The same memory as one row of numbers."""
    return array.reshape(array.size)


@inlined
def _places(planes):
    """Where each VECTOR of all maps has its first tile in a plane."""
    _, groups, tiles, size = planes.shape
    maps = np.arange(0, groups * size, VECTOR)
    return maps // size * tiles * size + maps % size


@inlined
def _share(maps):
    """How many maps are transformed at once: equal shares, none too large for the near caches."""
    shares = -(-maps // AT_ONCE)
    return -(-maps // (VECTOR * shares)) * VECTOR
