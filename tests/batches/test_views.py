"""The views of an image for evaluation."""

import numpy as np
import pytest
import torch

from alexnet.batches.preprocessing import Preprocessing
from alexnet.batches.views import crop_views, iterate_views, make_ten_views
from alexnet.recipes.recipe import Recipe

CPU = torch.device("cpu")
RECIPE = Recipe(crop=28, batch_size=32, color_noise=0.1)


def test_ten_views_come_in_the_order_of_the_2012_code():
    corners = [(0, 0), (0, 32), (16, 16), (32, 0), (32, 32)]
    found = [(int(v.tops), int(v.lefts), bool(v.flips)) for v in make_ten_views(1, 32)]
    assert found == [(*c, False) for c in corners] + [(*c, True) for c in corners]


def test_the_views_of_an_image_are_consecutive(tiny_pack):
    split, preprocessing = tiny_pack.splits["val"], Preprocessing.of(tiny_pack, RECIPE)
    batches = list(
        iterate_views(
            split, split.labels, np.arange(7), preprocessing, CPU, n_views=10, batch_size=3
        )
    )
    assert [tuple(batch.images.shape) for batch in batches] == [
        (30, 3, 28, 28),
        (30, 3, 28, 28),
        (10, 3, 28, 28),
    ]
    one_image = crop_views(split.gather(np.array([4])), preprocessing, 10)
    assert torch.equal(batches[1].images[10:20], one_image)


def test_another_number_of_views_is_refused(tiny_pack):
    preprocessing = Preprocessing.of(tiny_pack, RECIPE)
    with pytest.raises(ValueError, match="n_views is 7, but must be 1"):
        crop_views(tiny_pack.splits["val"].gather(np.arange(2)), preprocessing, 7)
