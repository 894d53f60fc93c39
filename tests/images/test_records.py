"""Records and the sums over their pixels, against formulas in floats and integers."""

import numpy as np
import pytest

from alexnet.images.records import (
    moments,
    record_shape,
    records_to_pictures,
    records_to_rgb,
    write_record,
)
from alexnet.images.resizing import fit
from alexnet.packs.statistics import Sums


def noise(*shape) -> np.ndarray:
    """Random bytes, the same for the same shape."""
    return np.random.default_rng(shape).integers(0, 256, shape, np.uint8)


def test_an_unknown_format_is_an_error():
    with pytest.raises(ValueError, match="rgb or yuv420"):
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
    assert np.abs(records_to_rgb(record[None], 64, "yuv420")[0] - image).mean() < 2.5


def test_moments_are_exact(monkeypatch):
    monkeypatch.setattr("alexnet.images.records.SUMMED_ROWS", 20)
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


def test_pictures_of_records_are_rounded_to_the_nearest_byte():
    image = noise(8, 8, 3)
    record = np.empty(96, np.uint8)
    write_record(image, "yuv420", record)
    exact = records_to_rgb(record[None], 8, "yuv420")
    pictures = records_to_pictures(record[None], 8, "yuv420")
    assert pictures.dtype == np.uint8
    assert pictures.shape == (1, 8, 8, 3)
    assert np.abs(pictures - exact.clip(0, 255)).max() <= 0.5
    assert np.array_equal(records_to_pictures(image[None], 8, "rgb"), image[None])
