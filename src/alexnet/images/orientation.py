"""EXIF orientation: how to turn the stored pixels of a photograph so that it stands upright.

The letter F, stored with each orientation (tag 0x0112 of EXIF 2.32) and shown as it is stored:

      1       2       3       4          5            6           7            8

    ######  ######      ##  ##      ##########  ##                  ##  ##########
    ##          ##      ##  ##      ##  ##      ##  ##          ##  ##      ##  ##
    ####      ####    ####  ####    ##          ##########  ##########          ##
    ##          ##      ##  ##
    ##          ##  ######  ######

1 to 4 are upright, mirrored or upside down; in 5 to 8, rows and columns are also exchanged.

`decoding` and `pillow` use it if the caller asks for upright images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.images.decoded import Decoded

_ORIENTATION = 0x0112
STORED_UPRIGHT = 1
"""The orientation of an image that needs no turning."""
_MIRRORED_COLUMNS = 2, 3, 6, 7
_MIRRORED_ROWS = 3, 4, 7, 8
_TRANSPOSED = 5, 6, 7, 8


def read_orientation(image: Any) -> int:
    """The EXIF orientation, 1 to 8, of an image that Pillow has opened; 1 if missing or broken."""
    try:
        return int(image.getexif().get(_ORIENTATION, STORED_UPRIGHT))
    except Exception:  # noqa: BLE001 - the pixels are fine: broken EXIF must not cost the image
        return STORED_UPRIGHT


def needs_turning(orientation: int) -> bool:
    """Whether an image of this orientation is not stored upright; False for invalid values."""
    return 2 <= orientation <= 8


def allocate_upright(height: int, width: int, orientation: int) -> NDArray[np.uint8]:
    """An uninitialized upright image for stored pixels of shape (height, width, 3)."""
    shape = (width, height, 3) if orientation in _TRANSPOSED else (height, width, 3)
    return np.empty(shape, np.uint8)


def view_as_stored(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A view of an upright image whose rows and columns are those of the file.

    Writing stored rows into the view turns them without a second copy of the image.
    """
    if orientation in _MIRRORED_COLUMNS:
        upright = upright[:, ::-1]
    if orientation in _MIRRORED_ROWS:
        upright = upright[::-1]
    return upright.transpose(1, 0, 2) if orientation in _TRANSPOSED else upright


def turn_upright(decoded: Decoded, orientation: int) -> Decoded:
    """Apply an EXIF orientation to a decoded image, and note that as "rotated"."""
    if not needs_turning(orientation):
        return decoded
    height, width = decoded.pixels.shape[:2]
    pixels = allocate_upright(height, width, orientation)
    view_as_stored(pixels, orientation)[:] = decoded.pixels
    return Decoded(pixels, decoded.format, (*decoded.notes, "rotated"))
