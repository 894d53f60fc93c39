"""The result of a decoder: a `Decoded` image, or the error `UnusableImage` with the reason."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class UnusableImage(ValueError):  # noqa: N818 - it says what the bytes are
    """These bytes cannot be used as an image.

    `reason` is one word for the log of a pack: empty, not_an_image, truncated, broken, unsupported,
    needs_heic (`heif`), too_many_pixels or too_much_memory; or, where the content could not even be
    read, not_a_file or too_large. `str` of the error is a sentence with the details.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason

    def __reduce__(self) -> tuple[type[UnusableImage], tuple[str, str]]:
        return UnusableImage, (self.reason, str(self))


@dataclass(frozen=True, eq=False)
class Decoded:
    """An image as it was stored, and what was unusual about it."""

    pixels: NDArray[np.uint8]
    """RGB, shape (H, W, 3)."""
    format: str
    """The format by Pillow's name: JPEG, PNG, …"""
    notes: tuple[str, ...] = ()
    """Any of these words:

    * cmyk, 16bit, float: the stored colors were of this kind and have been converted
    * transparent: there was an alpha channel; the image was laid over white
    * first_frame: there were several frames; the first was taken
    * lenient: a JPEG that simplejpeg rejected and Pillow accepted
    * rotated: the EXIF orientation was applied
    """
