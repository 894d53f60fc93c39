"""Images for the tests of decoding, encoded in any format, and what decoding them comes to."""

import io

import numpy as np
from PIL import Image

from alexnet.images.decoded import UnusableImage
from alexnet.images.decoding import decode


def picture(height=60, width=80) -> np.ndarray:
    """A smooth picture, so that lossy formats keep it."""
    y, x = np.mgrid[:height, :width]
    return np.stack([3 * x, 4 * y, 255 - 3 * x], -1).clip(0, 255).astype(np.uint8)


def encoded(image, format="PNG", **options) -> bytes:
    """The bytes of a picture or of a Pillow image in some format."""
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    memory = io.BytesIO()
    image.save(memory, format, **options)
    return memory.getvalue()


def verdict(content) -> str:
    """What decoding comes to: "decoded", or the reason why not."""
    try:
        return decode(content) and "decoded"
    except UnusableImage as error:
        return error.reason


def close(pixels, expected, levels):
    """Whether two pictures differ by no more than so many levels on average."""
    return np.abs(pixels.astype(int) - expected).mean() <= levels


RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)
