"""Normalization within channels: values computed by hand; the kernel equals the reference."""

import pytest
import torch
import torch.nn.functional as F
from tests.kernels.comparison import assert_matches_reference, draw

from alexnet.kernels.within_channel.operator import (
    contrast_norm,
    normalize_within_channel,
    within_channel_norm,
)
from alexnet.kernels.within_channel.reference import sum_windows

NINE = torch.arange(1.0, 10, dtype=torch.double).view(1, 1, 3, 3)
BOTH = pytest.mark.parametrize("norm", [within_channel_norm, contrast_norm])


def test_response_normalization_has_the_values_of_its_formula():
    expected = [0.055709, 0.067327, 0.117713, 0.088914, 0.071894, 0.105035]
    expected += [0.159349, 0.119444, 0.164917]
    assert within_channel_norm(NINE, n=3, alpha=9).flatten().tolist() == pytest.approx(
        expected, abs=1e-6
    )


def test_contrast_normalization_divides_the_pixel_by_the_contrast_around_it():
    expected = [0.220650, 0.393119, 0.970984, 0.673758, 0.625, 1.010636]
    expected += [2.265628, 1.572476, 1.985851]
    assert contrast_norm(NINE, n=3, alpha=9).flatten().tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_windows_start_half_of_n_pixels_above_and_to_the_left(n):
    x, low = torch.randn(1, 2, 6, 7), n // 2
    padded = F.pad(x, (low, n - 1 - low, low, n - 1 - low))
    sums = padded.unfold(2, n, 1).unfold(3, n, 1).sum((4, 5))
    assert torch.allclose(sum_windows(x, n), sums, atol=1e-5)


@pytest.mark.parametrize(("n", "beta"), [(2, 0.75), (3, 0.6), (4, 0.5), (5, 0.75)])
def test_the_kernel_equals_the_reference(n, beta):
    assert_matches_reference(
        lambda x: within_channel_norm(x, n=n, alpha=9, beta=beta, k=2), draw(2, 3, 7, 6)
    )


@BOTH
def test_gradients_equal_finite_differences(norm):
    x = draw(1, 2, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: norm(x, n=4, alpha=9), x)


def test_a_window_may_be_larger_than_the_image():
    assert_matches_reference(lambda x: within_channel_norm(x, n=7, alpha=9), draw(1, 2, 2, 3))


def test_the_operator_passes_the_checks_of_pytorch():
    torch.library.opcheck(
        normalize_within_channel, (draw(1, 4, 3, 3).requires_grad_(), 3, 0.5, 0.75, 1.0)
    )


@BOTH
def test_half_precision_has_float32_sums(norm):
    x = 30 * torch.randn(1, 2, 8, 8)
    half = x.bfloat16().requires_grad_()
    y = norm(half, n=5, alpha=1e-3)
    y.sum().backward()
    assert y.dtype == half.grad.dtype == torch.bfloat16
    assert torch.allclose(y.float(), norm(half.float(), n=5, alpha=1e-3), rtol=1e-2)
