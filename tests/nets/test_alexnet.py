"""The paper's network as printed, and the variations that the paper compares it with."""

import pytest
import torch
import torch.nn.functional as F

from alexnet import nets
from alexnet.kernels import response_norm
from alexnet.nets.alexnet import HIDDEN, AlexNet, Pool

SMALL = 67
"""A side, in pixels, that leaves one pixel after the last pooling."""


def shapes(**variations):
    return {x.name: x.shape for x in nets.list_layers("alexnet", **variations)}


def parameters(**variations):
    return sum(x.parameters for x in nets.list_layers("alexnet", **variations))


def test_shapes_are_those_of_figure_2():
    found = shapes()
    assert found["conv1"] == (2 * 48, 55, 55)
    assert found["conv2"] == (2 * 128, 27, 27)
    assert found["conv3"] == found["conv4"] == (2 * 192, 13, 13)
    assert found["conv5"] == (2 * 128, 13, 13)
    assert found["fc6"] == found["fc7"] == (2 * 2048,)
    assert found["fc8"] == (1000,)


def test_the_network_has_the_659_272_units_of_figure_2():
    names = "conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"
    assert sum(torch.Size(shapes()[name]).numel() for name in names) == 659_272


def test_names_of_weights_are_those_of_the_papers_layers():
    names = "conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"
    expected = [f"{name}.{part}" for name in names for part in ("weight", "bias")]
    assert list(AlexNet(10, SMALL).state_dict()) == expected


def test_the_printed_initialization_is_that_of_section_5():
    torch.manual_seed(0)
    network = nets.build("alexnet", 10)
    network.initialize("printed")
    ones = {n for n, m in network.named_children() if hasattr(m, "bias") and m.bias.mean() == 1}
    assert ones == {"conv2", "conv4", "conv5", "fc6", "fc7"}
    for name in ("conv1", "conv3", "fc6"):
        assert getattr(network, name).weight.std().item() == pytest.approx(0.01, rel=0.03)


def test_one_tower_has_half_the_kernels_and_the_parameters_of_the_codes_half_network():
    found = shapes(towers=1)
    kernels = [found[f"conv{i}"][0] for i in range(1, 6)]
    assert kernels == [48, 128, 192, 192, 256]
    assert parameters(towers=1) == 59_798_312


def test_pooling_without_overlap_gives_maps_of_the_same_sizes():
    assert shapes(overlap=False) == shapes()
    x = torch.randn(2, 4, 5, 7)
    expected = F.max_pool2d(F.relu(x), 2)
    assert torch.equal(Pool("relu", norm=False, overlap=False)(x), expected)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("overlap", [True, False])
def test_tanh_replaces_relu(norm, overlap):
    x = torch.randn(2, 4, 7, 7)
    y = F.tanh(x)
    y = response_norm(y, towers=2) if norm else y
    expected = F.max_pool2d(y, 3 if overlap else 2, 2, ceil_mode=overlap)
    assert torch.allclose(Pool("tanh", norm, overlap, 2)(x), expected, atol=1e-6)


def test_the_outputs_of_tanh_units_are_between_minus_one_and_one():
    network, outputs = AlexNet(10, SMALL, unit="tanh").eval(), {}
    network.initialize("variance")
    with torch.no_grad():
        network(50 * torch.randn(1, 3, SMALL, SMALL), outputs.setdefault)
    for name in ("conv3", "conv4", "pool5", "fc6", "fc7"):
        assert outputs[name].min() < 0
        assert outputs[name].abs().max() <= 1


@pytest.mark.parametrize(
    ("name", "unit"),
    [(name, "relu") for name in HIDDEN] + [("conv2", "tanh"), ("conv3", "tanh"), ("conv5", "tanh")],
)
def test_a_layer_that_is_left_out_returns_its_input(name, unit):
    network, outputs = AlexNet(10, SMALL, dropout=0.0, without=[name], unit=unit), {}
    assert not any(weight.startswith(name) for weight in network.state_dict())
    network.initialize("variance")
    y = network(torch.randn(2, 3, SMALL, SMALL), outputs.setdefault)
    y.sum().backward()
    before = list(outputs)[list(outputs).index(name) - 1]
    assert torch.equal(outputs[name].flatten(), outputs[before].flatten())


def test_leaving_out_a_hidden_layer_removes_its_dropout():
    network = AlexNet(10, SMALL, without=["fc7"]).train()
    assert [type(m).__name__ for m in (network.dropout6, network.dropout7)] == [
        "Dropout",
        "Identity",
    ]


def test_several_layers_can_be_left_out():
    network = AlexNet(10, SMALL, without=["conv4", "conv3", "fc6", "fc7"])
    network.initialize("variance")
    assert network(torch.randn(1, 3, SMALL, SMALL)).shape == (1, 10)
    assert network.fc8.in_features == 256


@pytest.mark.parametrize(
    ("variation", "message"),
    [
        ({"unit": "sigmoid"}, "relu or tanh"),
        ({"towers": 3}, "2, or 1"),
        ({"without": ["conv1"]}, "conv2, conv3"),
        ({"depth": 3}, "alexnet cannot vary depth; it can vary unit, towers, norm"),
    ],
)
def test_variations_the_paper_does_not_have_are_refused(variation, message):
    with pytest.raises(ValueError, match=message):
        nets.build("alexnet", 10, SMALL, **variation)


def test_a_network_without_variations_says_so():
    with pytest.raises(ValueError, match="original-145 cannot vary towers"):
        nets.build("original-145", 10, SMALL, towers=1)


def test_towers_exchange_maps_where_figure_2_says():
    """A change in the second tower's conv1 reaches the first half of conv3, not of conv2."""
    torch.manual_seed(0)
    network = nets.build("alexnet", 10, SMALL).eval()
    network.initialize("variance")
    x = torch.randn(1, 3, SMALL, SMALL)

    def outputs():
        found = {}
        with torch.no_grad():
            network(x, lambda name, y: found.setdefault(name, y.clone()))
            network.conv1.weight[48:] *= 2
        return found

    before, after = outputs(), outputs()
    first_half = {name: y.shape[1] // 2 for name, y in before.items()}
    same = {n: torch.equal(before[n][:, :h], after[n][:, :h]) for n, h in first_half.items()}
    assert [name for name, equal in same.items() if equal] == ["conv1", "pool1", "conv2", "pool2"]


def test_224_and_its_zero_padded_227_are_the_same_image():
    torch.manual_seed(0)
    network = nets.build("alexnet", 10).eval()
    network.initialize("variance")
    x = torch.randn(1, 3, 224, 224)
    padded = F.pad(x, (0, 3, 0, 3))
    assert torch.equal(network(x), network(padded))


def test_an_image_too_small_for_the_network_is_refused():
    with pytest.raises(ValueError, match="window does not fit"):
        nets.build("alexnet", 10, 32)
