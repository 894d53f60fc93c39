"""A network of this package as an ONNX graph.

torch.export writes down what the network computes as a short list of operators, ours among them;
`operators` has the ONNX operators that compute the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from alexnet.exporting.libraries import library
from alexnet.exporting.operators import OPERATORS

OPSET, IR_VERSION = 17, 8
"""Of 2022: what runs these files need not be new."""
INPUT, OUTPUT = "images", "logits"


def onnx_model(network: nn.Module, crop: int) -> Any:
    """The network, when it classifies, as an onnx.ModelProto: images N 3 crop crop → N classes.

    Raises ValueError for a network with an operator that has no counterpart here.
    """
    helper, floats = library("onnx.helper"), library("onnx").TensorProto.FLOAT
    traced = trace(network, crop)
    graph = Graph({id(weight): name for name, weight in traced.state_dict.items()})
    logits, classes = _follow(traced, graph)
    graph.add("Identity", logits, name=OUTPUT)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            type(network).__name__,
            [helper.make_tensor_value_info(INPUT, floats, ["N", 3, crop, crop])],
            [helper.make_tensor_value_info(OUTPUT, floats, ["N", classes])],
            list(graph.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="alexnet",
    )
    library("onnx").checker.check_model(model)
    return model


@torch.no_grad()
def trace(network: nn.Module, crop: int) -> torch.export.ExportedProgram:
    """What the network computes, operator by operator, for any number of images."""
    images, any_number = torch.zeros(2, 3, crop, crop), torch.export.Dim("images")
    return torch.export.export(network.eval(), (images,), dynamic_shapes=({0: any_number},))


@dataclass
class Graph:
    """An ONNX graph under construction. What depends on the images is known by name."""

    names: dict[int, str]
    """What the weights are called, by their identity."""
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)

    def add(
        self, operator: str, *inputs: str | Tensor, name: str = "", many: int = 1, **how: Any
    ) -> Any:
        """Add a node and return the name of what it puts out; the names, if there are `many`."""
        name = name or f"{operator}_{len(self.nodes)}"
        outputs = [name] if many == 1 else [f"{name}_{i}" for i in range(many)]
        known = [x if isinstance(x, str) else self._constant(x) for x in inputs]
        node = library("onnx.helper").make_node(operator, known, outputs, name, **how)
        self.nodes.append(node)
        return name if many == 1 else outputs

    def layer(self, weight: Tensor) -> str:
        """The layer that a weight belongs to: conv1 for conv1.weight."""
        return self.names.get(id(weight), "").rpartition(".")[0]

    def _constant(self, x: Tensor) -> str:
        name = self.names.get(id(x), f"constant_{len(self.constants)}")
        array = x.detach().cpu().contiguous().numpy()
        self.constants[name] = library("onnx.numpy_helper").from_array(array, name)
        return name


def _follow(traced: torch.export.ExportedProgram, graph: Graph) -> tuple[str, int]:
    """Add every operator in order; the name of the logits, and how many classes they have."""
    values: dict[fx.Node, Any] = {}
    weights = traced.graph_signature.inputs_to_parameters
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            weight = weights.get(node.name)
            values[node] = INPUT if weight is None else traced.state_dict[weight]
        elif node.op == "call_function" and node.users:
            inputs = [values[x] for x in node.all_input_nodes]
            arguments = fx.map_arg(node.args, values.__getitem__)
            if all(isinstance(x, Tensor) for x in inputs):  # no image is needed to know it
                values[node] = node.target(*arguments, **node.kwargs)
            else:
                values[node] = _operator(node)(graph, node, *arguments)
    logits = traced.graph.output_node().args[0][0]
    return values[logits], logits.meta["val"].shape[1]


def _operator(node: fx.Node) -> Callable[..., Any]:
    name = getattr(node.target, "__name__", str(node.target)).split(".")[0].rstrip("_")
    if name not in OPERATORS:
        raise ValueError(
            f"the network computes {node.target}, which has no counterpart in ONNX here; "
            f"there are {', '.join(OPERATORS)}"
        )
    return OPERATORS[name]
