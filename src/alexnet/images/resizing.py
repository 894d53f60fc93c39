"""Resizes an image to a square with an antialiased filter, in integers.

`preparation` calls `fit` for every image, `packs.summary` for its thumbnails. The weights of the
filter are rounded to integers, and all further arithmetic is on integers, so a pack has the same
bytes on every machine.

The filter is separable: each output pixel is a weighted sum of source rows, then of columns. Along
one edge it is a triangle around the center of the output pixel. Shrinking 10 pixels to 4 (scale
2.5), output pixel 1 has its center at 1.5 · 2.5 = 3.75, and its triangle reaches 2.5 to each side:

    source pixel     |  0   |  1   |  2   |  3   |  4   |  5   |  6   |  7   |  8   |  9   |
    weight                    0.04   0.20   0.36   0.28   0.12
                              ▲ first = 1            number = 5 weights
    output pixel     |        0        |        1        |        2        |        3      |

When enlarging, the triangle reaches one source pixel to each side, which is linear interpolation.
"""

from __future__ import annotations

import functools
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from alexnet.images import compilation

Fit = Literal["crop", "pad", "squash"]
FITS = get_args(Fit)
_Image = NDArray[np.uint8]

PADDING = 128
"""Gray level next to an image that is padded to a square."""
WEIGHT_BITS = 14
"""The weights of a filter sum to 2^14: 255 · 2^14 · 2^14 / 2^6 still fits into 32 bits."""


def fit(pixels: _Image, size: int, mode: Fit = "crop") -> _Image:
    """Resize an image to a square: uint8 (H, W, 3) → (size, size, 3).

    `crop` resizes the shorter side to `size` and cuts out the center, `pad` resizes the longer side
    to `size` and adds gray on both sides of the shorter one, `squash` resizes each side to `size`.
    The filter is that of Pillow's `resize(..., BILINEAR)`, computed only for pixels that are kept.
    An image that already has this size is returned unchanged. Raises ValueError for another mode.
    """
    height, width = pixels.shape[:2]
    if mode == "squash":
        return _resize(pixels, (height, size), (width, size), size)
    if mode not in FITS:
        raise ValueError(f"fit is {mode!r}, but must be one of {', '.join(FITS)}")
    side = min(height, width) if mode == "crop" else max(height, width)
    tall, wide = (max(1, _divide_half_up(edge * size, side)) for edge in (height, width))
    if mode == "crop":
        return _resize(pixels, (height, tall), (width, wide), size)
    square = np.full((size, size, 3), PADDING, np.uint8)
    top, left = (size - tall) // 2, (size - wide) // 2
    square[top : top + tall, left : left + wide] = _resize(
        pixels, (height, tall), (width, wide), size
    )
    return square


def _divide_half_up(numerator: int, denominator: int) -> int:
    """The quotient rounded to the nearest integer, halves upward."""
    return (2 * numerator + denominator) // (2 * denominator)


def _resize(pixels: _Image, rows: tuple[int, int], columns: tuple[int, int], size: int) -> _Image:
    """Resize rows and columns, each (from, to), and keep at most the central `size` of each."""
    if rows[0] == rows[1] <= size and columns[0] == columns[1] <= size:
        return pixels
    vertical, horizontal = _vertical_taps(*rows, size), _horizontal_taps(*columns, size)
    out = np.empty((len(vertical.first), len(horizontal.offsets)), np.uint8)
    apply_filters = compilation.compile_loop(_apply_filters, apply_filters_reference)
    apply_filters(np.ascontiguousarray(pixels), vertical, horizontal, out)
    return out.reshape(len(out), -1, 3)


class VerticalTaps(NamedTuple):
    """A filter along one edge: the weights of the source pixels for each of n output pixels."""

    weights: NDArray[np.int32]
    """Shape (n, widest): the weights of one output pixel sum to 2^14; unused ones are 0."""
    first: NDArray[np.int64]
    """Shape (n,): index of the source pixel that the first weight belongs to."""
    number: NDArray[np.int64]
    """Shape (n,): how many weights are used."""


@functools.lru_cache(maxsize=256)
def _vertical_taps(length: int, target: int, size: int) -> VerticalTaps:
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
    return VerticalTaps(_quantize(weights / weights.sum(1, keepdims=True)), first, number)


def _quantize(weights: NDArray[np.float64]) -> NDArray[np.int32]:
    """Rows that sum to 1, as integers that sum to 2^14; the largest absorbs the rounding error."""
    integers = np.rint(weights * (1 << WEIGHT_BITS)).astype(np.int32)
    rows = np.arange(len(integers))
    integers[rows, integers.argmax(1)] += (1 << WEIGHT_BITS) - integers.sum(1, dtype=np.int32)
    return integers


class HorizontalTaps(NamedTuple):
    """A filter along rows of interleaved colors (r g b r g b …), laid out for vector instructions.

    The same tap of all n output pixels is contiguous, with each weight repeated for three colors.
    """

    start: int
    """First byte of a source row that has a weight."""
    length: int
    """Number of source bytes from there to the last one that has a weight."""
    offsets: NDArray[np.uint32]
    """Shape (3n,): position of the first tap of each output byte, counted from `start`."""
    weights: NDArray[np.int32]
    """Shape (widest, 3n)."""


@functools.lru_cache(maxsize=256)
def _horizontal_taps(length: int, target: int, size: int) -> HorizontalTaps:
    taps = _vertical_taps(length, target, size)
    start = 3 * int(taps.first[0])
    end = 3 * int((taps.first + taps.number).max())
    offsets = (3 * taps.first[:, None] + np.arange(3) - start).reshape(-1)
    weights = np.repeat(taps.weights.T, 3, axis=1)
    return HorizontalTaps(start, end - start, offsets.astype(np.uint32), weights)


def _apply_filters(source, vertical, horizontal, out):  # type: ignore[no-untyped-def]
    """Resize (H, W, 3) into `out`, uint8 (n_rows, 3 · n_columns); compiled by Numba.

    For each output row, filter vertically into one line of fixed-point sums with 8 fractional bits
    (14 bits of weight less 6), then filter that line horizontally (22 fractional bits).
    """
    start, length = horizontal.start, horizontal.length
    taps, bytes_out = horizontal.weights.shape
    line = np.zeros(length + 3 * taps, np.int32)  # a filter's unused taps may lie past the end
    sums = np.empty(bytes_out, np.int32)
    rows = source.reshape(source.shape[0], source.shape[1] * 3)
    for y in range(out.shape[0]):
        line[:length] = 32  # half of 2^6, so that the shift below rounds
        for tap in range(vertical.number[y]):
            weight = vertical.weights[y, tap]
            row = rows[vertical.first[y] + tap, start : start + length]
            for i in range(length):
                line[i] += weight * row[i]
        for i in range(length):
            line[i] >>= 6
        sums[:] = 1 << 21  # half of 2^22
        for tap in range(taps):
            weights, shifted = horizontal.weights[tap], line[3 * tap :]
            for i in range(bytes_out):
                sums[i] += weights[i] * shifted[horizontal.offsets[i]]
        for i in range(bytes_out):
            out[y, i] = sums[i] >> 22


def apply_filters_reference(
    source: _Image, vertical: VerticalTaps, horizontal: HorizontalTaps, out: _Image
) -> None:
    """`_apply_filters` in NumPy: the same bytes, more slowly."""
    start, length = horizontal.start, horizontal.length
    rows = source.reshape(len(source), -1)[:, start : start + length].astype(np.int32)
    lines = np.zeros((len(out), length + 3 * len(horizontal.weights)), np.int32)
    lines[:, :length] = 32
    for tap, weights in enumerate(vertical.weights.T):  # unused taps have weight 0
        source_rows = np.minimum(vertical.first + tap, len(rows) - 1)
        lines[:, :length] += weights[:, None] * rows[source_rows]
    lines >>= 6
    sums = np.full(out.shape, 1 << 21, np.int32)
    for tap, weights in enumerate(horizontal.weights):
        sums += weights * lines[:, 3 * tap + horizontal.offsets]
    out[:] = sums >> 22
