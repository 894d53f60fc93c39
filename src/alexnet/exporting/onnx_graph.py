"""An ONNX graph under construction.

`translation` and `operators` build the network's graph with it, `preprocessing_graph` the nodes
that are added around a network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from alexnet.exporting.libraries import import_library

OPSET, IR_VERSION = 17, 8
"""Versions from 2022, so that older runtimes can load the files, too."""
INPUT, OUTPUT = "images", "logits"
"""The names of the network's input and output tensors."""


@dataclass
class OnnxGraph:
    """The nodes and constants of an ONNX graph, in the order in which they are added.

    A value that depends on the input is represented by the name of its ONNX tensor (str); a
    constant is a torch tensor.
    """

    names: dict[int, str] = field(default_factory=dict)
    """The name of each weight in the network, by the `id` of the tensor."""
    prefix: str = ""
    """What the names of all nodes and constants begin with."""
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)

    def add(
        self,
        operator: str,
        *inputs: str | Tensor,
        name: str = "",
        output: str = "",
        n_outputs: int = 1,
        **attributes: Any,
    ) -> Any:
        """Add a node and return the name of its output tensor, or a list of `n_outputs` names.

        `name` is that of the node, and `output` that of its output tensor; by default they are the
        same. `attributes` are the ONNX operator's.
        """
        name = name or f"{self.prefix}{operator}_{len(self.nodes)}"
        output = output or name
        outputs = [output] if n_outputs == 1 else [f"{output}_{i}" for i in range(n_outputs)]
        tensors = [x if isinstance(x, str) else self._add_constant(x) for x in inputs]
        make_node = import_library("onnx.helper").make_node
        self.nodes.append(make_node(operator, tensors, outputs, name, **attributes))
        return output if n_outputs == 1 else outputs

    def layer_of(self, weight: Tensor) -> str:
        """Return the name of the layer that a weight belongs to: conv1 for conv1.weight."""
        return self.names.get(id(weight), "").rpartition(".")[0]

    def _add_constant(self, x: Tensor) -> str:
        name = self.names.get(id(x), f"{self.prefix}constant_{len(self.constants)}")
        array = x.detach().cpu().contiguous().numpy()
        self.constants[name] = import_library("onnx.numpy_helper").from_array(array, name)
        return name


def describe_floats(name: str, *shape: str | int) -> Any:
    """Describe a float32 input or output of a graph; a str in `shape` is an axis of any size."""
    floats = import_library("onnx").TensorProto.FLOAT
    return import_library("onnx.helper").make_tensor_value_info(name, floats, shape)


def describe_bytes(name: str, *shape: str | int) -> Any:
    """Describe a uint8 input of a graph; a str in `shape` is an axis of any size."""
    kind = import_library("onnx").TensorProto.UINT8
    return import_library("onnx.helper").make_tensor_value_info(name, kind, shape)
