"""Arithmetic on the pixels of one image: to a square, to a record and back, and exact sums.

Everything is integer arithmetic after the filter's weights, so a pack is the same bytes on every
machine. The loops are compiled by Numba at first use and kept on disk; where Numba cannot be
imported, their references in NumPy compute the same bytes, more slowly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

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

Fit = Literal["crop", "pad", "squash"]
Format = Literal["rgb", "yuv420"]
FITS = get_args(Fit)
Image = NDArray[np.uint8]

PADDING = 128
"""Gray level beside an image that is padded to a square."""
WEIGHT_BITS = 14
"""The weights of a filter sum to 2^14: 255 · 2^14 · 2^14 / 2^6 still fits 32 bits."""
ROWS = 1 << 16
"""32 bits hold the sum of this many squares of bytes."""


def fit(pixels: Image, size: int, mode: Fit = "crop") -> Image:
    """The image as a square: uint8 H W 3 → uint8 size size 3, by an antialiased triangle filter.

    `crop` brings the shorter side to `size` and cuts out the center, `pad` brings the longer side
    to `size` and puts gray beside it, `squash` brings each side to `size`. The filter is that of
    Pillow's `resize(..., BILINEAR)`, computed only where it is kept.
    """
    height, width = pixels.shape[:2]
    if mode == "squash":
        return _resized(pixels, (height, size), (width, size), size)
    if mode not in FITS:
        raise ValueError(f"fit {mode!r}: there are {', '.join(FITS)}")
    side = min(height, width) if mode == "crop" else max(height, width)
    tall, wide = (max(1, _half_up(edge * size, side)) for edge in (height, width))
    if mode == "crop":
        return _resized(pixels, (height, tall), (width, wide), size)
    square = np.full((size, size, 3), PADDING, np.uint8)
    top, left = (size - tall) // 2, (size - wide) // 2
    square[top : top + tall, left : left + wide] = _resized(
        pixels, (height, tall), (width, wide), size
    )
    return square


def _half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


def _resized(pixels: Image, rows: tuple[int, int], columns: tuple[int, int], size: int) -> Image:
    """Resize rows and columns (from, to) and keep at most the central `size` of each."""
    if rows[0] == rows[1] <= size and columns[0] == columns[1] <= size:
        return pixels
    down, across = _triangle(*rows, size), _spread(*columns, size)
    out = np.empty((len(down.first), len(across.places)), np.uint8)
    compiled(_resize, resize_reference)(np.ascontiguousarray(pixels), down, across, out)
    return out.reshape(len(out), -1, 3)


class Taps(NamedTuple):
    """A filter along one edge: what each kept target pixel takes from the source."""

    weights: NDArray[np.int32]  # kept, widest
    first: NDArray[np.int64]  # kept
    number: NDArray[np.int64]  # kept


@functools.lru_cache(maxsize=256)
def _triangle(length: int, target: int, size: int) -> Taps:
    """The filter from `length` to `target` pixels, of which only the central `size` are kept."""
    scale = length / target
    support = max(scale, 1.0)  # enlarging interpolates, shrinking averages
    kept = np.arange(min(size, target)) + max(0, (target - size) // 2)
    center = (kept + 0.5) * scale
    first = np.maximum(0, (center - support + 0.5).astype(np.int64))
    number = np.minimum(length, (center + support + 0.5).astype(np.int64)) - first
    taps = np.arange(number.max())
    distance = np.abs(first[:, None] + taps + 0.5 - center[:, None]) / support
    weights = np.where(taps < number[:, None], np.maximum(0.0, 1.0 - distance), 0.0)
    return Taps(_whole(weights / weights.sum(1, keepdims=True)), first, number)


def _whole(weights: NDArray[np.float64]) -> NDArray[np.int32]:
    """Weights that sum to 1 as integers that sum to 2^14; the largest takes the rounding."""
    whole = np.rint(weights * (1 << WEIGHT_BITS)).astype(np.int32)
    rows = np.arange(len(whole))
    whole[rows, whole.argmax(1)] += (1 << WEIGHT_BITS) - whole.sum(1, dtype=np.int32)
    return whole


class Spread(NamedTuple):
    """A filter along rows of interleaved colors, laid out for vector instructions."""

    start: int
    """First byte of a row that is read at all."""
    length: int
    places: NDArray[np.uint32]  # 3·kept: where each output byte's first tap is, after `start`
    weights: NDArray[np.int32]  # widest 3·kept


@functools.lru_cache(maxsize=256)
def _spread(length: int, target: int, size: int) -> Spread:
    taps = _triangle(length, target, size)
    start = 3 * int(taps.first[0])
    end = 3 * int((taps.first + taps.number).max())
    places = (3 * taps.first[:, None] + np.arange(3) - start).reshape(-1)
    weights = np.repeat(taps.weights.T, 3, axis=1)
    return Spread(start, end - start, places.astype(np.uint32), weights)


def _resize(source, down, across, out):  # type: ignore[no-untyped-def]
    """Rows first, into one line of sums with 8 bits below the point, then that line's columns."""
    start, length = across.start, across.length
    taps, bytes_out = across.weights.shape
    line = np.zeros(length + 3 * taps, np.int32)  # a filter's unused taps may lie past the end
    sums = np.empty(bytes_out, np.int32)
    rows = source.reshape(source.shape[0], source.shape[1] * 3)
    for y in range(out.shape[0]):
        line[:length] = 32
        for tap in range(down.number[y]):
            weight = down.weights[y, tap]
            row = rows[down.first[y] + tap, start : start + length]
            for i in range(length):
                line[i] += weight * row[i]
        for i in range(length):
            line[i] >>= 6
        sums[:] = 1 << 21
        for tap in range(taps):
            weights, shifted = across.weights[tap], line[3 * tap :]
            for i in range(bytes_out):
                sums[i] += weights[i] * shifted[across.places[i]]
        for i in range(bytes_out):
            out[y, i] = sums[i] >> 22


def resize_reference(source: Image, down: Taps, across: Spread, out: Image) -> None:
    """`_resize` in NumPy: uint8 H W 3 → the filtered bytes, uint8 kept 3·kept, into `out`."""
    start, length = across.start, across.length
    rows = source.reshape(len(source), -1)[:, start : start + length].astype(np.int32)
    lines = np.zeros((len(out), length + 3 * len(across.weights)), np.int32)
    lines[:, :length] = 32
    for tap, weights in enumerate(down.weights.T):  # 0 for taps that are not used
        lines[:, :length] += weights[:, None] * rows[np.minimum(down.first + tap, len(rows) - 1)]
    lines >>= 6
    sums = np.full(out.shape, 1 << 21, np.int32)
    for tap, weights in enumerate(across.weights):
        sums += weights * lines[:, 3 * tap + across.places]
    out[:] = sums >> 22


def record_shape(size: int, pixels: Format) -> tuple[int, ...]:
    """Shape of one packed image: (size, size, 3), or (size · size · 3 / 2,) for yuv420.

    Raises ValueError for an unknown format and for yuv420 of an odd size.
    """
    if pixels == "rgb":
        return size, size, 3
    if pixels != "yuv420":
        raise ValueError(f"pixels {pixels!r}: there are rgb and yuv420")
    if size % 2:
        raise ValueError(f"yuv420 needs an even size, not {size}: its colors are 2×2 blocks")
    return (size * size * 3 // 2,)


def write_record(image: Image, pixels: Format, record: Image) -> None:
    """Write an image, uint8 size size 3, into its record, a flat uint8 buffer."""
    if pixels == "rgb":
        record[:] = image.reshape(-1)
    else:
        compiled(_to_yuv420, to_yuv420_reference)(np.ascontiguousarray(image), record)


def rgb(records: NDArray[Any], size: int, pixels: Format) -> NDArray[Any]:
    """Images, N size size 3, of records; for yuv420 as floats that are neither rounded nor clipped.

    Every color of a 2×2 block is the block's.
    """
    if pixels == "rgb":
        return records.reshape(-1, size, size, 3)
    area, half = size * size, size // 2
    flat = records.reshape(-1, area * 3 // 2).astype(np.float32)
    y = flat[:, :area].reshape(-1, size, size)
    planes = flat[:, area:].reshape(-1, 2, half, half) - np.float32(128)
    u, v = planes.repeat(2, axis=2).repeat(2, axis=3).swapaxes(0, 1)
    return np.stack(
        [y + RED_OF_V * v, y + GREEN_OF_U * u + GREEN_OF_V * v, y + BLUE_OF_U * u],
        -1,
        dtype=np.float32,
    )


def _to_yuv420(image, record):  # type: ignore[no-untyped-def]
    """JPEG's full-range Y'CbCr, 16 bits below the point: plane Y, then quarter planes U and V."""
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
                    record[y * size + x] = (
                        Y_OF_RED * r + Y_OF_GREEN * g + Y_OF_BLUE * b + 32768
                    ) >> 16
                    red += r
                    green += g
                    blue += b
            at = size * size + row * half + column
            u = (U_OF_RED * red + U_OF_GREEN * green + U_OF_BLUE * blue + (1 << 17) - 1) >> 18
            v = (V_OF_RED * red + V_OF_GREEN * green + V_OF_BLUE * blue + (1 << 17) - 1) >> 18
            record[at] = u + 128
            record[at + half * half] = v + 128


def to_yuv420_reference(image: Image, record: Image) -> None:
    """`_to_yuv420` in NumPy: uint8 size size 3 → uint8 size · size · 3 / 2, into `record`."""
    half = len(image) // 2
    red, green, blue = np.moveaxis(image.astype(np.int32), 2, 0)
    y = (Y_OF_RED * red + Y_OF_GREEN * green + Y_OF_BLUE * blue + 32768) >> 16
    red, green, blue = (x.reshape(half, 2, half, 2).sum((1, 3)) for x in (red, green, blue))
    u = (U_OF_RED * red + U_OF_GREEN * green + U_OF_BLUE * blue + (1 << 17) - 1) >> 18
    v = (V_OF_RED * red + V_OF_GREEN * green + V_OF_BLUE * blue + (1 << 17) - 1) >> 18
    record[:] = np.concatenate([y.ravel(), u.ravel() + 128, v.ravel() + 128])


def moments(image: Image) -> NDArray[np.int64]:
    """The exact sums (r, g, b, rr, rg, rb, gg, gb, bb) over the pixels of uint8 H W 3."""
    rows = np.ascontiguousarray(image).reshape(len(image), -1)
    found = np.zeros(9, np.int64)
    for top in range(0, len(rows), ROWS):
        compiled(_moments, moments_reference)(rows[top : top + ROWS], found)
    return found


def _moments(rows, found):  # type: ignore[no-untyped-def]
    """Sums down every column of bytes first: that vectorizes, colors side by side do not.

    Of the bytes, of their squares, and of their products with the next and with the one after.
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
        found[0] += value[r]
        found[1] += value[g]
        found[2] += value[b]
        found[3] += square[r]
        found[4] += next_[r]
        found[5] += after[r]
        found[6] += square[g]
        found[7] += next_[g]
        found[8] += square[b]


def moments_reference(rows: Image, found: NDArray[np.int64]) -> None:
    """`_moments` in NumPy: rows of interleaved colors, uint8 H 3·W, added to the nine sums."""
    red, green, blue = np.moveaxis(rows.reshape(len(rows), -1, 3).astype(np.int64), 2, 0)
    pairs = (red, red), (red, green), (red, blue), (green, green), (green, blue), (blue, blue)
    found += [red.sum(), green.sum(), blue.sum(), *((x * y).sum() for x, y in pairs)]


@functools.cache
def compiled(loop: Callable[..., Any], reference: Callable[..., Any]) -> Callable[..., Any]:
    """The loop compiled by Numba, kept on disk where that can be written; else its reference."""
    try:
        import numba
    except ImportError:
        return reference
    try:
        return numba.njit(cache=True, nogil=True)(loop)
    except RuntimeError:  # no writable place beside the package nor in the user's cache
        return numba.njit(nogil=True)(loop)
