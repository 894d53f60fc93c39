"""Numba kernels of Winograd's input and output transforms and of their adjoints.

`cpu` runs them on slices of the batch. Images are (N, H, W, C), channels_last as NumPy shows it.
Planes are (t², G, T, C/G): plane p holds position p = (row, column) of all transformed tiles, with
t = m + r - 1, G groups and T = N · rows · columns tiles; `reference` explains the stages.

    images ── transform_input ──► planes            planes ── transform_output ──► images
           ◄─ transform_input_adjoint ─                    ◄─ transform_output_adjoint ─

A row of tiles is transformed in a buffer and copied to (or from) the planes one plane at a time:

    buffer (columns, t², channels)              planes
    tile 0: p0 p1 p2 …                          p0: … │ tile 0, tile 1, tile 2, … │ …
    tile 1: p0 p1 p2 …             ─────►       p1: … │ tile 0, tile 1, tile 2, … │ …
    tile 2: p0 p1 p2 …                          p2: … │ tile 0, tile 1, tile 2, … │ …

If each tile were copied on its own, it would touch a different memory page for every plane, and the
TLB misses would cost more than the arithmetic.
"""

# mypy: disable-error-code="no-untyped-def"

import numpy as np

from alexnet.kernels.runtime.cpu_intrinsics import copy_vector
from alexnet.kernels.runtime.cpu_threads import compiled, inlined
from alexnet.kernels.runtime.layout import VECTOR
from alexnet.kernels.winograd.cook_toom import OUTPUT_TILE
from alexnet.kernels.winograd.cpu_transforms import (
    transform_input_3x3,
    transform_input_5x5,
    transform_input_adjoint_3x3,
    transform_input_adjoint_5x5,
    transform_output_3x3,
    transform_output_5x5,
    transform_output_adjoint_3x3,
    transform_output_adjoint_5x5,
)

MAX_CHANNELS = 128
"""Largest number of channels transformed at a time. Three buffers of a tile with this many channels
fit in the core's own caches (L1 and L2); loops over few channels would not be vectorized."""

PLANES_3X3 = 36
"""t² planes for 3×3 filters; for 5×5 filters there are 64."""


@compiled
def transform_input(first, stop, images, planes, tiling):
    """Write Bᵀ d B of the tiles of images first … stop - 1 to the planes."""
    rows, columns, padding = tiling.rows, tiling.columns, tiling.padding
    tiles = rows, columns
    if len(planes) == PLANES_3X3:
        _images_to_planes(transform_input_3x3, 6, 6, first, stop, images, planes, tiles, padding)
    else:
        _images_to_planes(transform_input_5x5, 8, 8, first, stop, images, planes, tiles, padding)


@compiled
def transform_output(first, stop, planes, images, tiling, biases):
    """Write Aᵀ P A of the products plus the biases to images first … stop - 1."""
    tiles = tiling.rows, tiling.columns
    if len(planes) == PLANES_3X3:
        _planes_to_images(transform_output_3x3, 6, 4, first, stop, planes, images, tiles, 0, biases)
    else:
        _planes_to_images(transform_output_5x5, 8, 4, first, stop, planes, images, tiles, 0, biases)


@compiled
def transform_output_adjoint(first, stop, images, planes, tiling):
    """Write A Y Aᵀ to the planes: from the gradient of outputs to the gradient of products."""
    tiles = tiling.rows, tiling.columns
    if len(planes) == PLANES_3X3:
        _images_to_planes(transform_output_adjoint_3x3, 4, 6, first, stop, images, planes, tiles, 0)
    else:
        _images_to_planes(transform_output_adjoint_5x5, 4, 8, first, stop, images, planes, tiles, 0)


@compiled
def transform_input_adjoint(first, stop, planes, images, tiling):
    """Write B V Bᵀ to the images, added up where tiles overlap: the gradient of the input."""
    rows, columns, padding = tiling.rows, tiling.columns, tiling.padding
    tiles, zero = (rows, columns), np.float32(0)
    if len(planes) == PLANES_3X3:
        _planes_to_images(
            transform_input_adjoint_3x3, 6, 6, first, stop, planes, images, tiles, padding, zero
        )
    else:
        _planes_to_images(
            transform_input_adjoint_5x5, 8, 8, first, stop, planes, images, tiles, padding, zero
        )


@inlined
def _images_to_planes(transform, size, t, first, stop, images, planes, tiles, padding):
    """Transform tiles of size × size pixels, one every OUTPUT_TILE pixels, to t × t planes.

    tiles: their number from top to bottom and from left to right. A row of tiles is one iteration.
    """
    channels, (rows, columns) = images.shape[3], tiles
    at_once, offsets = _choose_channels(channels), _channel_offsets(planes)
    tile = np.empty((size, size, at_once), images.dtype)
    half = np.empty((size, t, at_once), images.dtype)
    full = np.empty((columns, t, t, at_once), images.dtype)
    for tile_row in range(first * rows, stop * rows):
        image, top = tile_row // rows, tile_row % rows * OUTPUT_TILE - padding
        for start in range(0, channels, at_once):
            n = min(at_once, channels - start)
            for column in range(columns):
                left = column * OUTPUT_TILE - padding
                _load_tile(images, image, top, left, start, n, tile)
                _multiply_both_sides(transform, tile, half, full[column], n)
            flat = full.reshape(columns, t * t, at_once)
            _copy_row_of_tiles(
                planes, offsets[start // VECTOR :], tile_row * columns, flat, n, True
            )


@inlined
def _planes_to_images(transform, t, size, first, stop, planes, images, tiles, padding, biases):
    """Transform t × t planes to tiles of size × size pixels, and add them to the biases.

    The tiles begin every OUTPUT_TILE pixels and overlap if `size` is larger.
    """
    channels, (rows, columns) = images.shape[3], tiles
    at_once, offsets = _choose_channels(channels), _channel_offsets(planes)
    tile = np.empty((columns, t, t, at_once), images.dtype)
    half = np.empty((t, size, at_once), images.dtype)
    full = np.empty((size, size, at_once), images.dtype)
    for tile_row in range(first * rows, stop * rows):
        image, top = tile_row // rows, tile_row % rows * OUTPUT_TILE - padding
        if tile_row % rows == 0:
            images[image] = biases
        for start in range(0, channels, at_once):
            n = min(at_once, channels - start)
            flat = tile.reshape(columns, t * t, at_once)
            _copy_row_of_tiles(
                planes, offsets[start // VECTOR :], tile_row * columns, flat, n, False
            )
            for column in range(columns):
                _multiply_both_sides(transform, tile[column], half, full, n)
                _add_tile(full, images, image, top, column * OUTPUT_TILE - padding, start, n)


@inlined
def _multiply_both_sides(transform, tile, half, full, n):
    """full = matrix · tile · matrixᵀ, for n channels.

    `transform` multiplies one column and writes the product as a row, so that `half` is
    (matrix · tile)ᵀ and `full` is (matrix · half)ᵀ.
    """
    for j in range(tile.shape[1]):
        transform(tile, half, j, np.uintp(n))
    for j in range(half.shape[1]):
        transform(half, full, j, np.uintp(n))


@inlined
def _load_tile(images, image, top, left, start, n, tile):
    """Copy n channels, from `start` on, of the tile at (top, left); zeros outside the image."""
    _, height, width, channels = images.shape
    size, _, at_once = tile.shape
    source, target = _flatten(images), _flatten(tile)
    tile[:] = 0
    for i in range(max(0, -top), min(size, height - top)):
        for j in range(max(0, -left), min(size, width - left)):
            pixel = ((image * height + top + i) * width + left + j) * channels + start
            for c in range(0, n, VECTOR):
                copy_vector(target, (i * size + j) * at_once + c, source, pixel + c)


@inlined
def _add_tile(full, images, image, top, left, start, n):
    """Add n channels to those of the image, from `start` on, at the pixels inside the image."""
    size, height, width = len(full), images.shape[1], images.shape[2]
    first = np.uintp(start)  # loops are not vectorized where an index may be negative
    for i in range(max(0, -top), min(size, height - top)):
        for j in range(max(0, -left), min(size, width - left)):
            for c in range(np.uintp(n)):
                images[image, top + i, left + j, first + c] += full[i, j, c]


@inlined
def _copy_row_of_tiles(planes, offsets, first_tile, tiles, n, to_planes):
    """Copy n channels of a row of tiles to the planes if `to_planes`, else from them.

    tiles: (columns, t², channels), which are tiles first_tile, first_tile + 1, … of each plane.
    offsets: where each VECTOR of their channels begins in a plane.
    """
    columns, positions, at_once = tiles.shape
    plane_size, group_channels = planes[0].size, planes.shape[3]
    flat_tiles, flat_planes = _flatten(tiles), _flatten(planes)
    for i in range(positions):
        for c in range(0, n, VECTOR):
            in_planes = i * plane_size + offsets[c // VECTOR] + first_tile * group_channels
            for t in range(columns):
                in_tiles = (t * positions + i) * at_once + c
                if to_planes:
                    copy_vector(flat_planes, in_planes + t * group_channels, flat_tiles, in_tiles)
                else:
                    copy_vector(flat_tiles, in_tiles, flat_planes, in_planes + t * group_channels)


@inlined
def _flatten(array):
    """The same memory as a 1-D array."""
    return array.reshape(array.size)


@inlined
def _channel_offsets(planes):
    """Return, for each group of VECTOR consecutive channels, its offset in a plane, at tile 0."""
    _, groups, tiles, group_channels = planes.shape
    channels = np.arange(0, groups * group_channels, VECTOR)
    return channels // group_channels * tiles * group_channels + channels % group_channels


@inlined
def _choose_channels(channels):
    """Return how many channels are transformed at a time: equal parts of at most MAX_CHANNELS."""
    parts = -(-channels // MAX_CHANNELS)
    return -(-channels // (VECTOR * parts)) * VECTOR
