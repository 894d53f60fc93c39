"""Cropping on CUDA: a Triton kernel from uint8 records to channels_last floats.

`operator.crop` launches it; `reference` defines what it computes. A program writes BLOCK
consecutive numbers of one crop, color last:

    crop n, flattened   r g b r g b r g b … │ r g b r g b … │ …        size · size · 3 numbers
                         program (n, 0)       program (n, 1)

Per image it reads 3 size² bytes of an RGB record (half as much of a YUV 4:2:0 one) and the mean,
which stays in the cache, and writes 3 size² floats of the dtype of the result. For a mirrored crop
the pixels are read in reverse order, so that the result is always written in order.
"""

# mypy: disable-error-code="no-untyped-def"

import triton
import triton.language as tl

from alexnet.kernels.cropping import reference
from alexnet.kernels.runtime.triton_launch import launch

BLOCK = 1024
"""Numbers that one program writes."""

RED_OF_V, BLUE_OF_U = tl.constexpr(reference.RED_OF_V), tl.constexpr(reference.BLUE_OF_U)
GREEN_OF_U, GREEN_OF_V = tl.constexpr(reference.GREEN_OF_U), tl.constexpr(reference.GREEN_OF_V)


def crop(records, crops, scale, out, pixels):
    """Write `out`, (N, 3, size, size), channels_last. crops: `reference.Crops`."""
    images, _, size, _ = out.shape
    grid = images, triton.cdiv(3 * size * size, BLOCK)
    sizes = size, len(crops.mean)
    launch(_crop, grid, out, records, *crops, out, scale, *sizes, pixels == "rgb", BLOCK)


@triton.jit
def _crop(
    records, indices, offsets, flips, shifts, mean, out, scale,
    SIZE: tl.constexpr, SIDE: tl.constexpr, RGB: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write BLOCK numbers of one crop. Grid: (N, ⌈3 SIZE² / BLOCK⌉)."""
    image = tl.program_id(0).to(tl.int64)
    offset = offsets + 4 * image
    position = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)  # in the crop: (SIZE, SIZE, 3)
    y, x, c = position // (3 * SIZE), position // 3 % SIZE, position % 3
    inside = position < 3 * SIZE * SIZE
    window_x = tl.where(tl.load(flips + image), SIZE - 1 - x, x)
    row, column = tl.load(offset) + y, tl.load(offset + 1) + window_x
    index = tl.load(indices + image)
    if RGB:
        record = records + index * (3 * SIDE * SIDE)
        color = tl.load(record + (row * SIDE + column) * 3 + c, inside, 0).to(tl.float32)
    else:
        color = _color(records + index * (SIDE * SIDE * 3 // 2), row, column, c, inside, SIDE)
    mean_row, mean_column = tl.load(offset + 2) + y, tl.load(offset + 3) + window_x
    subtracted = tl.load(mean + (mean_row * SIDE + mean_column) * 3 + c, inside, 0.0)
    shift = tl.load(shifts + image * 3 + c)
    result = (color - subtracted + shift) * scale
    tl.store(out + image * (3 * SIZE * SIZE) + position, result, inside)


@triton.jit
def _color(record, row, column, c, inside, SIDE: tl.constexpr):
    """Return color c of each pixel of a record of planes Y, U and V, as `reference.to_rgb`."""
    HALF: tl.constexpr = SIDE // 2
    block = record + SIDE * SIDE + row // 2 * HALF + column // 2
    luma = tl.load(record + row * SIDE + column, inside, 0).to(tl.float32)
    u = tl.load(block, inside, 0).to(tl.float32) - 128
    v = tl.load(block + HALF * HALF, inside, 0).to(tl.float32) - 128
    of_u = tl.where(c == 0, 0.0, tl.where(c == 1, GREEN_OF_U, BLUE_OF_U))
    of_v = tl.where(c == 0, RED_OF_V, tl.where(c == 1, GREEN_OF_V, 0.0))
    return luma + of_u * u + of_v * v
