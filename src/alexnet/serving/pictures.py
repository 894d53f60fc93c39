"""What the page shows of an image, as pixels: the crop, the heat map, the first-layer responses.

`app` calls these functions in a thread and sends the pixels as PNG files. Only NumPy; the network
is not touched here.
"""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

from alexnet.batches.preprocessing import Preprocessing
from alexnet.images.png import encode_png
from alexnet.images.records import records_to_pictures

COLORS = np.array(
    [(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], np.float32
)
"""From cold to hot: five colors of matplotlib's inferno, which rise in brightness and so can be
told apart without color vision."""
COLDEST, HOTTEST = 90, 190
"""Opacity of the heat map over the crop, of 255."""
GAP = 2
"""Pixels between the responses of two kernels."""


def make_data_url(pixels: NDArray[np.uint8]) -> str:
    """Return pixels, uint8 (H, W), (H, W, 3) or (H, W, 4) with opacity, as a data: URL of a PNG."""
    return "data:image/png;base64," + base64.b64encode(encode_png(pixels)).decode("ascii")


def convert_record(record: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Return the packed image of a record as RGB pixels, uint8 (side, side, 3)."""
    return records_to_pictures(record[None], preprocessing.side, preprocessing.pixels)[0]


def crop_center(record: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Return the center view of a record as RGB pixels, uint8 (crop, crop, 3)."""
    at, crop = preprocessing.center_offset, preprocessing.crop
    return np.ascontiguousarray(
        convert_record(record, preprocessing)[at : at + crop, at : at + crop]
    )


def color_heat(heat: NDArray[np.float32], side: int) -> NDArray[np.uint8]:
    """Enlarge a heat map (h, w), ≥ 0, and color it: uint8 (side, side, 4), with opacity.

    Its largest value is the hottest.
    """
    large = enlarge(heat / (float(heat.max()) or 1.0), side)
    steps = np.linspace(0, 1, len(COLORS))
    channels = [np.interp(large, steps, COLORS[:, i]) for i in range(3)]
    opacity = COLDEST + (HOTTEST - COLDEST) * large
    return np.rint(np.stack([*channels, opacity], -1)).clip(0, 255).astype(np.uint8)


def enlarge(values: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Interpolate (h, w) linearly to (side, side); each value is at the center of its cell."""
    for axis in (0, 1):
        n = values.shape[axis]
        at = ((np.arange(side) + 0.5) * n / side - 0.5).clip(0, n - 1)
        low = np.floor(at).astype(np.int64)
        share = (at - low).astype(np.float32)
        share = share[:, None] if axis == 0 else share[None, :]
        high = np.minimum(low + 1, n - 1)
        values = values.take(low, axis) * (1 - share) + values.take(high, axis) * share
    return values


def tile_responses(responses: NDArray[np.float32], columns: int = 12) -> NDArray[np.uint8]:
    """Arrange the responses of all kernels, (channels, h, w), as gray pictures in rows.

    There are `columns` in a row, or up to half as many if that fills the last row.
    All share one scale: gray is 0, white the largest response in either direction (the largest of
    995 in 1000, so that one outlier does not darken the others), black its opposite. Returns
    uint8 (H, W).
    """
    channels, height, width = responses.shape
    top = float(np.quantile(np.abs(responses), 0.995)) or 1.0
    gray = np.rint(127.5 + 127.5 * (responses / top).clip(-1, 1)).astype(np.uint8)
    columns = min(columns, channels)
    columns = next((n for n in range(columns, columns // 2, -1) if channels % n == 0), columns)
    rows = -(-channels // columns)
    tiles = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP), 255, np.uint8)
    for number, picture in enumerate(gray):
        y, x = number // columns * (height + GAP), number % columns * (width + GAP)
        tiles[y : y + height, x : x + width] = picture
    return tiles
