"""From packed pixels to inputs: the arithmetic and the chance, apart."""

import dataclasses

import numpy as np
import pytest
import torch

from alexnet.batches import augment as module
from alexnet.batches.augment import (
    Preprocessing,
    augment,
    center_view,
    color_shifts,
    draws,
    order,
    same_view,
    ten_views,
)
from alexnet.recipes.recipe import Recipe

COMPONENTS = [
    [0.41795513, -0.71257945, -0.56351045],
    [-0.81698062, -0.02354167, -0.5761844],
    [0.39731118, 0.70119634, -0.59200296],
]
DEVIATIONS = [19.72083305, 37.09388853, 121.78006099]  # of ImageNet, as the 2014 code ships them


def preprocessing(side=256, crop=224, mean=0.0, scale=1.0):
    return Preprocessing(
        side=side,
        crop=crop,
        fit="crop",
        pixels="rgb",
        pixel_scale=scale,
        mean=torch.full((side, side, 3), mean),
        components=torch.tensor(COMPONENTS),
        deviations=torch.tensor(DEVIATIONS),
    )


def shifted(value, steps, noise):
    """One pixel of an image of one value, after such steps along the components."""
    how = preprocessing(8, 8)
    draw = dataclasses.replace(
        same_view(1, 0, 0), shifts=color_shifts(torch.tensor([steps]) * noise, how)
    )
    records = np.full((1, 8, 8, 3), value, np.uint8)
    return augment(records, draw, how, color_noise=noise)[0, :, 3, 3].tolist()


def test_color_noise_is_that_of_the_2012_code():
    one = [0.0, 0.0, 1.0]
    expected = [v * 0.1 / 1.1 for v in (-68.624, -70.168, -72.094)]
    assert shifted(0, one, 0.1) == pytest.approx(expected, abs=1e-3)
    assert shifted(100, one, 0.1) == pytest.approx([84.6705, 84.5302, 84.3551], abs=1e-3)
    assert shifted(100, [0.0, 0.0, 0.0], 0.1) == pytest.approx([90.9091] * 3, abs=1e-3)
    assert shifted(100, one, 0.0) == pytest.approx([100.0] * 3)


def test_color_noise_has_the_covariance_of_the_colors():
    draw = draws(Recipe(color_noise=0.1), 0, 400_000, preprocessing())
    covariance = np.cov((draw.shifts / 0.1).numpy().T)
    assert np.diag(covariance) == pytest.approx([5475.9, 5183.9, 5935.5], rel=0.02)
    off = covariance[0, 1], covariance[0, 2], covariance[1, 2]
    assert off == pytest.approx([4705.5, 4324.5, 4909.7], rel=0.02)


def test_offsets_cover_33_places_each_way_and_half_are_mirrored():
    draw = draws(Recipe(), 3, 20_000, preprocessing())
    for places in (draw.tops, draw.lefts):
        assert sorted(set(places.tolist())) == list(range(33))
    assert draw.flips.float().mean().item() == pytest.approx(0.5, abs=0.02)


def test_each_switch_of_the_recipe_removes_its_chance():
    still = Recipe(random_crop=False, flip=False, color_noise=0.0)
    draw, middle = draws(still, 0, 50, preprocessing()), center_view(50, 32)
    for part in ("tops", "lefts", "flips"):
        assert torch.equal(getattr(draw, part), getattr(middle, part))
    assert not draw.shifts.any()


def test_draws_depend_on_seed_and_epoch_and_on_nothing_else():
    recipe, how = Recipe(seed=5), preprocessing()
    assert torch.equal(draws(recipe, 2, 99, how).shifts, draws(recipe, 2, 99, how).shifts)
    assert not torch.equal(draws(recipe, 2, 99, how).shifts, draws(recipe, 3, 99, how).shifts)
    other = dataclasses.replace(recipe, seed=6)
    assert not torch.equal(draws(recipe, 2, 99, how).tops, draws(other, 2, 99, how).tops)


def test_an_epochs_order_is_a_permutation_that_changes_with_the_epoch():
    first, second = order(0, 0, 1000), order(0, 1, 1000)
    assert sorted(first) == sorted(second) == list(range(1000))
    assert (first != second).any()


def test_each_pixel_loses_its_own_mean_wherever_the_crop_is():
    how = preprocessing(8, 4)
    mean = torch.arange(8.0).repeat(8, 1)[..., None].expand(8, 8, 3).contiguous()
    how = dataclasses.replace(how, mean=mean)
    record = mean.to(torch.uint8).numpy()[None]
    for view in (same_view(1, 0, 0), same_view(1, 2, 4), same_view(1, 1, 3, True)):
        assert not augment(record, view, how).any()


def test_ten_views_come_in_the_order_of_the_2012_code():
    corners = [(0, 0), (0, 32), (16, 16), (32, 0), (32, 32)]
    found = [(int(v.tops), int(v.lefts), bool(v.flips)) for v in ten_views(1, 32)]
    assert found == [(*c, False) for c in corners] + [(*c, True) for c in corners]


def test_a_mirrored_view_is_the_crop_mirrored():
    record = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    how = preprocessing(8, 5)
    plain, mirrored = (augment(record, same_view(1, 1, 2, flip), how) for flip in (False, True))
    assert torch.equal(plain.flip(-1), mirrored)
    assert plain[0].permute(1, 2, 0).numpy() == pytest.approx(record[0, 1:6, 2:7].astype(float))


def test_images_come_out_channels_last_and_scaled():
    record = np.full((2, 8, 8, 3), 64, np.uint8)
    images = augment(record, center_view(2, 4), preprocessing(8, 4, scale=1 / 64))
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, torch.ones(2, 3, 4, 4))


def test_a_crop_larger_than_the_packed_images_is_refused(tiny_pack):
    with pytest.raises(ValueError, match=r"224×224 pixels out of images, but .* are 32×32"):
        Preprocessing.of(tiny_pack, Recipe())


def test_without_subtraction_the_mean_is_zero(tiny_pack):
    assert not Preprocessing.of(tiny_pack, Recipe(crop=28, subtract_mean=False)).mean.any()
    assert module.Preprocessing.of(tiny_pack, Recipe(crop=28)).mean.any()


def test_chunks_of_32_share_offset_and_mirroring_but_not_their_colors():
    draw, alone = (draws(Recipe(chunk=chunk), 0, 6400, preprocessing()) for chunk in (32, 1))
    for part in ("tops", "lefts", "flips"):
        chunks, single = getattr(draw, part).view(200, 32), getattr(alone, part).view(200, 32)
        assert torch.equal(chunks, single[:, :1].expand(200, 32))
    assert sorted(set(draw.tops.tolist())) == list(range(33))
    assert torch.equal(draw.shifts, alone.shifts)


def test_the_mean_of_the_center_is_subtracted_wherever_the_crop_is():
    mean = torch.arange(256.0).repeat(256, 1)[..., None].expand(256, 256, 3).contiguous()
    how = dataclasses.replace(preprocessing(), mean=mean, mean_at="center")
    record = mean.to(torch.uint8).numpy()[None]
    assert (augment(record, same_view(1, 5, 0), how) == -16).all()
    assert not augment(record, same_view(1, 5, 16), how).any()
    assert (augment(record, same_view(1, 0, 32, True), how) == 16).all()


def test_color_noise_ends_when_the_recipe_says():
    recipe, how = Recipe(noise_until=2), preprocessing()
    assert [bool(draws(recipe, epoch, 9, how).shifts.any()) for epoch in range(4)] == [
        True,
        True,
        False,
        False,
    ]
    plain = draws(Recipe(), 3, 9, how)
    assert torch.equal(draws(recipe, 3, 9, how).tops, plain.tops)
