"""Pixels that the page shows."""

import base64
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.conftest import picture

from alexnet.serving import pictures


def test_a_data_url_is_a_png_with_the_same_pixels():
    for pixels in (picture(0, 1), picture(0, 1)[..., 0], np.dstack([picture(0, 1)] * 2)[..., :4]):
        head, _, text = pictures.make_data_url(np.ascontiguousarray(pixels)).partition(",")
        assert head == "data:image/png;base64"
        found = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
        np.testing.assert_array_equal(found, pixels)


def test_the_crop_is_the_center_of_the_record(classifier):
    record = picture(1, 3)
    found = pictures.crop_center(record, classifier.preprocessing)
    np.testing.assert_array_equal(found, record[2:30, 2:30])


def test_enlarged_values_are_interpolated_between_the_centers_of_cells():
    found = pictures.enlarge(np.array([[0.0, 1.0]], np.float32), 4)
    np.testing.assert_allclose(found, np.tile([0, 0.25, 0.75, 1], (4, 1)))


def test_heat_is_brighter_and_more_opaque_where_it_is_hotter():
    found = pictures.color_heat(np.array([[0.0, 0.5, 1.0]], np.float32), 3)[0]
    brightness = found[:, :3].astype(int).sum(1)
    assert brightness[0] < brightness[1] < brightness[2]
    assert found[:, 3].tolist() == [pictures.COLDEST, 140, pictures.HOTTEST]


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 5))
def test_every_kernel_has_its_place_in_the_tiles(channels, height, width):
    responses = np.full((channels, height, width), -1, np.float32)
    found = pictures.tile_responses(responses, columns=4)
    assert (found == 0).sum() == channels * height * width
    assert found.shape[1] <= 4 * (width + pictures.GAP) - pictures.GAP


@pytest.mark.parametrize(("channels", "columns"), [(96, 12), (32, 8), (64, 8), (5, 5), (13, 12)])
def test_rows_are_full_where_a_number_of_columns_allows_it(channels, columns):
    found = pictures.tile_responses(np.ones((channels, 1, 1), np.float32))
    assert found.shape[1] == columns * (1 + pictures.GAP) - pictures.GAP


def test_no_response_is_gray_and_opposite_responses_are_white_and_black():
    responses = np.array([[[0.0]], [[3.0]], [[-3.0]]], np.float32)
    tiles = pictures.tile_responses(responses)
    assert tiles[0, [0, 3, 6]].tolist() == [128, 255, 0]
    assert pictures.tile_responses(np.zeros((2, 3, 3), np.float32)).min() == 128
