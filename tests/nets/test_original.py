"""The networks of the 2012 code: their towers, first weights, sizes and second path."""

import pytest
import torch
import torch.nn.functional as F

from alexnet import nets
from alexnet.kernels import response_norm
from alexnet.kernels.within_channel.operator import contrast_norm, within_channel_norm
from alexnet.nets.layers import max_pool, round_up
from alexnet.nets.original import Net145

SIZE = 67
"""A side, in pixels, that leaves one pixel after the last pooling."""


def cross_norm(x):
    return response_norm(x, n=5, alpha=1e-4, beta=0.75, k=2, over_n=True)


def tower_layer(network, name, half, x, **options):
    """Apply one tower of a layer: half of its kernels."""
    layer = getattr(network, name)
    weight, bias = (parameter.chunk(2)[half] for parameter in (layer.weight, layer.bias))
    return F.conv2d(x, weight, bias, **options) if weight.dim() == 4 else F.linear(x, weight, bias)


def two_towers(network, x):
    """Net 145 written as the 2012 code ran it: two networks that exchange maps four times."""
    towers = []
    for half in (0, 1):
        y = tower_layer(network, "conv1", half, round_up(x, 11, 4), stride=4)
        y = F.relu(max_pool(cross_norm(y)))
        y = F.relu(tower_layer(network, "conv2", half, y, padding=2))
        towers.append(max_pool(within_channel_norm(cross_norm(y), n=5, alpha=1e-3)))
    both = torch.cat(towers, 1)
    for half in (0, 1):
        y = F.relu(tower_layer(network, "conv3", half, both, padding=1))
        y = F.relu(tower_layer(network, "conv4", half, y, padding=1))
        towers[half] = F.relu(max_pool(tower_layer(network, "conv5", half, y, padding=1)))
    both = torch.cat(towers, 1).flatten(1)
    both = torch.cat([F.relu(tower_layer(network, "fc6", half, both)) for half in (0, 1)], 1) / 2
    both = torch.cat([F.relu(tower_layer(network, "fc7", half, both)) for half in (0, 1)], 1) / 2
    return network.fc8(both)


def test_net_145_is_two_towers_with_the_same_weights():
    torch.manual_seed(0)
    network = Net145(5, SIZE).eval()
    network.initialize("printed")
    x = 60 * torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        assert torch.allclose(network(x), two_towers(network, x), atol=1e-3, rtol=1e-4)


def test_the_towers_of_net_150_are_connected_in_the_last_layer_only():
    network = nets.build("original-150", 5, SIZE).eval()
    network.initialize("variance")
    x, before, after = torch.randn(1, 3, SIZE, SIZE), {}, {}
    with torch.no_grad():
        network(x, lambda name, y: before.setdefault(name, y.clone()))
        network.conv1.weight[48:] *= 2
        network(x, after.setdefault)
    same = [n for n, y in before.items() if torch.equal(y.chunk(2, 1)[0], after[n].chunk(2, 1)[0])]
    assert same == [name for name in before if name != "fc8"]


def test_first_weights_are_those_of_the_definition_files():
    torch.manual_seed(0)
    network = nets.build("original-146", 10, SIZE)
    network.initialize("printed")
    layers = {n: m for n, m in network.named_children() if hasattr(m, "weight")}
    wide = {name for name, layer in layers.items() if layer.weight.std() > 0.02}
    assert wide == {"conv3", "conv4", "conv5", "conv6"}
    assert layers["conv6"].weight.std().item() == pytest.approx(0.03, rel=0.03)
    zeros = {name for name, layer in layers.items() if layer.bias.max() == 0}
    assert zeros == {"conv1", "conv3", "fc8"}


def test_net_147_has_the_last_maps_of_net_145():
    shapes = {x.name: x.shape[1:] for x in nets.list_layers("original-147")}
    names = "conv1", "pool1", "conv2", "pool2", "conv4", "conv5", "pool5"
    assert [shapes[name][0] for name in names] == [55, 28, 26, 13, 13, 11, 6]


def test_the_low_resolution_path_has_the_sizes_of_the_definitions():
    shapes = {x.name: x.shape for x in nets.list_layers("original-131")}
    assert shapes["low1"] == (3, 56, 56)
    assert shapes["low2"] == shapes["conv2"] == (256, 27, 27)


def test_a_size_at_which_the_two_paths_differ_is_refused():
    with pytest.raises(ValueError, match="28×28, and 27×27"):
        nets.build("original-131", 10, 228)


def test_the_low_resolution_networks_differ_in_their_norms():
    x = torch.rand(1, 64, 9, 9)
    networks = {name: nets.lowres.__dict__[f"Net{name}"](2, SIZE) for name in (120, 131, 135, 137)}
    assert [network.k for network in networks.values()] == [1, 1, 2, 2]
    assert not torch.equal(networks[120].pool1(x), networks[131].pool1(x))
    for name, norm in ((131, contrast_norm), (135, contrast_norm), (137, within_channel_norm)):
        assert torch.equal(networks[name].map2(x), norm(x, n=5, alpha=1e-3))
