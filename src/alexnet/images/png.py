"""Pixels as a PNG file, for the contact sheet of `alexnet info`, for `serving` and for tests."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from alexnet.fonts import split_by_font

_FONT_SIZE = 12


def write_png(
    path: Path, pixels: NDArray[np.uint8], captions: Iterable[tuple[int, int, str]] = ()
) -> None:
    """Write uint8 pixels of shape (H, W, 3) to a PNG file.

    Each caption (x, y, text) is drawn in black with its top left corner at column x, row y, each
    letter in an installed font that has it (`fonts.find_font`).
    """
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    for x, y, text in captions:
        _draw_caption(draw, x, y + _FONT_SIZE, text)
    image.save(path, "PNG")


def _draw_caption(draw: ImageDraw.ImageDraw, x: float, baseline: int, text: str) -> None:
    """Draw a text, which may need several fonts, on a baseline that begins at column x."""
    for path, part in split_by_font(text):
        font = ImageFont.truetype(path, _FONT_SIZE)
        draw.text((x, baseline), part, fill=(0, 0, 0), font=font, anchor="ls")
        x += font.getlength(part)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return uint8 pixels as the bytes of a PNG file, compressed little, because that is quick.

    Shapes are (H, W), gray; (H, W, 3), RGB; and (H, W, 4), RGB and opacity.
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()
