"""Pillow's modes (palettes, alpha, CMYK, 16 bits, floats, …), converted to 8-bit RGB.

An image is converted in strips of a few rows, because a second copy of a whole image could take
gigabytes. `pillow` calls this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet.images.orientation import allocate_upright, view_as_stored

_STRIP_PIXELS = 1 << 16
"""Pixels that are converted at a time."""
_WHITE = (255, 255, 255, 255)
_Conversion = Callable[[Image.Image], NDArray[np.uint8]]


def convert_to_rgb(
    image: Image.Image, orientation: int
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """The pixels of an image in any of Pillow's modes, and notes on what had to be converted.

    The pixels are uint8 (H, W, 3), turned upright as the EXIF `orientation` says (1: as stored).
    The notes are those of `Decoded`.
    """
    image.load()
    pixels = allocate_upright(image.height, image.width, orientation)
    rows = view_as_stored(pixels, orientation)
    convert, notes = _choose_conversion(image)
    for top, strip in _strips(image):
        rows[top : top + strip.height] = convert(strip)
    return pixels, notes


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """A few rows at a time, each with the index of its first row."""
    width, height = image.size
    n_rows = max(1, _STRIP_PIXELS // max(1, width))
    for top in range(0, height, n_rows):
        yield top, image.crop((0, top, width, min(top + n_rows, height)))


def _choose_conversion(image: Image.Image) -> tuple[_Conversion, tuple[str, ...]]:
    """The function that converts a strip of this image to (H, W, 3) or (H, W, 1), and the notes."""
    if image.mode.startswith("I"):
        return _convert_sixteen_bits(image), ("16bit",)
    if image.mode == "F":
        return _convert_floats(image), ("float",)
    if image.has_transparency_data:
        return _lay_over_white, ("transparent",)
    return _convert_plain, ("cmyk",) if image.mode == "CMYK" else ()


def _convert_plain(strip: Image.Image) -> NDArray[np.uint8]:
    """By Pillow's own conversion, which is right for every opaque mode of 8 bits or fewer."""
    return np.asarray(strip.convert("RGB"))


def _lay_over_white(strip: Image.Image) -> NDArray[np.uint8]:
    """Composite transparent pixels with white."""
    strip = strip.convert("RGBA")
    return _convert_plain(Image.alpha_composite(Image.new("RGBA", strip.size, _WHITE), strip))


def _convert_sixteen_bits(image: Image.Image) -> _Conversion:
    """Keep the high byte of 16-bit gray levels.

    They are in mode I;16 and its relatives, and in mode I (32 bits), whose values usually need 16
    bits. Pillow's own conversion would clip everything above 255 to white.
    """
    largest = max(int(np.asarray(strip).max()) for _, strip in _strips(image))
    transparent = image.info.get("transparency")

    def convert(strip: Image.Image) -> NDArray[np.uint8]:
        values = np.asarray(strip).astype(np.int64)
        gray = (np.clip(values, 0, None) >> (8 if largest < 1 << 16 else 24)).astype(np.uint8)
        if isinstance(transparent, int):
            gray[values == transparent] = 255
        return gray[:, :, None]

    return convert


def _convert_floats(image: Image.Image) -> _Conversion:
    """Convert floats of unknown range to gray levels from 0 to 255.

    White is the smallest of 1, 255 and 65,535 that no value exceeds, or else the maximum. NaN and
    infinities become black.
    """

    def finite(strip: Image.Image) -> NDArray[np.float64]:
        return np.nan_to_num(np.asarray(strip), posinf=0.0, neginf=0.0).astype(np.float64)

    largest = max(float(finite(strip).max()) for _, strip in _strips(image))
    white = next((white for white in (1.0, 255.0, 65535.0) if largest <= white), largest)

    def convert(strip: Image.Image) -> NDArray[np.uint8]:
        gray = np.clip(np.rint(finite(strip) * (255 / white)), 0, 255)
        return gray.astype(np.uint8)[:, :, None]

    return convert
