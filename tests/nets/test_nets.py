"""The networks: what the paper prints of them, and golden tables of all of them."""

import json
from pathlib import Path

import pytest
import torch

from alexnet import nets
from alexnet.nets.layers import Dropout, round_up, side_after

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", nets.NETS)
def test_layers_parameters_and_multiply_adds_are_the_golden_ones(name):
    rows = [[x.name, list(x.shape), x.parameters, x.multiply_adds] for x in nets.layers(name)]
    assert rows == json.loads((GOLDEN / f"{name}.json").read_text())


def test_parameters_are_the_sixty_million_of_section_3():
    assert sum(x.parameters for x in nets.layers("alexnet")) == 60_965_224


def test_shapes_are_those_of_figure_2():
    shapes = {x.name: x.shape for x in nets.layers("alexnet")}
    assert shapes["conv1"] == (2 * 48, 55, 55)
    assert shapes["conv2"] == (2 * 128, 27, 27)
    assert shapes["conv3"] == shapes["conv4"] == (2 * 192, 13, 13)
    assert shapes["conv5"] == (2 * 128, 13, 13)
    assert shapes["fc6"] == shapes["fc7"] == (2 * 2048,)
    assert shapes["fc8"] == (1000,)


def test_units_are_the_659_272_of_the_figure():
    names = "conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"
    shapes = {x.name: x.shape for x in nets.layers("alexnet")}
    assert sum(torch.Size(shapes[name]).numel() for name in names) == 659_272


def test_printed_initialization_is_section_5():
    torch.manual_seed(0)
    network = nets.build("alexnet", 10)
    network.initialize("printed")
    ones = {n for n, m in network.named_children() if hasattr(m, "bias") and m.bias.mean() == 1}
    assert ones == {"conv2", "conv4", "conv5", "fc6", "fc7"}
    for name in ("conv1", "conv3", "fc6"):
        assert getattr(network, name).weight.std().item() == pytest.approx(0.01, rel=0.03)


def test_initial_loss_of_the_printed_network_is_near_ln_of_the_classes():
    torch.manual_seed(0)
    network = nets.build("alexnet", 1000).eval()
    network.initialize("printed")
    loss = torch.nn.functional.cross_entropy(
        network(60 * torch.randn(2, 3, 224, 224)), torch.tensor([1, 2])
    )
    assert 6.8 < loss.item() < 7.6


def test_towers_meet_where_figure_2_says():
    """A change in the second tower's conv1 reaches the first half of conv3, not of conv2."""
    torch.manual_seed(0)
    network, seen = nets.build("alexnet", 10).eval(), {}
    network.initialize("variance")
    x = torch.randn(1, 3, 224, 224)

    def outputs():
        found = {}
        with torch.no_grad():
            network(x, lambda name, y: found.setdefault(name, y.clone()))
            network.conv1.weight[48:] *= 2
        return found

    before, seen = outputs(), outputs()
    first_half = {name: y.shape[1] // 2 for name, y in before.items()}
    same = {n: torch.equal(before[n][:, :h], seen[n][:, :h]) for n, h in first_half.items()}
    assert same["conv1"] and same["pool1"] and same["conv2"] and same["pool2"]
    assert not same["conv3"]


def test_224_and_its_zero_padded_227_are_the_same_image():
    torch.manual_seed(0)
    network = nets.build("alexnet", 10).eval()
    network.initialize("variance")
    x = torch.randn(1, 3, 224, 224)
    padded = torch.nn.functional.pad(x, (0, 3, 0, 3))
    assert torch.equal(network(x), network(padded))
    assert torch.equal(round_up(x, 11, 4), padded)


@pytest.mark.parametrize(("side", "out"), [(224, 55), (225, 55), (226, 55), (227, 55), (228, 56)])
def test_windows_are_counted_with_ceil(side, out):
    assert side_after(side, 11, 4) == out
    assert round_up(torch.zeros(1, 1, side, side), 11, 4).shape[-1] == 11 + 4 * (out - 1)


def test_dropout_is_the_papers():
    x = torch.ones(1000, 10)
    dropout = Dropout(0.25)
    kept = dropout.train()(x)
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    assert kept.mean().item() == pytest.approx(0.75, abs=0.02)
    assert torch.equal(dropout.eval()(x), 0.75 * x)


def test_an_image_too_small_for_the_network_is_refused():
    with pytest.raises(ValueError, match="window does not fit"):
        nets.build("alexnet", 10, 32)


def test_an_unknown_network_names_those_there_are():
    with pytest.raises(ValueError, match="alexnet, cifar"):
        nets.build("alexnett")
