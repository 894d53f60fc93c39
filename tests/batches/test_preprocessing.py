"""The preprocessing that is made from a pack and a recipe."""

import pytest

from alexnet.batches.preprocessing import Preprocessing
from alexnet.recipes.recipe import Recipe


def test_a_crop_larger_than_the_packed_images_is_refused(tiny_pack):
    with pytest.raises(ValueError, match=r"224×224 pixels out of images, but .* are 32×32"):
        Preprocessing.of(tiny_pack, Recipe())


def test_without_subtraction_the_mean_is_zero(tiny_pack):
    assert not Preprocessing.of(tiny_pack, Recipe(crop=28, subtract_mean=False)).mean.any()
    assert Preprocessing.of(tiny_pack, Recipe(crop=28)).mean.any()


def test_a_crop_larger_than_the_image_is_refused_when_it_is_read_from_a_file(tiny_pack):
    made = Preprocessing.of(tiny_pack, Recipe(crop=28))
    with pytest.raises(ValueError, match=r"the crop has 33 pixels a side, but .* have 32"):
        Preprocessing.restore(made.settings() | {"crop": 33}, made.tensors())
