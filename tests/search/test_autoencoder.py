"""The autoencoder: its parts against plain definitions, and what training does."""

import dataclasses

import numpy as np
import pytest
import torch
from tests.search.feature_arrays import draw_features

from alexnet.search.autoencoder import (
    Encoder,
    EncoderOptions,
    binarize,
    find_components,
    fit_decoder,
    make_frame,
    rotate_to_signs,
    take_signs,
    train_encoder,
)

QUICK = EncoderOptions(bits=64, steps=60, batch_size=64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_bit_is_one_where_the_output_is_positive():
    weight, bias = torch.randn(64, 5, generator=seeded()), torch.randn(64, generator=seeded(1))
    x = torch.randn(7, 5, generator=seeded(2))
    codes = Encoder(weight, bias).encode(x)
    expected = [[float(weight[i] @ row + bias[i]) > 0 for i in range(64)] for row in x]
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(np.unpackbits(codes, axis=1), np.array(expected))
    np.testing.assert_array_equal(Encoder(weight, bias).encode(x.numpy()), codes)


def test_features_of_another_length_are_refused():
    encoder = Encoder(torch.zeros(64, 5), torch.zeros(64))
    with pytest.raises(ValueError, match=r"must be \(N, 5\) for these codes, got \(2, 6\)"):
        encoder.encode(torch.zeros(2, 6))


def test_the_components_are_those_of_the_singular_value_decomposition():
    x = torch.from_numpy(draw_features(300, 40))
    x = x - x.mean(0)
    components = find_components(x, 5, seeded())
    exact = torch.linalg.svd(x, full_matrices=False).Vh[:5].T
    torch.testing.assert_close((components.T @ exact).abs(), torch.eye(5), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("images", "dimensions"), [(30, 48), (300, 12), (3, 4)])
def test_there_are_no_more_components_than_images_or_features(images, dimensions):
    x = torch.randn(images, dimensions, generator=seeded())
    components = find_components(x, 64, seeded())
    assert components.shape == (dimensions, min(images, dimensions))


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (12, 64), (5, 64)])
def test_a_frame_has_blocks_of_orthonormal_columns(rows, columns):
    frame = make_frame(rows, columns, seeded())
    assert frame.shape == (rows, columns)
    block = frame[:, :rows]
    torch.testing.assert_close(block.T @ block, torch.eye(block.shape[1]), atol=1e-5, rtol=0)


def test_the_rotation_brings_the_images_nearer_to_their_signs():
    z = torch.randn(500, 32, generator=seeded()) * torch.linspace(2, 0.1, 32)
    first = make_frame(32, 32, seeded())
    rotation = rotate_to_signs(z, first)
    torch.testing.assert_close(rotation.T @ rotation, torch.eye(32), atol=1e-4, rtol=0)

    def lost(rotation):
        turned = z @ rotation
        return float((turned - take_signs(turned)).square().mean())

    assert lost(rotation) < lost(first)


def test_the_decoder_is_the_least_squares_solution():
    codes = take_signs(torch.randn(2000, 8, generator=seeded()))
    matrix = torch.randn(8, 3, generator=seeded(1))
    torch.testing.assert_close(fit_decoder(codes @ matrix, codes), matrix, atol=0.1, rtol=0)


def test_codes_are_signs_with_the_gradient_of_tanh():
    x = torch.linspace(-2, 2, 8, requires_grad=True)
    binarize(x).sum().backward()
    np.testing.assert_allclose(binarize(x).detach(), [-1] * 4 + [1] * 4, atol=1e-6)
    torch.testing.assert_close(x.grad, 1 - torch.tanh(x.detach()) ** 2)


def test_training_is_repeatable_and_depends_on_the_seed():
    x = torch.from_numpy(draw_features())
    one, same = train_encoder(x, QUICK), train_encoder(x, QUICK)
    assert torch.equal(one.weight, same.weight)
    assert torch.equal(one.bias, same.bias)
    other = train_encoder(x, dataclasses.replace(QUICK, seed=1))
    assert not torch.equal(one.weight, other.weight)


def test_images_of_a_cluster_get_codes_that_are_nearer_than_those_of_others():
    random = np.random.default_rng(0)
    centers = random.normal(0, 3, (4, 30))
    labels = np.arange(200) % 4
    x = torch.from_numpy((centers[labels] + random.normal(size=(200, 30))).astype(np.float32))
    bits = np.unpackbits(train_encoder(x, QUICK).encode(x), axis=1)
    distances = (bits[:, None] != bits[None]).sum(2)
    same = labels[:, None] == labels[None]
    assert distances[same].mean() < 0.6 * distances[~same].mean()


@pytest.mark.parametrize("images", [20, 2, 1])
def test_equal_features_and_few_images_are_no_trouble(images):
    encoder = train_encoder(torch.ones(images, 6), dataclasses.replace(QUICK, steps=3))
    assert torch.isfinite(encoder.weight).all()


def test_features_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="NaN or infinite"):
        train_encoder(torch.full((20, 6), torch.nan), QUICK)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 100}, "100 bits were asked for: use a multiple of 64 up to 4,096"),
        ({"bits": 0}, "0 bits"),
        ({"sample": 0}, "at least 1"),
        ({"steps": -1}, "at least"),
        ({"learning_rate": 2.0}, "learning rate is 2"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        EncoderOptions(**options)
