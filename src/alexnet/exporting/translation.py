"""Translate a network into an ONNX model.

torch.export records what the network computes as a list of operators, our kernels among them. Each
is translated by a function of `operators`. An operator whose inputs are all constants is computed
here instead (constant folding).

`writing` and a benchmark call `build_onnx_model`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from alexnet.exporting.libraries import import_library
from alexnet.exporting.onnx_graph import (
    INPUT,
    IR_VERSION,
    OPSET,
    OUTPUT,
    OnnxGraph,
    describe_floats,
)
from alexnet.exporting.operators import OPERATORS


def build_onnx_model(network: nn.Module, crop: int) -> Any:
    """Translate a network in evaluation mode into an onnx.ModelProto.

    The model computes images, float32 (N, 3, crop, crop) → logits, float32 (N, classes). Raises
    ValueError for a network with an operator that has no translation.
    """
    helper = import_library("onnx.helper")
    traced = trace(network, crop)
    graph = OnnxGraph({id(weight): name for name, weight in traced.state_dict.items()})
    logits, classes = _translate_nodes(traced, graph)
    graph.add("Identity", logits, name=OUTPUT)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            type(network).__name__,
            [describe_floats(INPUT, "N", 3, crop, crop)],
            [describe_floats(OUTPUT, "N", classes)],
            list(graph.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="alexnet",
    )
    import_library("onnx").checker.check_model(model)
    return model


@torch.no_grad()
def trace(network: nn.Module, crop: int) -> torch.export.ExportedProgram:
    """Record what the network computes, operator by operator, for any number of images."""
    images, any_number = torch.zeros(2, 3, crop, crop), torch.export.Dim("images")
    return torch.export.export(network.eval(), (images,), dynamic_shapes=({0: any_number},))


def _translate_nodes(traced: torch.export.ExportedProgram, graph: OnnxGraph) -> tuple[str, int]:
    """Add every operator, in order; return the name of the logits and the number of classes."""
    values: dict[fx.Node, Any] = {}
    weights = traced.graph_signature.inputs_to_parameters
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            weight = weights.get(node.name)
            values[node] = INPUT if weight is None else traced.state_dict[weight]
        elif node.op == "call_function" and node.users:
            inputs = [values[x] for x in node.all_input_nodes]
            arguments = fx.map_arg(node.args, values.__getitem__)
            if all(isinstance(x, Tensor) for x in inputs):  # constant: independent of the images
                values[node] = node.target(*arguments, **node.kwargs)
            else:
                values[node] = _find_translation(node)(graph, node, *arguments)
    logits = traced.graph.output_node().args[0][0]
    return values[logits], logits.meta["val"].shape[1]


def _find_translation(node: fx.Node) -> Callable[..., Any]:
    name = getattr(node.target, "__name__", str(node.target)).split(".")[0].rstrip("_")
    if name not in OPERATORS:
        raise ValueError(
            f"the network computes {node.target}, which has no counterpart in ONNX here. Use the "
            f"operators that have one ({', '.join(OPERATORS)}), or add it to exporting/operators.py"
        )
    return OPERATORS[name]
