"""EXIF orientation."""

import io

import numpy as np
import pytest
from PIL import Image
from tests.images.encoded_images import close, encoded, picture

from alexnet.images.decoding import decode


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_orientation_is_applied_only_when_asked(orientation, format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(picture(), format, exif=exif)
    upright = np.asarray(Image.open(io.BytesIO(content)))
    for method in {
        2: ["FLIP_LEFT_RIGHT"],
        3: ["ROTATE_180"],
        4: ["FLIP_TOP_BOTTOM"],
        5: ["TRANSPOSE"],
        6: ["ROTATE_270"],
        7: ["TRANSVERSE"],
        8: ["ROTATE_90"],
    }.get(orientation, []):
        upright = np.asarray(Image.fromarray(upright).transpose(Image.Transpose[method]))
    assert decode(content).pixels.shape == (60, 80, 3)
    assert close(decode(content, upright=True).pixels, upright, 1)


def test_an_image_with_broken_exif_is_decoded():
    content = encoded(picture(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(40))
    assert decode(content, upright=True).pixels.shape == (60, 80, 3)
