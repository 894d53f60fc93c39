"""A network of this package as an ONNX graph.

torch.export writes down what the network computes as a short list of operators, ours among them;
here each becomes the ONNX operators that compute the same. The response norm becomes ONNX's own
LRN, which divides alpha by the window where the paper does not, and knows no towers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from alexnet.kernels.maps import pooled_size
from alexnet.portable.libraries import library

OPSET, IR_VERSION = 17, 8
"""Of 2022: what runs these files need not be new."""
INPUT, OUTPUT = "images", "logits"


def onnx_model(network: nn.Module, crop: int, metadata: dict[str, str] | None = None) -> Any:
    """The network, when it classifies, as an onnx.ModelProto: images N 3 crop crop → N classes.

    Raises ValueError for a network with an operator that has no counterpart here.
    """
    helper, floats = library("onnx.helper"), library("onnx").TensorProto.FLOAT
    graph, traced = Graph(), trace(network, crop)
    logits, classes = _follow(traced, graph)
    graph.add("Identity", logits, name=OUTPUT)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            type(network).__name__,
            [helper.make_tensor_value_info(INPUT, floats, ["N", 3, crop, crop])],
            [helper.make_tensor_value_info(OUTPUT, floats, ["N", classes])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="alexnet",
    )
    helper.set_model_props(model, metadata or {})
    library("onnx").checker.check_model(model)
    return model


@torch.no_grad()
def trace(network: nn.Module, crop: int) -> torch.export.ExportedProgram:
    """What the network computes, operator by operator, for any number of images."""
    images, any_number = torch.zeros(2, 3, crop, crop), torch.export.Dim("images")
    return torch.export.export(network.eval(), (images,), dynamic_shapes=({0: any_number},))


@dataclass
class Graph:
    """Nodes and constants of an ONNX graph under construction. Values are known by name."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def add(self, operator: str, *inputs: str, name: str = "", many: int = 1, **how: Any) -> Any:
        """Add a node and return the name of what it puts out; the names, if there are `many`."""
        name = name or f"{operator}_{len(self.nodes)}"
        outputs = [name] if many == 1 else [f"{name}_{i}" for i in range(many)]
        node = library("onnx.helper").make_node(operator, list(inputs), outputs, name, **how)
        self.nodes.append(node)
        return name if many == 1 else outputs

    def constant(
        self, values: NDArray[Any] | Tensor | Sequence[int] | float, name: str = ""
    ) -> str:
        """Add a constant and return its name."""
        name = name or f"constant_{len(self.constants)}"
        array = torch.as_tensor(values).detach().cpu().contiguous().numpy()
        self.constants.append(library("onnx.numpy_helper").from_array(array, name))
        return name


def _follow(traced: torch.export.ExportedProgram, graph: Graph) -> tuple[str, int]:
    """Add every operator in order; the name of the logits, and how many classes they have."""
    values = _weights(traced, graph)
    for node in traced.graph.nodes:
        if node.op == "output":
            logits = node.args[0][0]
            return values[logits], logits.meta["val"].shape[1]
        if node.op == "call_function" and node.users:
            values[node] = _operator(node)(graph, node, *fx.map_arg(node.args, values.__getitem__))
    raise AssertionError("a traced network ends with its output")


def _weights(traced: torch.export.ExportedProgram, graph: Graph) -> dict[fx.Node, str]:
    """The network's weights under their own names, and its input."""
    names = traced.graph_signature.inputs_to_parameters
    return {
        node: graph.constant(traced.state_dict[names[node.name]], names[node.name])
        if node.name in names
        else INPUT
        for node in traced.graph.nodes
        if node.op == "placeholder"
    }


def _operator(node: fx.Node) -> Callable[..., Any]:
    name = getattr(node.target, "__name__", str(node.target)).split(".")[0]
    if name not in OPERATORS:
        raise ValueError(
            f"the network computes {node.target}, which has no counterpart in {__name__}; "
            f"there are {', '.join(OPERATORS)}"
        )
    return OPERATORS[name]


def _convolution(
    graph: Graph,
    node: fx.Node,
    x: str,
    weight: str,
    bias: str | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> str:
    how: dict[str, Any] = {"strides": stride, "pads": [*padding] * 2, "dilations": dilation}
    inputs = [x, weight, bias] if bias else [x, weight]
    return graph.add("Conv", *inputs, name=_layer(weight), group=groups, **how)


def _linear(graph: Graph, node: fx.Node, x: str, weight: str, bias: str | None = None) -> str:
    inputs = [x, weight, bias] if bias else [x, weight]
    return graph.add("Gemm", *inputs, name=_layer(weight), transB=1)


def _layer(weight: str) -> str:
    return weight.rpartition(".")[0]


def _relu(graph: Graph, node: fx.Node, x: str) -> str:
    return graph.add("Relu", x)


def _scale(graph: Graph, node: fx.Node, x: str, factor: float) -> str:
    return graph.add("Mul", x, graph.constant(factor))


def _pad(graph: Graph, node: fx.Node, x: str, sides: Sequence[int]) -> str:
    left, right, top, bottom = sides  # torch names the last axis first
    return graph.add("Pad", x, graph.constant([0, 0, top, left, 0, 0, bottom, right]))


def _flatten(graph: Graph, node: fx.Node, x: str, axis: int) -> str:
    return graph.add("Flatten", x, axis=axis)


def _split(graph: Graph, node: fx.Node, x: str, parts: int, axis: int = 0) -> list[str]:
    return graph.add("Split", x, many=parts, axis=axis)


def _concatenate(graph: Graph, node: fx.Node, parts: list[str], axis: int = 0) -> str:
    return graph.add("Concat", *parts, axis=axis)


def _item(graph: Graph, node: fx.Node, x: str | list[str], index: int) -> str:
    """A part of what was split, or the first of a kernel's two results: nobody reads the second."""
    return x if isinstance(x, str) else x[index]


def _tanh(graph: Graph, node: fx.Node, x: str) -> str:
    return graph.add("Tanh", x)


def _same(graph: Graph, node: fx.Node, x: str, *_: Any) -> str:
    return x


def _relu_max(graph: Graph, node: fx.Node, x: str, pool: int, stride: int) -> str:
    return _pool(graph, "MaxPool", node, _relu(graph, node, x), pool, stride)


def _relu_avg(graph: Graph, node: fx.Node, x: str, pool: int, stride: int, relu_first: bool) -> str:
    x = _relu(graph, node, x) if relu_first else x
    x = _pool(graph, "AveragePool", node, x, pool, stride)
    return x if relu_first else _relu(graph, node, x)


def _relu_norm_max(
    graph: Graph,
    node: fx.Node,
    x: str,
    n: int,
    alpha: float,
    beta: float,
    k: float,
    towers: int,
    pool: int,
    stride: int,
    relu: str,
) -> str:
    x = _relu(graph, node, x) if relu == "first" else x
    x = _norm(graph, x, towers, size=n, alpha=alpha * n, beta=beta, bias=k)
    x = _pool(graph, "MaxPool", node, x, pool, stride)
    return _relu(graph, node, x) if relu == "last" else x


def _norm(graph: Graph, x: str, towers: int, **how: Any) -> str:
    """ONNX's LRN within each tower. Its even windows are longer on the other side than ours."""
    if how["size"] % 2 == 0:
        raise ValueError(
            f"a norm over {how['size']} maps cannot be exported, only over odd numbers"
        )
    if towers == 1:
        return graph.add("LRN", x, **how)
    parts = graph.add("Split", x, many=towers, axis=1)
    return graph.add("Concat", *[graph.add("LRN", part, **how) for part in parts], axis=1)


def _pool(graph: Graph, operator: str, node: fx.Node, x: str, pool: int, stride: int) -> str:
    """Sizes round up: the windows are clipped, which padding says to every program alike."""
    source: Any = node.args[0]
    sides = source.meta["val"].shape[2:]
    pads = [max(0, (pooled_size(s, pool, stride) - 1) * stride + pool - s) for s in sides]
    window: dict[str, Any] = {"kernel_shape": [pool, pool], "strides": [stride] * 2}
    return graph.add(operator, x, pads=[0, 0, *pads], **window)


OPERATORS: dict[str, Callable[..., Any]] = {
    "conv2d": _convolution,
    "linear": _linear,
    "relu": _relu,
    "relu_": _relu,
    "mul": _scale,
    "pad": _pad,
    "flatten": _flatten,
    "contiguous": _same,
    "dropout": _same,
    "getitem": _item,
    "chunk": _split,
    "cat": _concatenate,
    "tanh": _tanh,
    "relu_norm_max": _relu_norm_max,
    "relu_max": _relu_max,
    "relu_avg": _relu_avg,
}
