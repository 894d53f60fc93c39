"""Records: the uint8 arrays that packed images are stored as, and exact sums over their pixels.

There are two formats for an image of `size` × `size` pixels:

* rgb, shape (size, size, 3): the pixels.
* yuv420, shape (size · size · 3 / 2,): JPEG's planes Y, U and V one after the other, with U and V
  at half the size, so that each 2×2 block of pixels has one color. Half the bytes of rgb.

      │ Y: size × size bytes │ U: size/2 × size/2 │ V: size/2 × size/2 │

`preparation` writes records and computes the sums; packs, their statistics, loaders and exporting
read records. The conversion uses the coefficients of `alexnet.colors`. Numba compiles the loops at
the first use; if it cannot be imported, the references in NumPy compute the same bytes.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from alexnet.colors import (
    BLUE_OF_U,
    GREEN_OF_U,
    GREEN_OF_V,
    RED_OF_V,
    U_OF_BLUE,
    U_OF_GREEN,
    U_OF_RED,
    V_OF_BLUE,
    V_OF_GREEN,
    V_OF_RED,
    Y_OF_BLUE,
    Y_OF_GREEN,
    Y_OF_RED,
)
from alexnet.images import compilation

Format = Literal["rgb", "yuv420"]
_Image = NDArray[np.uint8]

SUMMED_ROWS = 1 << 16
"""Rows that are summed at a time: 32 bits hold the sum of this many squares of bytes."""


def record_shape(size: int, pixels: Format) -> tuple[int, ...]:
    """Shape of one record: (size, size, 3) for rgb, (size · size · 3 / 2,) for yuv420.

    Raises ValueError for an unknown format, and for yuv420 of an odd size.
    """
    if pixels == "rgb":
        return size, size, 3
    if pixels != "yuv420":
        raise ValueError(f"pixels is {pixels!r}, but must be rgb or yuv420")
    if size % 2:
        raise ValueError(f"yuv420 needs an even size, not {size}: its colors are 2×2 blocks")
    return (size * size * 3 // 2,)


def write_record(image: _Image, pixels: Format, record: _Image) -> None:
    """Write an image, uint8 (size, size, 3), into `record`, a flat uint8 buffer."""
    if pixels == "rgb":
        record[:] = image.reshape(-1)
    else:
        write_yuv420 = compilation.compile_loop(_write_yuv420, write_yuv420_reference)
        write_yuv420(np.ascontiguousarray(image), record)


def records_to_rgb(records: NDArray[Any], size: int, pixels: Format) -> NDArray[Any]:
    """Convert N records to RGB images of shape (N, size, size, 3).

    For yuv420 the result is float32 and neither rounded nor clipped; all four pixels of a 2×2 block
    get that block's U and V. For rgb it is a view of the records.
    """
    if pixels == "rgb":
        return records.reshape(-1, size, size, 3)
    area, half = size * size, size // 2
    flat = records.reshape(-1, area * 3 // 2).astype(np.float32)
    y = flat[:, :area].reshape(-1, size, size)
    planes = flat[:, area:].reshape(-1, 2, half, half) - np.float32(128)
    u, v = planes.repeat(2, axis=2).repeat(2, axis=3).swapaxes(0, 1)
    colors = y + RED_OF_V * v, y + GREEN_OF_U * u + GREEN_OF_V * v, y + BLUE_OF_U * u
    return np.stack(colors, -1, dtype=np.float32)


def records_to_pictures(records: NDArray[Any], size: int, pixels: Format) -> _Image:
    """Convert N records, uint8, to pictures to look at: RGB, uint8 (N, size, size, 3), contiguous.

    The values of `records_to_rgb` are rounded to the nearest byte.
    """
    rgb = records_to_rgb(records, size, pixels)
    if rgb.dtype != np.uint8:
        rgb = np.rint(rgb).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(rgb)


def _write_yuv420(image, record):  # type: ignore[no-untyped-def]
    """Convert (size, size, 3) to a yuv420 record in 16-bit fixed point; compiled by Numba.

    Y is rounded for each pixel, U and V for the sum of the four pixels of a block. The formulas are
    in `alexnet.colors`.
    """
    size = image.shape[0]
    half = size // 2
    for row in range(half):
        for column in range(half):
            red = green = blue = np.int32(0)
            for y in range(2 * row, 2 * row + 2):
                for x in range(2 * column, 2 * column + 2):
                    r, g, b = (
                        np.int32(image[y, x, 0]),
                        np.int32(image[y, x, 1]),
                        np.int32(image[y, x, 2]),
                    )
                    luma = Y_OF_RED * r + Y_OF_GREEN * g + Y_OF_BLUE * b
                    record[y * size + x] = (luma + 32768) >> 16
                    red += r
                    green += g
                    blue += b
            at = size * size + row * half + column
            u = (U_OF_RED * red + U_OF_GREEN * green + U_OF_BLUE * blue + (1 << 17) - 1) >> 18
            v = (V_OF_RED * red + V_OF_GREEN * green + V_OF_BLUE * blue + (1 << 17) - 1) >> 18
            record[at] = u + 128
            record[at + half * half] = v + 128


def write_yuv420_reference(image: _Image, record: _Image) -> None:
    """`_write_yuv420` in NumPy: the same bytes, more slowly."""
    half = len(image) // 2
    red, green, blue = np.moveaxis(image.astype(np.int32), 2, 0)
    y = (Y_OF_RED * red + Y_OF_GREEN * green + Y_OF_BLUE * blue + 32768) >> 16
    red, green, blue = (x.reshape(half, 2, half, 2).sum((1, 3)) for x in (red, green, blue))
    u = (U_OF_RED * red + U_OF_GREEN * green + U_OF_BLUE * blue + (1 << 17) - 1) >> 18
    v = (V_OF_RED * red + V_OF_GREEN * green + V_OF_BLUE * blue + (1 << 17) - 1) >> 18
    record[:] = np.concatenate([y.ravel(), u.ravel() + 128, v.ravel() + 128])


def moments(image: _Image) -> NDArray[np.int64]:
    """The exact sums (r, g, b, rr, rg, rb, gg, gb, bb) over the pixels of uint8 (H, W, 3).

    From them a pack computes the mean color and the principal components (section 4.1).
    """
    rows = np.ascontiguousarray(image).reshape(len(image), -1)
    sums = np.zeros(9, np.int64)
    add_moments = compilation.compile_loop(_add_moments, add_moments_reference)
    for top in range(0, len(rows), SUMMED_ROWS):
        add_moments(rows[top : top + SUMMED_ROWS], sums)
    return sums


def _add_moments(rows, sums):  # type: ignore[no-untyped-def]
    """Add the nine sums over rows of interleaved colors, (H, 3W), to `sums`; compiled by Numba.

    First sum each byte column over the rows, because that loop vectorizes and a loop over
    interleaved colors does not. The sums are of each byte (`value`), of its square (`square`), and
    of its products with the next byte (`next_`) and with the one after that (`after`). For a red
    byte r at column 3x these are r, rr, rg and rb; for a green one g, gg, gb, and one not needed.
    """
    width = rows.shape[1]
    value, square, next_, after = np.zeros((4, width), np.uint32)
    for y in range(rows.shape[0]):
        row = rows[y]
        for i in range(width - 2):
            value[i] += row[i]
            square[i] += row[i] * row[i]
            next_[i] += row[i] * row[i + 1]
            after[i] += row[i] * row[i + 2]
        for i in range(width - 2, width):
            value[i] += row[i]
            square[i] += row[i] * row[i]
        next_[width - 2] += row[width - 2] * row[width - 1]
    for r in range(0, width, 3):
        g, b = r + 1, r + 2
        sums[0] += value[r]
        sums[1] += value[g]
        sums[2] += value[b]
        sums[3] += square[r]
        sums[4] += next_[r]
        sums[5] += after[r]
        sums[6] += square[g]
        sums[7] += next_[g]
        sums[8] += square[b]


def add_moments_reference(rows: _Image, sums: NDArray[np.int64]) -> None:
    """`_add_moments` in NumPy: the same sums, more slowly."""
    red, green, blue = np.moveaxis(rows.reshape(len(rows), -1, 3).astype(np.int64), 2, 0)
    pairs = (red, red), (red, green), (red, blue), (green, green), (green, blue), (blue, blue)
    sums += [red.sum(), green.sum(), blue.sum(), *((x * y).sum() for x, y in pairs)]
