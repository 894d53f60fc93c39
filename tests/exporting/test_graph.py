"""Networks as ONNX graphs, run by somebody else's program."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from alexnet import nets
from alexnet.exporting.graph import onnx_model
from alexnet.exporting.libraries import library
from alexnet.kernels import norm_pool, relu_pool, response_norm

KINDS = (
    "alexnet",
    "cifar",
    "original-145",
    "original-120",
    "cifar-18pct",
    "cifar-11pct",
    "figure1-tanh",
)
"""Networks that have among them every kind of layer there is."""


class Lone(nn.Module):
    """One operation between an image and its logits."""

    def __init__(self, operation):
        super().__init__()
        self.operation = operation
        self.maps = nn.Conv2d(3, 12, 1)

    def forward(self, x):
        return self.operation(self.maps(x)).flatten(1)


def both(network, size, images=3):
    """The logits of torch and of onnxruntime for a few images."""
    torch.manual_seed(0)
    network = network.eval()
    x = 50 * torch.randn(images, 3, size, size)
    graph = onnx_model(network, size).SerializeToString()
    session = library("onnxruntime").InferenceSession(graph, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        return network(x).numpy(), session.run(None, {"images": x.numpy()})[0]


@pytest.mark.parametrize("name", [name for name in KINDS if name in nets.NETS])
def test_every_kind_of_network_computes_the_same(name):
    size = min(nets.find(name).size, 99)
    network = nets.build(name, 7, size)
    network.initialize("variance")
    ours, its = both(network, size)
    np.testing.assert_allclose(its, ours, atol=2e-5 * np.abs(ours).max())


@pytest.mark.parametrize("order", ["relu-norm-pool", "norm-pool-relu"])
@pytest.mark.parametrize("size", [14, 15])
@pytest.mark.parametrize(
    "how",
    [
        {"n": 5, "alpha": 1e-2, "beta": 0.75, "k": 2.0},
        {"n": 3, "alpha": 1e-2, "beta": 0.5, "k": 1.0, "over_n": True, "towers": 2},
        {"n": 9, "alpha": 1e-2, "pool": 2, "towers": 3},
        {"n": 5, "pool": 2, "stride": 3},
    ],
)
def test_norm_and_pool_are_the_same_in_every_form(how, size, order):
    ours, its = both(Lone(lambda x: norm_pool(x, order=order, **how)), size)
    np.testing.assert_allclose(its, ours, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("order", ["relu-pool", "pool-relu"])
@pytest.mark.parametrize("size", [14, 15])
def test_pools_round_up_alike(kind, order, size):
    ours, its = both(Lone(lambda x: relu_pool(x, kind=kind, order=order)), size)
    np.testing.assert_allclose(its, ours, rtol=1e-5, atol=1e-5)


def test_the_norm_is_the_native_operator_once_a_tower():
    network = nets.build("alexnet", 7, 67).eval()
    network.initialize("printed")
    graph = onnx_model(network, 67).graph
    norms = [node for node in graph.node if node.op_type == "LRN"]
    assert len(norms) == 4
    how = {a.name: onnx.helper.get_attribute_value(a) for a in norms[0].attribute}
    assert how == pytest.approx({"size": 5, "alpha": 5e-4, "beta": 0.75, "bias": 2.0})


def test_layers_and_weights_keep_their_names():
    graph = onnx_model(nets.build("cifar").eval(), 32).graph
    named = {"conv1", "conv2", "conv3", "fc4", "logits"}
    assert named <= {node.name for node in graph.node}
    assert "fc4.weight" in {x.name for x in graph.initializer}


def test_an_even_window_is_refused():
    with pytest.raises(ValueError, match="a norm over 4 maps cannot be exported"):
        both(Lone(lambda x: response_norm(x, n=4)), 8)


def test_an_unknown_operator_is_named():
    with pytest.raises(ValueError, match=r"aten\.erf.* has no counterpart .*conv2d"):
        both(Lone(torch.erf), 8)
