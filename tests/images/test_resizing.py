"""Resizing to a square: the fast filter against Pillow's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alexnet.images.resizing import PADDING, fit

SHAPES = [(375, 500), (500, 375), (60, 80), (33, 33), (1, 1), (1, 900), (900, 1), (257, 256)]


def noise(*shape) -> np.ndarray:
    """Random bytes, the same for the same shape."""
    return np.random.default_rng(shape).integers(0, 256, shape, np.uint8)


def pillow_fit(pixels, size, mode) -> np.ndarray:
    """The reference: resize the whole image with Pillow, then crop it or paste it on gray."""
    height, width = pixels.shape[:2]
    side = {"crop": min(height, width), "pad": max(height, width), "squash": 0}[mode]
    shape = [max(1, (2 * e * size + side) // (2 * side)) if side else size for e in (width, height)]
    image = Image.fromarray(pixels).resize(tuple(shape), Image.Resampling.BILINEAR)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    square = Image.new("RGB", (size, size), (PADDING,) * 3)
    square.paste(image, (-left, -top))
    return np.asarray(square)


@pytest.mark.parametrize("mode", ["crop", "squash"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_filter_is_pillows(shape, mode):
    pixels = noise(*shape, 3)
    ours, pillows = fit(pixels, 64, mode).astype(int), pillow_fit(pixels, 64, mode)
    assert np.abs(ours - pillows).max() <= 2  # Pillow rounds to bytes between rows and columns
    assert np.abs(ours - pillows).mean() < 0.3


@pytest.mark.parametrize("shape", [(375, 500), (50, 20), (1, 900)])
def test_padding_is_gray_beside_the_whole_image(shape):
    square = fit(np.zeros((*shape, 3), np.uint8), 64, "pad")
    inside = max(1, round(64 * min(shape) / max(shape)))
    assert (square == 0).sum() == inside * 64 * 3
    assert (square == PADDING).sum() == (64 - inside) * 64 * 3


def test_an_image_of_the_right_size_is_left_alone():
    pixels = noise(64, 64, 3)
    assert fit(pixels, 64) is pixels


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_a_flat_image_stays_flat(height, width, size):
    pixels = np.full((height, width, 3), (0, 130, 255), np.uint8)
    for mode in ("crop", "squash"):
        assert np.array_equal(fit(pixels, size, mode), np.full((size, size, 3), (0, 130, 255)))


def test_shrinking_is_antialiased():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    inner = fit(stripes, 64)[:, 2:-2]
    assert inner.min() >= 126
    assert inner.max() <= 129


def test_an_unknown_mode_is_an_error():
    with pytest.raises(ValueError, match="crop, pad, squash"):
        fit(noise(4, 4, 3), 2, "stretch")  # type: ignore[arg-type]
