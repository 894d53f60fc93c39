"""Response normalization: the kernel equals the reference."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernels.comparison import assert_matches_reference, draw

from alexnet.kernels import norm_pool, references_only, response_norm
from alexnet.kernels.normalization.cpu_powers import compute_powers
from alexnet.kernels.normalization.operator import relu_norm_max


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 6, 5, 5), {"towers": 4}, "6 channels cannot be divided between 4 towers"),
        ((1, 6, 5, 5), {"n": 0}, "n=0"),
        ((1, 6, 5, 5), {"order": "relu-pool-norm"}, "must be one of 'relu-norm-pool'"),
        ((1, 6, 5), {}, r"must be a floating-point tensor \(N, C, H, W\)"),
        ((1, 6, 1, 5), {}, "Use larger images"),
        ((1, 6, 5, 5), {"stride": 0}, "3×3 window at stride 0"),
    ],
)
def test_impossible_arguments_are_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        norm_pool(torch.zeros(shape), **options)


OPTIONS = st.fixed_dictionaries(
    {
        "n": st.integers(1, 7),
        "alpha": st.sampled_from([0.05, 0.3]),
        "beta": st.sampled_from([0.75, 0.5, 1.0, 0.6]),
        "k": st.sampled_from([1.0, 2.0]),
        "over_n": st.booleans(),
        "towers": st.sampled_from([1, 2, 3]),
        "pool": st.integers(1, 3),
        "stride": st.integers(1, 3),
        "order": st.sampled_from(["relu-norm-pool", "norm-pool-relu"]),
    }
)
SHAPES = st.tuples(
    st.integers(1, 3), st.sampled_from([6, 18]), st.integers(3, 9), st.integers(3, 9)
)


@settings(max_examples=60, deadline=None)
@given(SHAPES, OPTIONS)
def test_the_kernel_equals_the_reference(shape, options):
    assert_matches_reference(lambda x: norm_pool(x, **options), draw(*shape))


@settings(max_examples=20, deadline=None)
@given(SHAPES, OPTIONS)
def test_float32_values_are_exact_within_rounding(shape, options):
    x = draw(*shape, dtype=torch.float32)
    with references_only():
        expected = norm_pool(x.double(), **options).float()
    torch.testing.assert_close(
        norm_pool(x, **options), expected, check_stride=False, rtol=2e-6, atol=2e-6
    )


@pytest.mark.parametrize("n", [1, 4, 5, 20])
def test_the_norm_alone_equals_the_reference(n):
    assert_matches_reference(
        lambda x: response_norm(x, n=n, alpha=0.1, towers=2), draw(2, 16, 5, 3)
    )


def test_large_pooling_windows_have_argmax_indices_of_more_than_a_byte():
    assert_matches_reference(lambda x: norm_pool(x, pool=17, stride=2), draw(1, 4, 19, 21))


def test_any_memory_layout_is_accepted():
    strided = draw(2, 9, 8, 12).permute(0, 3, 1, 2)[:, ::2]
    assert_matches_reference(norm_pool, strided)
    assert norm_pool(strided).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_float32_rounded_once_at_the_end(dtype):
    half = draw(2, 12, 7, 7, dtype=torch.float32).to(dtype).requires_grad_()
    whole = half.detach().float().requires_grad_()
    out, expected = norm_pool(half, alpha=0.1), norm_pool(whole, alpha=0.1)
    gradient = torch.randn_like(expected).to(dtype)
    out.backward(gradient)
    expected.backward(gradient.float())
    torch.testing.assert_close(out, expected.to(dtype), rtol=0, atol=0, check_stride=False)
    torch.testing.assert_close(half.grad, whole.grad.to(dtype), rtol=0, atol=0, check_stride=False)


def test_inf_and_nan_survive_bf16():
    x = torch.ones(1, 8, 5, 5, dtype=torch.bfloat16)
    x[0, 3, 2, 2] = torch.nan
    x.requires_grad_()
    out = norm_pool(x)
    assert out.isnan().any()
    out.backward(torch.full_like(out, torch.inf))
    assert x.grad.isnan().any()


@pytest.mark.parametrize("order", ["relu-norm-pool", "norm-pool-relu"])
def test_gradients_equal_finite_differences(order):
    x = draw(1, 6, 5, 4).requires_grad_()
    options = {"n": 4, "alpha": 0.2, "towers": 2, "order": order}
    assert torch.autograd.gradcheck(lambda x: norm_pool(x, **options), x)


def test_a_nan_stays_in_its_image():
    threads, x = torch.get_num_threads(), draw(2, 8, 7, 7, dtype=torch.float32)
    x[0, 3, 2, 2] = torch.nan
    torch.set_num_threads(1)  # so that one call computes both images
    try:
        norm_pool(x.requires_grad_(), towers=2).sum().backward()
    finally:
        torch.set_num_threads(threads)
    assert x.grad[0].isnan().any()
    assert not x.grad[1].isnan().any()


def test_the_operator_passes_the_checks_of_pytorch():
    x = draw(2, 6, 7, 7, dtype=torch.float32).requires_grad_()
    torch.library.opcheck(relu_norm_max, (x, 5, 0.1, 0.75, 2.0, 2, 3, 2, "first"))


def test_powers_are_as_exact_as_float32_over_its_range():
    base = np.logspace(-30, 30, 10_001).astype(np.float32)
    power, inverse = np.empty((2, base.size), np.float32)
    for beta in (0.5, 0.75, 1.0, 0.6):
        compute_powers(base, power, inverse, beta)
        assert np.abs(power * base.astype(float) ** beta - 1).max() < 3e-6
        assert np.abs(inverse * base.astype(float) - 1).max() < 1e-6
    not_finite = np.array([np.nan, np.inf], np.float32)
    compute_powers(not_finite, power[:2], inverse[:2], 0.75)
    assert not np.isfinite(power[:2]).any()
