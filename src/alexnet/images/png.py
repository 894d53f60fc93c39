"""Pixels as a PNG file, for the contact sheet of `alexnet info`, for `serving` and for tests."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_FONT_SIZE = 12


def write_png(
    path: Path, pixels: NDArray[np.uint8], captions: Iterable[tuple[int, int, str]] = ()
) -> None:
    """Write uint8 pixels of shape (H, W, 3) to a PNG file.

    Each caption (x, y, text) is drawn in black with its top left corner at column x, row y.
    """
    image = Image.fromarray(pixels)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(_FONT_SIZE)
    for x, y, text in captions:
        draw.text((x, y), text, fill=(0, 0, 0), font=font)
    image.save(path, "PNG")


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return uint8 pixels as the bytes of a PNG file, compressed little, because that is quick.

    Shapes are (H, W), gray; (H, W, 3), RGB; and (H, W, 4), RGB and opacity.
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()
