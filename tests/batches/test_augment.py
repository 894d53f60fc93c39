"""Augmentation: the random choices of an epoch, and the arithmetic that applies them."""

import dataclasses

import numpy as np
import pytest
import torch

from alexnet.batches.augment import augment, compute_color_noise, draw_augmentation, draw_order
from alexnet.batches.preprocessing import Preprocessing
from alexnet.batches.views import make_center_view, make_view
from alexnet.recipes.recipe import Recipe

COMPONENTS = [
    [0.41795513, -0.71257945, -0.56351045],
    [-0.81698062, -0.02354167, -0.5761844],
    [0.39731118, 0.70119634, -0.59200296],
]
DEVIATIONS = [19.72083305, 37.09388853, 121.78006099]  # of ImageNet, as the 2014 code ships them


def make_preprocessing(side=256, crop=224, mean=0.0, scale=1.0):
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


def shift_pixel(value, steps, noise):
    """One pixel of a uniform image of `value`, after `steps` along the color components."""
    preprocessing = make_preprocessing(8, 8)
    params = dataclasses.replace(
        make_view(1, 0, 0), shifts=compute_color_noise(torch.tensor([steps]) * noise, preprocessing)
    )
    records = np.full((1, 8, 8, 3), value, np.uint8)
    return augment(records, params, preprocessing, color_noise=noise)[0, :, 3, 3].tolist()


def test_color_noise_is_that_of_the_2012_code():
    one = [0.0, 0.0, 1.0]
    expected = [v * 0.1 / 1.1 for v in (-68.624, -70.168, -72.094)]
    assert shift_pixel(0, one, 0.1) == pytest.approx(expected, abs=1e-3)
    assert shift_pixel(100, one, 0.1) == pytest.approx([84.6705, 84.5302, 84.3551], abs=1e-3)
    assert shift_pixel(100, [0.0, 0.0, 0.0], 0.1) == pytest.approx([90.9091] * 3, abs=1e-3)
    assert shift_pixel(100, one, 0.0) == pytest.approx([100.0] * 3)


def test_color_noise_has_the_covariance_of_the_colors():
    params = draw_augmentation(Recipe(color_noise=0.1), 0, 400_000, make_preprocessing())
    covariance = np.cov((params.shifts / 0.1).numpy().T)
    assert np.diag(covariance) == pytest.approx([5475.9, 5183.9, 5935.5], rel=0.02)
    off = covariance[0, 1], covariance[0, 2], covariance[1, 2]
    assert off == pytest.approx([4705.5, 4324.5, 4909.7], rel=0.02)


def test_offsets_take_33_values_and_half_of_the_crops_are_mirrored():
    params = draw_augmentation(Recipe(), 3, 20_000, make_preprocessing())
    for offsets in (params.tops, params.lefts):
        assert sorted(set(offsets.tolist())) == list(range(33))
    assert params.flips.float().mean().item() == pytest.approx(0.5, abs=0.02)


def test_each_option_of_the_recipe_switches_its_augmentation_off():
    plain = Recipe(random_crop=False, flip=False, color_noise=0.0)
    params, center = draw_augmentation(plain, 0, 50, make_preprocessing()), make_center_view(50, 32)
    for part in ("tops", "lefts", "flips"):
        assert torch.equal(getattr(params, part), getattr(center, part))
    assert not params.shifts.any()


def test_augmentation_depends_on_seed_and_epoch_only():
    recipe, preprocessing = Recipe(seed=5), make_preprocessing()
    assert torch.equal(
        draw_augmentation(recipe, 2, 99, preprocessing).shifts,
        draw_augmentation(recipe, 2, 99, preprocessing).shifts,
    )
    assert not torch.equal(
        draw_augmentation(recipe, 2, 99, preprocessing).shifts,
        draw_augmentation(recipe, 3, 99, preprocessing).shifts,
    )
    other = dataclasses.replace(recipe, seed=6)
    assert not torch.equal(
        draw_augmentation(recipe, 2, 99, preprocessing).tops,
        draw_augmentation(other, 2, 99, preprocessing).tops,
    )


def test_an_epochs_order_is_a_permutation_that_changes_with_the_epoch():
    first, second = draw_order(0, 0, 1000), draw_order(0, 1, 1000)
    assert sorted(first) == sorted(second) == list(range(1000))
    assert (first != second).any()


def test_the_mean_of_its_own_position_is_subtracted_from_each_pixel():
    preprocessing = make_preprocessing(8, 4)
    mean = torch.arange(8.0).repeat(8, 1)[..., None].expand(8, 8, 3).contiguous()
    preprocessing = dataclasses.replace(preprocessing, mean=mean)
    record = mean.to(torch.uint8).numpy()[None]
    for view in (make_view(1, 0, 0), make_view(1, 2, 4), make_view(1, 1, 3, True)):
        assert not augment(record, view, preprocessing).any()


def test_a_mirrored_view_is_the_crop_mirrored():
    record = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    preprocessing = make_preprocessing(8, 5)
    plain, mirrored = (
        augment(record, make_view(1, 1, 2, flip), preprocessing) for flip in (False, True)
    )
    assert torch.equal(plain.flip(-1), mirrored)
    assert plain[0].permute(1, 2, 0).numpy() == pytest.approx(record[0, 1:6, 2:7].astype(float))


def test_images_come_out_channels_last_and_scaled():
    record = np.full((2, 8, 8, 3), 64, np.uint8)
    images = augment(record, make_center_view(2, 4), make_preprocessing(8, 4, scale=1 / 64))
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, torch.ones(2, 3, 4, 4))


def test_images_of_a_chunk_share_offsets_and_flip_but_not_color_shifts():
    params, alone = (
        draw_augmentation(Recipe(chunk=chunk), 0, 6400, make_preprocessing()) for chunk in (32, 1)
    )
    for part in ("tops", "lefts", "flips"):
        chunks, single = getattr(params, part).view(200, 32), getattr(alone, part).view(200, 32)
        assert torch.equal(chunks, single[:, :1].expand(200, 32))
    assert sorted(set(params.tops.tolist())) == list(range(33))
    assert torch.equal(params.shifts, alone.shifts)


def test_with_mean_at_center_every_crop_has_the_central_mean_subtracted():
    mean = torch.arange(256.0).repeat(256, 1)[..., None].expand(256, 256, 3).contiguous()
    preprocessing = dataclasses.replace(make_preprocessing(), mean=mean, mean_at="center")
    record = mean.to(torch.uint8).numpy()[None]
    assert (augment(record, make_view(1, 5, 0), preprocessing) == -16).all()
    assert not augment(record, make_view(1, 5, 16), preprocessing).any()
    assert (augment(record, make_view(1, 0, 32, True), preprocessing) == 16).all()


def test_color_noise_ends_at_the_epoch_that_the_recipe_names():
    recipe, preprocessing = Recipe(noise_until=2), make_preprocessing()
    assert [
        bool(draw_augmentation(recipe, epoch, 9, preprocessing).shifts.any()) for epoch in range(4)
    ] == [
        True,
        True,
        False,
        False,
    ]
    plain = draw_augmentation(Recipe(), 3, 9, preprocessing)
    assert torch.equal(draw_augmentation(recipe, 3, 9, preprocessing).tops, plain.tops)
