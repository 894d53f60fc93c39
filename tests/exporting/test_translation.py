"""Networks translated into ONNX models, run by onnxruntime."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from alexnet import nets
from alexnet.exporting.libraries import import_library
from alexnet.exporting.translation import build_onnx_model
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
"""Networks that together have every kind of layer."""


class OneOperation(nn.Module):
    """One operation between an image and its logits."""

    def __init__(self, operation):
        super().__init__()
        self.operation = operation
        self.maps = nn.Conv2d(3, 12, 1)

    def forward(self, x):
        return self.operation(self.maps(x)).flatten(1)


def run_both(network, size, images=3):
    """Return the logits of torch and of onnxruntime for random images."""
    torch.manual_seed(0)
    network = network.eval()
    x = 50 * torch.randn(images, 3, size, size)
    graph = build_onnx_model(network, size).SerializeToString()
    session = import_library("onnxruntime").InferenceSession(
        graph, providers=["CPUExecutionProvider"]
    )
    with torch.inference_mode():
        return network(x).numpy(), session.run(None, {"images": x.numpy()})[0]


@pytest.mark.parametrize("name", [name for name in KINDS if name in nets.NETS])
def test_every_kind_of_network_computes_the_same(name):
    size = min(nets.find(name).size, 99)
    network = nets.build(name, 7, size)
    network.initialize("variance")
    wanted, logits = run_both(network, size)
    np.testing.assert_allclose(logits, wanted, atol=2e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("order", ["relu-norm-pool", "norm-pool-relu"])
@pytest.mark.parametrize("size", [14, 15])
@pytest.mark.parametrize(
    "options",
    [
        {"n": 5, "alpha": 1e-2, "beta": 0.75, "k": 2.0},
        {"n": 3, "alpha": 1e-2, "beta": 0.5, "k": 1.0, "over_n": True, "towers": 2},
        {"n": 9, "alpha": 1e-2, "pool": 2, "towers": 3},
        {"n": 5, "pool": 2, "stride": 3},
    ],
)
def test_norm_and_pool_compute_the_same_with_all_options(options, size, order):
    wanted, logits = run_both(OneOperation(lambda x: norm_pool(x, order=order, **options)), size)
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("order", ["relu-pool", "pool-relu"])
@pytest.mark.parametrize("size", [14, 15])
def test_pooling_rounds_its_output_size_up_in_both(kind, order, size):
    wanted, logits = run_both(OneOperation(lambda x: relu_pool(x, kind=kind, order=order)), size)
    np.testing.assert_allclose(logits, wanted, rtol=1e-5, atol=1e-5)


def test_the_norm_is_onnx_lrn_once_per_tower():
    network = nets.build("alexnet", 7, 67).eval()
    network.initialize("printed")
    graph = build_onnx_model(network, 67).graph
    norms = [node for node in graph.node if node.op_type == "LRN"]
    assert len(norms) == 4
    options = {a.name: onnx.helper.get_attribute_value(a) for a in norms[0].attribute}
    assert options == pytest.approx({"size": 5, "alpha": 5e-4, "beta": 0.75, "bias": 2.0})


def test_layers_and_weights_keep_their_names():
    graph = build_onnx_model(nets.build("cifar").eval(), 32).graph
    named = {"conv1", "conv2", "conv3", "fc4", "logits"}
    assert named <= {node.name for node in graph.node}
    assert "fc4.weight" in {x.name for x in graph.initializer}


def test_an_even_window_is_refused():
    with pytest.raises(ValueError, match="a norm over 4 maps cannot be exported"):
        run_both(OneOperation(lambda x: response_norm(x, n=4)), 8)


def test_an_unknown_operator_is_named():
    with pytest.raises(ValueError, match=r"aten\.erf.* has no counterpart .*conv2d"):
        run_both(OneOperation(torch.erf), 8)
