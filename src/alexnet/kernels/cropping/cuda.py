"""Crop, flip, subtract the mean and shift the colors on CUDA: uint8 records → channels_last floats.

Moves 3 size² bytes of the record (1.5 of a YUV one), the mean (which stays in the cache) and
3 s size² bytes of the result an image, s being the size of a float.
"""

# mypy: disable-error-code="no-untyped-def"

import triton
import triton.language as tl

from alexnet.kernels.runtime.triton_launch import launch

BLOCK = 1024


def crop(records, chosen, places, flips, shifts, mean, scale, out, pixels):
    """Write `out`, N 3 size size. The arguments are those of `crops.Cut`."""
    images, _, size, _ = out.shape
    grid = images, triton.cdiv(3 * size * size, BLOCK)
    cut, sizes = (chosen, places, flips, shifts, mean), (size, len(mean))
    launch(_crop, grid, out, records, *cut, out, scale, *sizes, pixels == "rgb", BLOCK)


@triton.jit
def _crop(
    records, chosen, places, flips, shifts, mean, out, scale,
    SIZE: tl.constexpr, SIDE: tl.constexpr, RGB: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    image = tl.program_id(0).to(tl.int64)
    place = places + 4 * image
    here = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)  # of the numbers of an image, color last
    y, x, c = here // (3 * SIZE), here // 3 % SIZE, here % 3
    inside = here < 3 * SIZE * SIZE
    from_x = tl.where(tl.load(flips + image), SIZE - 1 - x, x)
    row, column = tl.load(place) + y, tl.load(place + 1) + from_x
    record = tl.load(chosen + image)
    if RGB:
        start = records + record * (3 * SIDE * SIDE)
        color = tl.load(start + (row * SIDE + column) * 3 + c, inside, 0).to(tl.float32)
    else:
        color = _color(records + record * (SIDE * SIDE * 3 // 2), row, column, c, inside, SIDE)
    mean_row, mean_column = tl.load(place + 2) + y, tl.load(place + 3) + from_x
    middle = tl.load(mean + (mean_row * SIDE + mean_column) * 3 + c, inside, 0.0)
    shift = tl.load(shifts + image * 3 + c)
    result = (color - middle + shift) * scale
    tl.store(out + image * (3 * SIZE * SIZE) + here, result, inside)


@triton.jit
def _color(record, row, column, c, inside, SIDE: tl.constexpr):
    """Color c of each pixel of a record of planes Y, U and V, as JPEG defines it."""
    HALF: tl.constexpr = SIDE // 2
    block = record + SIDE * SIDE + row // 2 * HALF + column // 2
    light = tl.load(record + row * SIDE + column, inside, 0).to(tl.float32)
    u = tl.load(block, inside, 0).to(tl.float32) - 128
    v = tl.load(block + HALF * HALF, inside, 0).to(tl.float32) - 128
    of_u = tl.where(c == 0, 0.0, tl.where(c == 1, -0.344136286, 1.772))
    of_v = tl.where(c == 0, 1.402, tl.where(c == 1, -0.714136286, 0.0))
    return light + of_u * u + of_v * v
