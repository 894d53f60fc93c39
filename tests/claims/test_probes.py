"""Measurements of a single network: size, colors of kernels, ranks of labels, neighbors."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from alexnet.claims import probes
from alexnet.recipes.recipe import Recipe


def checkpoint(weights, **fields):
    return SimpleNamespace(recipe=Recipe(**fields), weights={"conv1.weight": weights})


def test_the_network_has_the_papers_parameters_and_neurons():
    assert probes.count_size("alexnet") == {"parameters": 60_965_224, "neurons": 659_272}


def test_a_gray_kernel_has_colorfulness_0_and_a_difference_of_two_channels_has_1():
    kernels = torch.zeros(4, 3, 2, 2)
    kernels[:2] = torch.randn(2, 1, 2, 2)
    kernels[2:, 0], kernels[2:, 1] = 1.0, -1.0
    assert probes.measure_tower_colors(checkpoint(kernels)) == [[0.0, 0.0], [1.0, 1.0]]


def test_random_kernels_have_a_mean_colorfulness_of_two_thirds():
    kernels = np.random.default_rng(0).normal(size=(200, 3, 11, 11))
    assert np.mean(probes.compute_colorfulness(kernels)) == pytest.approx(2 / 3, abs=0.01)


@pytest.mark.parametrize("fields", [{"network": "cifar"}, {"variations": ("towers=1",)}])
def test_a_network_without_two_towers_is_rejected(fields):
    with pytest.raises(ValueError, match="does not have two towers"):
        probes.measure_tower_colors(checkpoint(torch.zeros(4, 3, 2, 2), **fields))


def test_an_image_is_compared_with_its_five_nearest_others_and_not_with_itself():
    vectors = np.repeat(np.arange(3.0), 7)[:, None].astype(np.float32) * 10
    vectors = vectors + np.random.default_rng(0).normal(size=(21, 4)).astype(np.float32)
    labels = np.repeat(np.arange(3), 7)
    assert probes.count_same_class(vectors, labels) == 21 * 5
    assert probes.count_same_class(vectors, np.arange(21)) == 0


def test_blocks_of_4_by_4_pixels_are_averaged_and_the_rest_is_cut_off():
    images = np.zeros((2, 9, 9, 3), np.uint8)
    images[1, :4, 4:8] = 200
    assert probes.average_blocks(images).shape == (2, 12)
    assert probes.average_blocks(images)[1].reshape(2, 2, 3)[0, 1].tolist() == [200.0] * 3
