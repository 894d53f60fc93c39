"""Crop, flip, subtract the mean and shift the colors on the CPU, a row at a time.

A row of an RGB record is contiguous, so its arithmetic is one loop over 3 * size numbers; only a
mirrored row is copied once more, pixel by pixel.
"""

# mypy: disable-error-code="no-untyped-def"

import numpy as np

from alexnet.kernels.runtime.cpu_intrinsics import cast_like
from alexnet.kernels.runtime.cpu_threads import compiled, inlined


@compiled
def from_rgb(first, last, records, chosen, places, flips, shifts, mean, out, scale):
    """out (N size size 3, perhaps bf16) of images first … last. records: M side side 3.

    places: N 4, the top and left of each crop and the top and left of its mean.
    """
    size = out.shape[1]
    line, shift = np.empty(3 * size, np.float32), np.empty(3 * size, np.float32)
    for image in range(first, last):
        _repeat(shifts[image], shift)
        top, left, mean_top, mean_left = places[image]
        record = records[chosen[image]]
        for y in range(size):
            pixels = record[top + y].reshape(-1)[3 * left : 3 * (left + size)]
            middle = mean[mean_top + y].reshape(-1)[3 * mean_left : 3 * (mean_left + size)]
            _write(pixels, middle, shift, scale, line, out[image, y].reshape(-1), flips[image])


@compiled
def from_yuv(first, last, records, chosen, places, flips, shifts, mean, out, scale):
    """The same from records of planes: M side*side*3//2, the Y plane, then U and V at half size."""
    side, size = len(mean), out.shape[1]
    area, half = side * side, side // 2
    pixels = np.empty(3 * size, np.float32)
    line, shift = np.empty(3 * size, np.float32), np.empty(3 * size, np.float32)
    for image in range(first, last):
        _repeat(shifts[image], shift)
        top, left, mean_top, mean_left = places[image]
        record = records[chosen[image]]
        for y in range(size):
            lights = record[(top + y) * side + left : (top + y + 1) * side]
            start = area + (top + y) // 2 * half + left // 2
            _colors(lights, record[start:], record[start + half * half :], left % 2, pixels)
            middle = mean[mean_top + y].reshape(-1)[3 * mean_left : 3 * (mean_left + size)]
            _write(pixels, middle, shift, scale, line, out[image, y].reshape(-1), flips[image])


@inlined
def _repeat(colors, line):
    for i in range(line.size):
        line[i] = colors[i % 3]


@inlined
def _write(pixels, mean, shift, scale, line, target, flip):
    """A row of the crop, mirrored if `flip`."""
    if flip:
        _shifted(pixels, mean, shift, scale, line)
        end = line.size
        for i in range(0, end, 3):
            target[i] = cast_like(line[end - i - 3], target)
            target[i + 1] = cast_like(line[end - i - 2], target)
            target[i + 2] = cast_like(line[end - i - 1], target)
    else:
        _shifted(pixels, mean, shift, scale, target)


@inlined
def _shifted(pixels, mean, shift, scale, out):
    for i in range(out.size):
        out[i] = cast_like((np.float32(pixels[i]) - mean[i] + shift[i]) * scale, out)


@inlined
def _colors(lights, us, vs, odd, pixels):
    """JPEG's colors of a row, neither rounded nor clipped. odd: 1 if it starts inside a block."""
    for x in range(pixels.size // 3):
        light = np.float32(lights[x])
        u = np.float32(us[(x + odd) // 2]) - np.float32(128)
        v = np.float32(vs[(x + odd) // 2]) - np.float32(128)
        pixels[3 * x] = light + np.float32(1.402) * v
        pixels[3 * x + 1] = light - np.float32(0.344136286) * u - np.float32(0.714136286) * v
        pixels[3 * x + 2] = light + np.float32(1.772) * u
