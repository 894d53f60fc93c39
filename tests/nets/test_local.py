"""Local layers against their reference and against convolutions."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from alexnet.nets.local import Local, LocallyConnected, local_reference


def pieces(layer):
    """Return weights and biases in the shapes that `local_reference` takes."""
    side, k = layer.side, layer.kernel
    return layer.weight.view(side, k, side, layer.maps, -1), layer.bias.view(side, side, 1, -1)


def from_convolution(convolution: nn.Conv2d, side: int) -> Local:
    """Return a local layer with the filters of a convolution at every place."""
    maps, inputs, k, _ = convolution.weight.shape
    layer = Local(inputs, maps, side, k, convolution.padding[0])
    rows = convolution.weight.detach().permute(2, 0, 3, 1).reshape(1, k, 1, maps, k * inputs)
    layer.weight.data = rows.expand_as(pieces(layer)[0]).reshape(layer.weight.shape).clone()
    layer.bias.data = convolution.bias.detach().repeat(layer.side**2)
    return layer


@pytest.mark.parametrize(("side", "k", "padding"), [(6, 3, 1), (5, 2, 0), (4, 1, 0), (7, 5, 2)])
def test_a_local_layer_with_equal_filters_everywhere_is_a_convolution(side, k, padding):
    convolution = nn.Conv2d(4, 6, k, padding=padding)
    layer, x = from_convolution(convolution, side), torch.randn(3, 4, side, side)
    assert torch.allclose(layer(x), convolution(x), atol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_fast_layer_equals_the_reference_in_value_and_gradient(layout):
    layer = Local(3, 5, 6)
    x = torch.randn(4, 3, 6, 6).to(memory_format=layout).requires_grad_()
    fast, slow = layer(x), local_reference(F.pad(x, (1, 1, 1, 1)), *pieces(layer))
    assert torch.allclose(fast, slow, atol=1e-6)
    wanted, g = (x, layer.weight, layer.bias), torch.randn_like(fast)
    gradients = torch.autograd.grad(fast, wanted, g), torch.autograd.grad(slow, wanted, g)
    for of_fast, of_slow in zip(*gradients, strict=True):
        assert torch.allclose(of_fast, of_slow, atol=1e-5)


def test_a_part_of_a_batch_gives_the_same_outputs_as_the_whole_batch():
    layer, x = Local(3, 5, 6), torch.randn(4, 3, 6, 6).to(memory_format=torch.channels_last)
    assert torch.allclose(layer(x)[2:], layer(x[2:]), atol=1e-6)
    arguments = x[2:], *pieces(Local(3, 5, 6, padding=0))
    part = LocallyConnected.apply(*arguments)
    assert torch.allclose(part, local_reference(*arguments), atol=1e-6)


def test_gradients_are_those_of_finite_differences():
    layer = Local(2, 3, 4, kernel=2, padding=0).double()
    x = torch.randn(2, 2, 4, 4, dtype=torch.double, requires_grad=True)
    parameters = layer.weight.detach().requires_grad_(), layer.bias.detach().requires_grad_()

    def run(x, weight, bias):
        tensors = {"weight": weight, "bias": bias}
        return torch.func.functional_call(layer, tensors, (x,))

    assert torch.autograd.gradcheck(run, (x, *parameters))


def test_autocast_computes_in_its_own_precision():
    layer, x = Local(2, 3, 4), torch.randn(2, 2, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    y.float().sum().backward()
    assert y.dtype == torch.bfloat16
    assert layer.weight.grad.dtype == torch.float32
    assert torch.allclose(y.float(), layer(x), atol=0.05)


def test_a_local_layer_takes_channels_last_like_any_other():
    network = nn.Sequential(nn.Conv2d(2, 2, 1), Local(2, 3, 4)).to(
        memory_format=torch.channels_last
    )
    assert network(torch.randn(1, 2, 4, 4)).shape == (1, 3, 4, 4)


def test_the_fan_in_is_the_size_of_the_window_and_every_place_has_its_own_filters():
    layer = Local(64, 32, 6)
    assert layer.fan_in == 3 * 3 * 64
    assert layer.weight.numel() == 6 * 6 * 32 * layer.fan_in
    assert layer.bias.shape == (6 * 6 * 32,)
