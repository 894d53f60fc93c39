"""Squares, records and sums: the fast loops against their formulas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alexnet.images.records import PADDING, fit, moments, record_shape, rgb, write_record
from alexnet.packs.statistics import Sums

SHAPES = [(375, 500), (500, 375), (60, 80), (33, 33), (1, 1), (1, 900), (900, 1), (257, 256)]


def noise(*shape) -> np.ndarray:
    return np.random.default_rng(shape).integers(0, 256, shape, np.uint8)


def pillow_fit(pixels, size, mode) -> np.ndarray:
    """The slow twin: resize all of it by Pillow, then cut or lay on gray."""
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


def test_unknown_words_are_refused():
    with pytest.raises(ValueError, match="crop, pad, squash"):
        fit(noise(4, 4, 3), 2, "stretch")
    with pytest.raises(ValueError, match="rgb and yuv420"):
        record_shape(4, "yuv444")


def test_yuv420_takes_98304_bytes_and_refuses_odd_sizes():
    assert record_shape(256, "yuv420") == (98_304,)
    with pytest.raises(ValueError, match="even size, not 33"):
        record_shape(33, "yuv420")


def test_yuv420_is_plane_y_then_quarter_planes_u_and_v():
    image = noise(8, 8, 3)
    record = np.empty(96, np.uint8)
    write_record(image, "yuv420", record)
    red, green, blue = np.moveaxis(image.astype(float), 2, 0)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    u, v = 128 + 0.564334 * (blue - y), 128 + 0.713267 * (red - y)
    quarter = [plane.reshape(4, 2, 4, 2).mean((1, 3)).ravel() for plane in (u, v)]
    assert np.abs(record - np.concatenate([y.ravel(), *quarter])).max() <= 0.51


def test_yuv420_of_a_smooth_image_comes_back():
    image = fit(noise(4, 4, 3), 64)
    record = np.empty(64 * 96, np.uint8)
    write_record(image, "yuv420", record)
    assert np.abs(rgb(record[None], 64, "yuv420")[0] - image).mean() < 2.5


def test_moments_are_exact(monkeypatch):
    monkeypatch.setattr("alexnet.images.records.ROWS", 20)
    image = noise(50, 40, 3)
    colors = image.reshape(-1, 3).astype(int)
    products = (colors.T @ colors)[np.triu_indices(3)]
    assert moments(image).tolist() == [*colors.sum(0), *products]


def test_sums_are_exact_beyond_what_sixteen_bits_hold():
    record, sums = noise(60), Sums(60)
    white = np.full(60, 255, np.uint8)
    for count in range(600):
        sums.add(white if count % 2 else record, np.ones(9, np.int64))
    assert np.array_equal(sums.total, 300 * record.astype(int) + 300 * 255)
    assert (sums.images, sums.moments) == (600, [600] * 9)
