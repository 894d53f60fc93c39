"""Cropping on the CPU: Numba kernels that compute one row of a crop at a time.

`operator.crop` runs them on slices of the batch; `reference` defines what they compute. A row of an
RGB record is contiguous, so its arithmetic is one loop over 3 * size numbers:

    record   r g b r g b r g b …     uint8        out = (record - mean + shift) * scale
    mean     r g b r g b r g b …     float32
    shift    r g b r g b r g b …     float32, the same three numbers repeated

A mirrored row is then copied, pixel by pixel from right to left; other rows need no copy. A row of
a YUV 4:2:0 record is first converted to such a row of RGB.
"""

# mypy: disable-error-code="no-untyped-def"

import numpy as np

from alexnet.kernels.cropping import reference
from alexnet.kernels.runtime.cpu_intrinsics import cast_like
from alexnet.kernels.runtime.cpu_threads import compiled, inlined

# As float32: a Python float would promote the arithmetic to float64.
RED_OF_V, BLUE_OF_U = np.float32(reference.RED_OF_V), np.float32(reference.BLUE_OF_U)
GREEN_OF_U, GREEN_OF_V = np.float32(reference.GREEN_OF_U), np.float32(reference.GREEN_OF_V)
CHROMA_ZERO = np.float32(128)


@compiled
def crop_rgb(first, stop, records, crops, out, scale):
    """Write crops first … stop - 1 of `out` from records that store RGB.

    records: uint8 (M, side, side, 3). crops: `reference.Crops` of arrays. out: (N, size, size, 3),
    float32, or uint16 that holds the bits of bf16.
    """
    size = out.shape[1]
    line, shift = np.empty(3 * size, np.float32), np.empty(3 * size, np.float32)
    for image in range(first, stop):
        _repeat_color(crops.shifts[image], shift)
        top, left, mean_top, mean_left = crops.offsets[image]
        record = records[crops.indices[image]]
        for y in range(size):
            pixels = record[top + y].reshape(-1)[3 * left : 3 * (left + size)]
            mean = crops.mean[mean_top + y].reshape(-1)[3 * mean_left : 3 * (mean_left + size)]
            target = out[image, y].reshape(-1)
            _write_row(pixels, mean, shift, scale, line, target, crops.flips[image])


@compiled
def crop_yuv420(first, stop, records, crops, out, scale):
    """Write crops first … stop - 1 of `out` from records of planes.

    records: uint8 (M, side² · 3/2), the Y plane, then U and V at half the size. Otherwise as
    `crop_rgb`.
    """
    side, size = len(crops.mean), out.shape[1]
    area, half = side * side, side // 2
    pixels = np.empty(3 * size, np.float32)
    line, shift = np.empty(3 * size, np.float32), np.empty(3 * size, np.float32)
    for image in range(first, stop):
        _repeat_color(crops.shifts[image], shift)
        top, left, mean_top, mean_left = crops.offsets[image]
        record = records[crops.indices[image]]
        for y in range(size):
            luma = record[(top + y) * side + left : (top + y + 1) * side]
            chroma = area + (top + y) // 2 * half + left // 2
            u, v = record[chroma:], record[chroma + half * half :]
            _convert_row_to_rgb(luma, u, v, left % 2, pixels)
            mean = crops.mean[mean_top + y].reshape(-1)[3 * mean_left : 3 * (mean_left + size)]
            target = out[image, y].reshape(-1)
            _write_row(pixels, mean, shift, scale, line, target, crops.flips[image])


@inlined
def _repeat_color(color, line):
    """Fill `line` with the three numbers of `color`, repeated."""
    for i in range(line.size):
        line[i] = color[i % 3]


@inlined
def _write_row(pixels, mean, shift, scale, line, target, flip):
    """Write a row of a crop to `target`, mirrored if `flip`; `line` is a buffer for that."""
    if flip:
        _normalize_row(pixels, mean, shift, scale, line)
        end = line.size
        for i in range(0, end, 3):
            target[i] = cast_like(line[end - i - 3], target)
            target[i + 1] = cast_like(line[end - i - 2], target)
            target[i + 2] = cast_like(line[end - i - 1], target)
    else:
        _normalize_row(pixels, mean, shift, scale, target)


@inlined
def _normalize_row(pixels, mean, shift, scale, out):
    for i in range(out.size):
        out[i] = cast_like((np.float32(pixels[i]) - mean[i] + shift[i]) * scale, out)


@inlined
def _convert_row_to_rgb(luma, us, vs, odd, pixels):
    """Convert a row of YUV 4:2:0 to RGB, neither rounded nor clipped: `pixels`, float32 (3 size,).

    odd: 1 if the row starts at the right-hand column of a 2×2 chroma block, else 0.

        odd = 0   luma  0 1 2 3 4 5         odd = 1   luma  0 1 2 3 4 5
                  u, v  0 0 1 1 2 2                   u, v  0 1 1 2 2 3
    """
    for x in range(pixels.size // 3):
        y = np.float32(luma[x])
        u = np.float32(us[(x + odd) // 2]) - CHROMA_ZERO
        v = np.float32(vs[(x + odd) // 2]) - CHROMA_ZERO
        pixels[3 * x] = y + RED_OF_V * v
        pixels[3 * x + 1] = y + GREEN_OF_U * u + GREEN_OF_V * v
        pixels[3 * x + 2] = y + BLUE_OF_U * u
