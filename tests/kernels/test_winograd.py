"""Winograd's convolutions: transforms against their matrices, sums against float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernels.comparison import draw

from alexnet.kernels import convolve, references_only
from alexnet.kernels.winograd.cook_toom import transforms
from alexnet.kernels.winograd.operator import is_faster, winograd, winograd_backward

pytest.importorskip("numba")

from alexnet.kernels.winograd import cpu_transforms


@pytest.mark.parametrize("kernel", [3, 5])
def test_the_matrices_make_a_convolution(kernel):
    at, g, bt = transforms(kernel)
    tile, filters = np.random.default_rng(0).normal(size=(2, bt.shape[1])), np.ones(kernel)
    filters[1:] = [-2.0, 0.5, 3.0, 1.0][: kernel - 1]
    for row in tile:
        got = at @ ((g @ filters) * (bt @ row))
        np.testing.assert_allclose(got, np.correlate(row, filters), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("name", ["read", "unread", "write", "unwrite"])
def test_what_is_written_out_is_the_matrix(name, kernel):
    at, _, bt = transforms(kernel)
    matrix = {"read": bt, "unread": bt.T, "write": at, "unwrite": at.T}[name].astype(np.float32)
    places, points = matrix.shape
    columns = np.eye(points, dtype=np.float32)[:, :, None] * np.ones(16, np.float32)
    rows = np.zeros((points, places, 16), np.float32)
    for j in range(points):
        getattr(cpu_transforms, f"{name}_{kernel}")(columns, rows, j, 16)
    for map_ in range(16):
        np.testing.assert_array_equal(rows[:, :, map_].T, matrix)


def both(x, weight, bias, padding, groups):
    """Outputs and gradients by Winograd in float32, and by the library in float64."""
    found = []
    for dtype, work in ((torch.float32, winograd), (torch.float64, plain)):
        tensors = [t.to(dtype, copy=True).requires_grad_() for t in (x, weight, bias)]
        out = work(*tensors, padding, groups)
        out.backward(draw(*out.shape, seed=1).to(dtype))
        found.append([out.detach(), *(t.grad for t in tensors)])
    return found


def plain(x, weight, bias, padding, groups):
    return F.conv2d(x, weight, bias, padding=padding, groups=groups)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 9), st.integers(5, 14)),
    st.sampled_from([3, 5]),
    st.integers(0, 3),
    st.integers(1, 2),
    st.booleans(),
)
def test_it_is_the_convolution(shape, kernel, padding, groups, lasting):
    images, inputs, outputs, side = shape
    x = draw(images, 16 * groups * inputs, side, side + 3)
    outputs *= 16 * groups
    weight, bias = draw(outputs, 16 * inputs, kernel, kernel, seed=2), draw(outputs, seed=3)
    if lasting:
        x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
    found, expected = both(x, weight, bias, padding, groups)
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine - theirs).norm() <= 2e-5 * theirs.norm()


def test_large_batches_are_computed_in_parts(monkeypatch):
    x, weight, bias = draw(7, 32, 9, 9), draw(16, 32, 3, 3, seed=2), draw(16, seed=3)
    whole = both(x, weight, bias, 1, 1)[0]
    monkeypatch.setattr(
        "alexnet.kernels.winograd.operator.BYTES_AT_ONCE", 150e3
    )  # two images or so
    for mine, theirs in zip(both(x, weight, bias, 1, 1)[0], whole, strict=True):
        assert (mine - theirs).norm() <= 1e-5 * theirs.norm()


def test_the_gradient_of_an_image_nobody_asks_for_is_not_computed():
    x, weight, bias = draw(2, 16, 9, 9).float(), draw(16, 16, 3, 3).float(), torch.zeros(16)
    gradient = draw(2, 16, 9, 9, seed=1).float()
    of_x, of_weight, _ = winograd_backward(gradient, x, weight, 1, 1, False, True)
    assert of_x.numel() == 0
    weight.requires_grad_()
    winograd(x, weight, bias, 1, 1).backward(gradient)
    torch.testing.assert_close(weight.grad, of_weight)


def test_frozen_weights_cost_nothing():
    x, weight = draw(2, 16, 9, 9).float().requires_grad_(), draw(16, 16, 3, 3).float()
    gradient = draw(2, 16, 9, 9, seed=1).float()
    of_x, *others = winograd_backward(gradient, x, weight, 1, 1, True, False)
    assert [other.numel() for other in others] == [0, 0]
    winograd(x, weight, torch.zeros(16), 1, 1).backward(gradient)
    torch.testing.assert_close(x.grad, of_x)


def test_the_way_back_may_be_taken_under_autocast():
    x, weight = draw(2, 16, 9, 9).float(), draw(16, 16, 3, 3).float().requires_grad_()
    total = winograd(x, weight, torch.zeros(16), 1, 1).sum()
    with torch.autocast("cpu", torch.bfloat16):
        total.backward()
    assert weight.grad.dtype == torch.float32


def test_gradients_are_laid_out_as_their_weights():
    x = draw(2, 16, 9, 9).float()
    for form in (torch.contiguous_format, torch.channels_last):
        weight = draw(16, 16, 3, 3).float().contiguous(memory_format=form).requires_grad_()
        winograd(x, weight, torch.zeros(16), 1, 1).sum().backward()
        assert weight.grad.stride() == weight.stride()


@pytest.mark.parametrize(
    ("shape", "filters", "faster"),
    [
        ((15, 64, 9, 9), (64, 64, 3, 3), True),
        ((32, 64, 9, 9), (64, 64, 5, 5), True),
        ((14, 64, 9, 9), (64, 64, 3, 3), False),
        ((15, 64, 9, 9), (64, 64, 1, 1), False),
        ((15, 64, 9, 9), (64, 64, 3, 5), False),
        ((15, 64, 9, 9), (64, 32, 3, 3), False),
        ((15, 63, 9, 9), (64, 63, 3, 3), False),
        ((15, 72, 9, 9), (64, 72, 3, 3), False),
        ((15, 64, 9, 9), (32, 64, 3, 3), False),
    ],
)
def test_it_is_used_where_it_is_faster(shape, filters, faster):
    x, weight, bias = torch.zeros(shape), torch.zeros(filters), torch.zeros(filters[0])
    assert is_faster(x, weight, bias, 1, 1) == faster
    assert not is_faster(x.double(), weight.double(), bias.double(), 1, 1)
    with references_only():
        assert not is_faster(x, weight, bias, 1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_faster(x, weight, bias, 1, 1)


def test_the_library_keeps_what_it_does_better():
    x, weight = torch.ones(15, 64, 9, 9), torch.ones(64, 64, 3, 3)
    assert convolve(x, weight, None, padding=1).shape == x.shape
    with torch.autocast("cpu", torch.bfloat16):
        assert convolve(x, weight, torch.zeros(64)).dtype == torch.bfloat16
    assert convolve(torch.ones(64, 99, 99), weight, torch.zeros(64)).shape == (64, 97, 97)
    assert not is_faster(torch.zeros(1, 64, 512, 512), weight, torch.zeros(64), 1, 1)  # memory
    with pytest.raises(RuntimeError, match="expected input"):
        convolve(x, weight[:, :32], torch.zeros(64))
    with pytest.raises(RuntimeError, match="bias"):
        convolve(x, weight, torch.zeros(1))


def test_the_operator_refuses_what_it_would_compute_wrongly():
    x, weight = torch.zeros(2, 24, 9, 9), torch.zeros(16, 24, 3, 3)
    with pytest.raises(ValueError, match=r"\(2, 24, 9, 9\).* 1 groups .* `convolve` takes any"):
        winograd(x, weight, torch.zeros(16), 1, 1)


def test_a_filter_larger_than_the_image_is_left_to_the_library():
    with pytest.raises(RuntimeError, match="Kernel size"):
        convolve(torch.zeros(8, 64, 2, 2), torch.zeros(64, 64, 5, 5), torch.zeros(64))


def test_an_image_that_is_not_finite_shows_and_spoils_no_other():
    x = draw(3, 16, 9, 9).float()
    x[1, 3, 4, 4] = float("nan")
    out = winograd(x, draw(16, 16, 3, 3).float(), torch.zeros(16), 1, 1)
    assert out[1].isnan().any()
    assert not out[[0, 2]].isnan().any()


def test_pytorch_accepts_the_operator():
    x, weight = draw(2, 16, 7, 7).float().requires_grad_(), draw(16, 16, 3, 3).float()
    torch.library.opcheck(winograd, (x, weight.requires_grad_(), torch.zeros(16), 1, 1))
