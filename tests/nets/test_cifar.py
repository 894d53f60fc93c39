"""The networks of the 2012 code for CIFAR-10."""

import pytest
import torch
import torch.nn.functional as F

from alexnet import nets
from alexnet.nets.cifar import Cifar
from alexnet.nets.layers import avg_pool, max_pool


@pytest.mark.parametrize(
    ("name", "stds"),
    [
        ("cifar-80sec", [0.0001, 0.01, 0.01, 0.1, 0.1]),
        ("cifar-19pct", [0.0001, 0.01, 0.01, 0.01]),
        ("cifar-18pct", [0.0001, 0.01, 0.01, 0.01]),
        ("cifar-13pct", [0.0001, 0.01, 0.04, 0.04, 0.01]),
        ("cifar-11pct", [0.0001, 0.01, 0.04, 0.04, 0.01]),
    ],
)
def test_first_weights_are_those_of_the_definition_files(name, stds):
    torch.manual_seed(0)
    network = nets.build(name)
    network.initialize("printed")
    layers = [m for m in network.children() if hasattr(m, "weight")]
    assert [m.weight.std().item() for m in layers] == pytest.approx(stds, rel=0.1)
    assert all(m.bias.abs().max() == 0 for m in layers)


def test_the_network_cifar_is_the_19_percent_network_and_the_relu_network_of_figure_1():
    names = "cifar", "cifar-19pct", "figure1-relu"
    first, *others = [nets.list_layers(name) for name in names]
    assert others == [first, first]


def test_figure_1_compares_two_networks_that_differ_in_their_unit():
    torch.manual_seed(0)
    relu, tanh = (nets.build(f"figure1-{unit}").eval() for unit in ("relu", "tanh"))
    relu.initialize("variance")
    tanh.load_state_dict(relu.state_dict())
    x = torch.randn(2, 3, 32, 32)
    for network, unit in ((relu, F.relu), (tanh, F.tanh)):
        y = max_pool(unit(network.conv1(x)))
        y = avg_pool(unit(network.conv2(y)))
        y = avg_pool(unit(network.conv3(y)))
        assert torch.allclose(network(x), network.fc4(y.flatten(1)), atol=1e-5)


def test_an_unknown_unit_is_refused():
    with pytest.raises(ValueError, match="'sigmoid'; it has to be relu or tanh"):
        Cifar(unit="sigmoid")
