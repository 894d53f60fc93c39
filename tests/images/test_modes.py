"""Pillow's modes converted to RGB."""

import numpy as np
import pytest
from PIL import Image
from tests.images.encoded_images import RAMP, close, encoded, picture

from alexnet.images.decoding import decode
from alexnet.images.pillow import read_pillow_image


def test_cmyk_jpeg_is_converted_and_noted():
    image = Image.fromarray(picture()).convert("CMYK")
    decoded = decode(encoded(image, "JPEG", quality=98))
    assert decoded.notes == ("cmyk",)
    assert close(decoded.pixels, picture(), 3)


def test_transparent_pixels_are_laid_over_white():
    clear = np.dstack([picture(), np.zeros((60, 80), np.uint8)])
    decoded = decode(encoded(clear))
    assert decoded.notes == ("transparent",)
    assert (decoded.pixels == 255).all()


@pytest.mark.parametrize("mode", ["LA", "P"])
def test_gray_and_palette_images_may_be_transparent(mode):
    image = Image.new("RGBA", (4, 4), (10, 10, 10, 0)).convert(mode)
    if mode == "P":
        image = Image.new("P", (4, 4), 0)
        image.info["transparency"] = 0
    assert (decode(encoded(image)).pixels == 255).all()


def test_one_bit_becomes_black_and_white():
    bits = Image.fromarray(picture()[..., 0] > 100).convert("1")
    assert set(np.unique(decode(encoded(bits)).pixels)) == {0, 255}


@pytest.mark.parametrize(
    ("format", "pixels"),
    [
        ("PNG", RAMP),
        ("TIFF", RAMP),
        ("TIFF", RAMP.astype(">u2")),
        ("TIFF", RAMP.astype(np.int32)),
        ("TIFF", RAMP.astype(np.float32)),
        ("TIFF", (RAMP / 65535).astype(np.float32)),
    ],
)
def test_sixteen_bits_keep_all_256_levels(format, pixels):
    gray = decode(encoded(pixels, format)).pixels[..., 0]
    assert np.array_equal(np.unique(gray), np.arange(256))
    assert (np.diff(gray.reshape(-1).astype(int)) >= 0).all()


def test_opened_pillow_images_are_converted_by_the_same_rules():
    image = Image.fromarray(RAMP)
    assert np.array_equal(np.unique(read_pillow_image(image)), np.arange(256))
