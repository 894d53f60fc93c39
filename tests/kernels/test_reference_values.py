"""Values computed by hand. Every test runs with the kernels, and again with the references."""

import pytest
import torch
import torch.nn.functional as F
from tests.kernels.comparison import draw

from alexnet.kernels import norm_pool, references_only, relu_pool, response_norm

ONE_TO_SIX = [1.0, 2, 3, 4, 5, 6]
SIX_BY_SIX = torch.arange(36.0).reshape(1, 1, 6, 6)


def make_pixel(values):
    """One pixel with these channels: (1, C, 1, 1)."""
    return torch.tensor(values, dtype=torch.float64)[None, :, None, None]


@pytest.fixture(params=["kernel", "reference"], autouse=True)
def implementation(request):
    if request.param == "kernel":
        yield
    else:
        with references_only():
            yield


def normalize(values, **options):
    return response_norm(make_pixel(values), **{"over_n": True, "beta": 0.75, **options}).flatten()


def assert_close(result, expected, tolerance=5e-7):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(result, expected, rtol=0, atol=tolerance)


def test_the_sum_runs_over_two_channels_on_either_side():
    expected = [0.125, 0.148651, 0.144616, 0.134654, 0.174024, 0.226428]
    assert_close(normalize(ONE_TO_SIX, n=5, alpha=5.0, k=2.0), expected)


def test_an_even_window_is_one_longer_on_the_low_side():
    expected = [0.260847, 0.262399, 0.228349, 0.198056, 0.175522, 0.228602]
    assert_close(normalize(ONE_TO_SIX, n=4, alpha=4.0, k=1.0), expected)


def test_alpha_multiplies_the_sum_or_the_mean():
    hundreds = [100 * value for value in ONE_TO_SIX]
    mean = [30.836784, 42.044821, 43.819129, 42.294851, 54.512247, 70.427020]
    assert_close(normalize(hundreds, n=5, alpha=1e-4, over_n=True), mean)
    total = [12.5, 14.865, 14.462, 13.465, 17.402, 22.643]
    assert_close(normalize(hundreds, n=5, alpha=1e-4, over_n=False), total, 5e-4)


def test_the_window_never_reaches_into_the_other_tower():
    expected = [0.232368, 0.25, 0.393598, 0.238209, 0.188690, 0.268316]
    assert_close(normalize(ONE_TO_SIX, n=3, alpha=3.0, k=2.0, towers=2), expected)
    together = normalize(ONE_TO_SIX, n=3, alpha=3.0, k=2.0)
    assert_close(together[2:4], [0.228349, 0.206565])


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (5, [0.112638, -0.099050, 0.054875, -0.025703, -0.049567, 0.003043]),
        (4, [0.185108, -0.219519, 0.151802, -0.106746, -0.011510, 0.003043]),
    ],
)
def test_the_gradient_has_the_values_of_its_formula(n, expected):
    x = make_pixel(ONE_TO_SIX).requires_grad_()
    gradient = torch.tensor([1.0, -1, 2, 0, 0.5, 1], dtype=torch.float64)
    y = response_norm(x, n=n, alpha=float(n), k=2.0, over_n=True)
    y.backward(gradient[None, :, None, None])
    assert_close(x.grad.flatten(), expected)


def test_a_norm_before_relu_adds_the_squares_of_negative_numbers():
    options = {"n": 3, "alpha": 3.0, "k": 1.0, "over_n": True, "pool": 1, "stride": 1}
    x = make_pixel([-3.0, 4, 0])
    assert norm_pool(x, order="norm-pool-relu", **options)[0, 1].item() == pytest.approx(
        0.347400, abs=1e-6
    )
    assert norm_pool(x, order="relu-norm-pool", **options)[0, 1].item() == pytest.approx(
        0.477775, abs=1e-6
    )


def test_for_odd_windows_it_is_the_norm_of_pytorch():
    x = draw(2, 7, 3, 4)
    expected = F.local_response_norm(x, 5, alpha=0.1, beta=0.6, k=1.5)
    result = response_norm(x, n=5, alpha=0.1, beta=0.6, k=1.5, over_n=True)
    torch.testing.assert_close(result, expected, check_stride=False)


def test_the_layers_of_the_paper_have_the_sizes_of_the_paper():
    assert norm_pool(torch.zeros(1, 96, 55, 55), towers=2).shape == (1, 96, 27, 27)
    assert norm_pool(torch.zeros(1, 256, 27, 27), towers=2).shape == (1, 256, 13, 13)


def test_a_nan_comes_out_of_the_norm():
    x = draw(1, 8, 5, 5, dtype=torch.float32)
    x[0, 4, 2, 2] = float("nan")
    for order in ("relu-norm-pool", "norm-pool-relu"):
        assert norm_pool(x, order=order)[0, 4].isnan().all()


def test_an_empty_batch_gives_an_empty_batch():
    x = torch.zeros(0, 8, 7, 7, requires_grad=True)
    y = norm_pool(x)
    y.sum().backward()
    assert y.shape == (0, 8, 3, 3)
    assert x.grad.shape == x.shape


def test_windows_are_clipped_and_averages_divide_by_the_pixels_inside():
    assert relu_pool(SIX_BY_SIX)[0, 0].tolist() == [[14, 16, 17], [26, 28, 29], [32, 34, 35]]
    average = relu_pool(SIX_BY_SIX, kind="avg")[0, 0]
    expected = torch.tensor([[7, 9, 10.5], [19, 21, 22.5], [28, 30, 31.5]])
    torch.testing.assert_close(average, expected, check_stride=False)


def test_maximum_and_relu_commute_and_averages_do_not():
    x = draw(2, 3, 7, 6)
    for kind in ("max", "avg"):
        first, last = (relu_pool(x, kind=kind, order=o) for o in ("relu-pool", "pool-relu"))
        assert torch.equal(first, last) == (kind == "max")


def test_the_gradient_of_a_tie_goes_to_the_first_pixel():
    x = torch.full((1, 1, 3, 3), 5.0, requires_grad=True)
    relu_pool(x).sum().backward()
    assert x.grad.flatten().tolist() == [1] + [0] * 8


def test_a_nan_comes_out_of_pooling():
    x = draw(1, 2, 6, 6)
    x[0, 0, 2, 2] = float("nan")
    for kind in ("max", "avg"):
        is_nan = relu_pool(x, kind=kind).isnan()
        assert is_nan[0, 0, :2, :2].all()
        assert not is_nan[0, 1].any()
