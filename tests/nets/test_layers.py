"""The layers that torch.nn does not have, against numbers computed by hand and their formulas."""

import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from alexnet.kernels import norm_pool, relu_pool, response_norm
from alexnet.nets.layers import (
    Dropout,
    InvertedDropout,
    Strided,
    TowerLinear,
    avg_pool,
    blur,
    convolve_space_to_depth,
    draw_keeping_variance,
    get_fan_in,
    max_pool,
    round_up,
    set_key,
    side_after,
    subsample,
)

COUNTING = torch.arange(36.0).view(1, 1, 6, 6)


def maps(*values):
    """One image of one pixel, with these values in its channels: (1, C, 1, 1)."""
    return torch.tensor(values, dtype=torch.double).view(1, -1, 1, 1)


@pytest.mark.parametrize(("side", "out"), [(224, 55), (225, 55), (226, 55), (227, 55), (228, 56)])
def test_sizes_round_up(side, out):
    assert side_after(side, 11, 4) == out
    assert round_up(torch.zeros(1, 1, side, side), 11, 4).shape[-1] == 11 + 4 * (out - 1)


def test_a_strided_convolution_reads_zeros_past_the_right_and_lower_edge():
    sums = F.conv2d(round_up(COUNTING, 3, 2), torch.ones(1, 1, 3, 3), stride=2)
    assert sums.flatten().tolist() == [63, 81, 63, 171, 189, 135, 168, 180, 126]


@pytest.mark.parametrize("pool", [max_pool, relu_pool])
def test_a_maximum_is_that_of_the_pixels_of_the_window_inside_the_image(pool):
    assert pool(COUNTING).flatten().tolist() == [14, 16, 17, 26, 28, 29, 32, 34, 35]


@pytest.mark.parametrize("pool", [avg_pool, lambda x: relu_pool(x, kind="avg")])
def test_a_mean_is_that_of_the_pixels_of_the_window_inside_the_image(pool):
    means = pool(COUNTING).flatten().tolist()
    assert means == pytest.approx([7, 9, 10.5, 19, 21, 22.5, 28, 30, 31.5])


@pytest.mark.parametrize(("side", "out"), [(55, 27), (27, 13), (13, 6)])
def test_pooled_sides_are_those_of_figure_2(side, out):
    assert side_after(side, 3, 2) == max_pool(torch.zeros(1, 1, side, side)).shape[-1] == out


@pytest.mark.parametrize(
    ("n", "alpha", "k", "expected"),
    [
        (5, 5, 2, [0.125, 0.148651, 0.144616, 0.134654, 0.174024, 0.226428]),
        (4, 4, 1, [0.260847, 0.262399, 0.228349, 0.198056, 0.175522, 0.228602]),
    ],
)
def test_response_norm_equals_numbers_by_hand_for_odd_and_even_windows(n, alpha, k, expected):
    y = response_norm(maps(1, 2, 3, 4, 5, 6), n=n, alpha=alpha, k=k, over_n=True)
    assert y.flatten().tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("over_n", "alpha", "expected"),
    [
        (True, 1e-4, [30.836784, 42.044821, 43.819129, 42.294851, 54.512247, 70.427020]),
        (False, 1e-4, [12.5, 14.865, 14.462, 13.465, 17.402, 22.643]),
    ],
)
def test_the_2012_code_divides_alpha_by_the_window_and_the_paper_does_not(over_n, alpha, expected):
    y = response_norm(maps(100, 200, 300, 400, 500, 600), n=5, alpha=alpha, k=2, over_n=over_n)
    assert y.flatten().tolist() == pytest.approx(expected, abs=1e-3)


def test_the_window_of_response_norm_stays_in_its_tower():
    x = maps(1, 2, 3, 4, 5, 6)
    halves = response_norm(x, n=3, alpha=3, k=2, over_n=True, towers=2).flatten().tolist()
    expected = [0.232368, 0.25, 0.393598, 0.238209, 0.188690, 0.268316]
    assert halves == pytest.approx(expected, abs=1e-6)
    one = response_norm(x, n=3, alpha=3, k=2, over_n=True).flatten().tolist()
    assert one[2:4] == pytest.approx([0.228349, 0.206565], abs=1e-6)


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (5, [0.112638, -0.099050, 0.054875, -0.025703, -0.049567, 0.003043]),
        (4, [0.185108, -0.219519, 0.151802, -0.106746, -0.011510, 0.003043]),
    ],
)
def test_the_gradient_of_response_norm_equals_numbers_computed_by_hand(n, expected):
    x = maps(1, 2, 3, 4, 5, 6).requires_grad_()
    y = response_norm(x, n=n, alpha=n, k=2, over_n=True)
    y.backward(maps(1, -1, 2, 0, 0.5, 1))
    assert x.grad.flatten().tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("order", "expected"), [("norm-pool-relu", 0.347400), ("relu-norm-pool", 0.477775)]
)
def test_a_norm_before_the_relu_reads_negative_values_too(order, expected):
    options = {"n": 3, "alpha": 3, "k": 1, "over_n": True, "pool": 1, "stride": 1}
    y = norm_pool(maps(-3, 4, 0), order=order, **options)
    assert y.flatten()[1].item() == pytest.approx(expected, abs=1e-6)


def test_blurs_are_gaussians_that_add_up_to_one():
    dot = torch.zeros(1, 2, 11, 11)
    dot[:, :, 5, 5] = 1
    narrow, wide = blur(dot, std=1, taps=5)[0, 1], blur(dot, std=4, taps=9)[0, 1]
    expected = [0.054489, 0.244201, 0.402620, 0.244201, 0.054489]
    assert narrow.sum(1)[3:8].tolist() == pytest.approx(expected, abs=1e-6)
    assert wide.sum(0)[5].item() == pytest.approx(0.134658, abs=1e-6)
    assert wide.sum().item() == pytest.approx(1)


@pytest.mark.parametrize(("side", "first", "last"), [(224, 2, 222), (225, 0, 224), (227, 1, 225)])
def test_subsampling_takes_the_middle_of_every_block(side, first, last):
    pixels = subsample(torch.arange(side).expand(1, 1, side, side), 4)
    assert pixels.shape[2:] == (-(-side // 4),) * 2
    assert pixels[0, 0, 0, 0] == first
    assert pixels[0, 0, 0, -1] == last


def test_dropout_rescales_in_evaluation_as_in_the_paper():
    x = torch.ones(1000, 10)
    dropout = Dropout(0.25)
    kept = dropout.train()(x)
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    assert kept.mean().item() == pytest.approx(0.75, abs=0.02)
    assert torch.equal(dropout.eval()(x), 0.75 * x)


DTYPES = [torch.float32, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
def test_half_of_the_units_are_kept_in_every_precision(dtype):
    dropout = Dropout(0.5).train()
    set_key(dropout, 3)
    kept = dropout(torch.ones(512, 4096, dtype=dtype))
    assert kept.dtype == dtype
    standard_error = 0.5 / kept.numel() ** 0.5  # 0.00035, where masks drawn in bf16 keep 0.499
    assert abs(kept.double().mean().item() - 0.5) < 3 * standard_error


def test_the_same_units_are_kept_under_autocast():
    layer, dropout = nn.Linear(64, 256), Dropout(0.5).train()
    outputs = []
    for enabled in (False, True):
        set_key(dropout, 11)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            outputs.append(dropout(layer(torch.ones(8, 64))))
    assert [x.dtype for x in outputs] == DTYPES
    assert torch.equal(outputs[0] != 0, outputs[1] != 0)


def test_the_key_decides_which_units_are_kept_and_without_one_every_pass_differs():
    dropout, x = Dropout(0.5).train(), torch.ones(4, 512)
    torch.manual_seed(0)
    without_key = [dropout(x) for _ in range(2)]
    torch.manual_seed(0)
    assert torch.equal(dropout(x), without_key[0])
    assert not torch.equal(*without_key)
    outputs = []
    for key in (5, 5, 6):
        set_key(dropout, key)
        outputs.append(dropout(x))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[1], outputs[2])


def test_a_key_draws_nothing_from_the_default_generator():
    dropout, before = Dropout(0.5).train(), torch.get_rng_state()
    set_key(dropout, 1)
    dropout(torch.ones(4, 8))
    assert torch.equal(torch.get_rng_state(), before)


def test_two_processes_keep_the_units_that_one_process_would_keep():
    dropout, x = Dropout(0.5).train(), torch.ones(10, 64)
    set_key(dropout, 8)
    whole, parts = dropout(x), []
    for first, last in (0, 4), (4, 10):
        set_key(dropout, 8, first_row=first)
        parts.append(dropout(x[first:last]))
    assert torch.equal(whole, torch.cat(parts))


@pytest.mark.parametrize("kind", [Dropout, InvertedDropout])
def test_the_gradient_passes_through_the_units_that_were_kept(kind):
    dropout, x = kind(0.5).train(), torch.randn(4, 3, 5, requires_grad=True)
    set_key(dropout, 8)
    y = dropout(x)
    y.sum().backward()
    scale = 1 if kind is Dropout else 2
    assert torch.equal(x.grad, scale * (y != 0).float())
    assert torch.equal(y, x * x.grad)
    assert dropout(torch.ones(0, 7)).shape == (0, 7)


def test_inverted_dropout_scales_like_pytorchs():
    x = torch.randn(64, 1000)
    for p in (0.0, 0.25, 1.0):
        ours, pytorchs = InvertedDropout(p), nn.Dropout(p)
        assert torch.equal(ours.eval()(x), pytorchs.eval()(x))
        kept, expected = ours.train()(x), pytorchs.train()(x)
        assert torch.allclose(kept[kept != 0], (x / max(1 - p, 0.1))[kept != 0])
        assert abs((kept != 0).float().mean() - (expected != 0).float().mean()) < 0.01


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_a_dropout_rate_that_is_not_a_probability_is_refused(p):
    with pytest.raises(ValueError, match="must be a probability, from 0 to 1"):
        Dropout(p)


def test_a_compiled_network_keeps_the_same_units_as_an_eager_one():
    network = nn.Sequential(nn.Linear(8, 32), Dropout(0.5, 6), nn.ReLU(), Dropout(0.3, 7)).train()
    compiled, x = torch.compile(network, backend="aot_eager"), torch.randn(4, 8)
    for key in (1, 2, 3):
        outputs = []
        for forward in (network, compiled):
            set_key(network, key)
            network.zero_grad()
            y = forward(x)
            y.sum().backward()
            outputs.append((y, network[0].weight.grad.clone()))
        torch.testing.assert_close(*outputs)


def test_a_compiled_network_without_a_key_keeps_other_units_in_every_pass():
    network = nn.Sequential(nn.Identity(), Dropout(0.5, 6)).train()
    compiled, x = torch.compile(network, backend="aot_eager"), torch.ones(4, 64)
    assert not torch.equal(compiled(x), compiled(x))


def test_a_network_made_on_the_meta_device_has_a_key_once_it_has_weights():
    with torch.device("meta"):
        network = nn.Sequential(nn.Linear(4, 8), Dropout(0.5))
    weights = {"0.weight": torch.ones(8, 4), "0.bias": torch.ones(8)}
    network.load_state_dict(weights, assign=True)
    assert set(network.train().cpu()(torch.ones(3, 4)).unique().tolist()) == {0.0, 5.0}


def test_the_key_is_not_saved_with_the_weights():
    dropout = Dropout(0.5)
    assert not dropout.state_dict()
    assert dropout.half().draw.dtype == torch.int64


def test_each_tower_of_a_linear_layer_reads_its_own_half_of_the_inputs():
    layer, x = TowerLinear(6, 4), torch.randn(3, 6)
    first = F.linear(x[:, :3], layer.weight[:2], layer.bias[:2])
    second = F.linear(x[:, 3:], layer.weight[2:], layer.bias[2:])
    assert torch.equal(layer(x), torch.cat([first, second], 1))


def test_weights_that_keep_the_variance_depend_on_the_fan_in():
    layers = [nn.Conv2d(8, 64, 5, groups=2), TowerLinear(400, 300), nn.Linear(200, 100)]
    draw_keeping_variance(layers)
    assert [get_fan_in(layer) for layer in layers] == [100, 200, 200]
    stds = [layer.weight.std().item() for layer in layers]
    assert stds == pytest.approx([0.02**0.5, 0.1, 0.005**0.5], rel=0.05)


@pytest.mark.parametrize(
    ("side", "kernel", "stride"), [(224, 11, 4), (64, 11, 4), (33, 5, 2), (8, 4, 4)]
)
def test_space_to_depth_gives_the_same_strided_convolution_and_gradients(side, kernel, stride):
    torch.manual_seed(0)
    layer = Strided(3, 4, kernel, stride=stride).double()
    x = torch.randn(2, 3, side, side, dtype=torch.float64)
    plain = layer(x)
    deep = convolve_space_to_depth(x, layer.weight, layer.bias, stride)
    assert deep.shape[-1] == side_after(side, kernel, stride)
    torch.testing.assert_close(deep, plain)
    gradients = (torch.autograd.grad(y.square().sum(), layer.parameters()) for y in (plain, deep))
    torch.testing.assert_close(*gradients)


def test_a_strided_convolution_in_bf16_gives_nearly_the_same():
    torch.manual_seed(0)
    layer, x = Strided(3, 8, 11, stride=4), torch.randn(2, 3, 64, 64)
    plain, outputs = layer(x), []
    for dtype in (torch.float32, torch.bfloat16):
        layer.prepare(dtype)
        with torch.autocast("cpu", torch.bfloat16):
            outputs.append(layer(x))
    assert all(y.dtype == torch.bfloat16 for y in outputs)
    assert max((y.float() - plain).abs().max() for y in outputs) < 0.03


def test_a_strided_convolution_uses_space_to_depth_only_if_prepared_for_bf16(monkeypatch):
    dtypes = []
    module = sys.modules[Strided.__module__]

    def note(x, *others):
        dtypes.append(x.dtype)
        return convolve_space_to_depth(x, *others)

    monkeypatch.setattr(module, "convolve_space_to_depth", note)
    layer, x = Strided(3, 8, 11, stride=4), torch.randn(2, 3, 64, 64)
    for training in (True, False):
        layer.prepare(torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(training):
            layer.train(training)(x)
        layer.prepare(torch.float32)
        layer(x)
    assert dtypes == 2 * [torch.bfloat16]
