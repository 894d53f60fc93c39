"""Round the network of a portable file: how a record becomes its input, and logits probabilities.

A file that takes records cannot be given images that were prepared in another way: the colors, the
crop, the mean and the scale are in it. What is added here is named so that `bare_…` finds it and
takes it away again: this package cuts views and batches itself, for the network alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.batches.preprocessing import Preprocessing
from alexnet.exporting.graph import INPUT, IR_VERSION, OPSET, OUTPUT
from alexnet.exporting.libraries import library

RECORDS, PROBABILITIES = "records", "probabilities"
ADDED = "whole/"
"""What the names of added nodes and constants begin with."""


@dataclass
class Front:
    """The ONNX nodes that make images of records, one after the other, under construction."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def add(self, kind: str, *inputs: Any, out: str = "", **options: Any) -> str:
        """Add a node; arrays among its inputs become constants. What it puts out."""
        out = out or f"{ADDED}{kind}_{len(self.nodes)}"
        known = [x if isinstance(x, str) else self._constant(x) for x in inputs]
        name = f"{ADDED}{len(self.nodes)}"
        node = library("onnx.helper").make_node(kind, known, [out], name, **options)
        self.nodes.append(node)
        return out

    def _constant(self, array: Any) -> str:
        name = f"{ADDED}constant_{len(self.constants)}"
        numpy_helper = library("onnx.numpy_helper")
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name


def front(preprocessing: Preprocessing) -> Front:
    """Records, uint8 N side side 3, RGB → images, float32 N 3 crop crop."""
    graph, at = Front(), preprocessing.max_offset // 2
    colors = graph.add("Cast", RECORDS, to=library("onnx").TensorProto.FLOAT)
    if preprocessing.pixels == "yuv420":
        colors = _through_yuv420(graph, colors, preprocessing.side)
    ends = [at + preprocessing.crop] * 2
    crop = graph.add("Slice", colors, *(np.array(x, np.int64) for x in ([at, at], ends, [1, 2])))
    scaled = graph.add(
        "Mul",
        graph.add("Sub", crop, center_mean(preprocessing)),
        np.float32(preprocessing.pixel_scale),
    )
    graph.add("Transpose", scaled, out=INPUT, perm=[0, 3, 1, 2])
    return graph


def center_mean(preprocessing: Preprocessing) -> NDArray[np.float32]:
    """The part of the mean image that the central crop loses: crop crop 3."""
    at = slice(preprocessing.max_offset // 2, preprocessing.max_offset // 2 + preprocessing.crop)
    return np.ascontiguousarray(preprocessing.mean.cpu().numpy()[at, at])


def _through_yuv420(graph: Front, colors: str, side: int) -> str:
    """What is left of colors, N side side 3, in a record of luma and quarter planes of chroma.

    The arithmetic of `pixels.write_record` and `pixels.rgb`; a chroma value that lies within 1e-5
    of the edge between two integers may be rounded to the other one.
    """
    half = side // 2
    to_luma = np.array([[19595], [38470], [7471]], np.float32)
    to_chroma = np.array([[-11059, 32768], [-21709, -27439], [32768, -5329]], np.float32)
    back = np.array([[0, -0.344136286, 1.772], [1.402, -0.714136286, 0]], np.float32)
    blocks = graph.add("Reshape", colors, np.array([-1, half, 2, half, 2, 3], np.int64))
    sums = graph.add("ReduceSum", blocks, np.array([2, 4], np.int64), keepdims=0)
    luma = _whole_numbers(graph, graph.add("MatMul", colors, to_luma), 1 << 15, 16)
    chroma = _whole_numbers(graph, graph.add("MatMul", sums, to_chroma), (1 << 17) - 1, 18)
    tints = graph.add("MatMul", chroma, back)
    tints = graph.add("Reshape", tints, np.array([-1, half, 1, half, 1, 3], np.int64))
    tints = graph.add("Expand", tints, np.array([1, 1, 2, 1, 2, 1], np.int64))
    tints = graph.add("Reshape", tints, np.array([-1, side, side, 3], np.int64))
    return graph.add("Add", tints, luma)


def _whole_numbers(graph: Front, x: str, half: int, bits: int) -> str:
    """(x + half) >> bits, of floats."""
    moved = graph.add("Add", x, np.float32(half))
    return graph.add("Floor", graph.add("Mul", moved, np.float32(2.0**-bits)))


def whole_onnx(model: Any, preprocessing: Preprocessing) -> None:
    """Make images → logits into records → probabilities: uint8 N side side 3 → N classes."""
    graph, added = model.graph, front(preprocessing)
    classes = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    make_node = library("onnx.helper").make_node
    after = make_node("Softmax", [OUTPUT], [PROBABILITIES], ADDED + "Softmax", axis=1)
    graph.value_info.extend([graph.input[0], graph.output[0]])
    graph.initializer.extend(added.constants)
    _replace(graph.node, [*added.nodes, *graph.node, after])
    _replace(graph.input, [_records_value(preprocessing)])
    _replace(graph.output, [_floats_value(PROBABILITIES, "N", classes)])
    library("onnx").checker.check_model(model)


def bare_onnx(model: Any) -> None:
    """Take away what `whole_onnx` added. Raises KeyError if it is not there."""
    graph = model.graph
    known = {value.name: value for value in graph.value_info}
    images, logits = known[INPUT], known[OUTPUT]
    for part in (graph.node, graph.initializer):
        _replace(part, [x for x in part if not x.name.startswith(ADDED)])
    _replace(graph.input, [images])
    _replace(graph.output, [logits])


def _replace(field: Any, values: list[Any]) -> None:
    values = list(values)
    del field[:]
    field.extend(values)


def _records_value(preprocessing: Preprocessing) -> Any:
    kind = library("onnx").TensorProto.UINT8
    shape = ["N", preprocessing.side, preprocessing.side, 3]
    return library("onnx.helper").make_tensor_value_info(RECORDS, kind, shape)


def _floats_value(name: str, *shape: str | int) -> Any:
    kind = library("onnx").TensorProto.FLOAT
    return library("onnx.helper").make_tensor_value_info(name, kind, shape)


def whole_openvino(model: Any, preprocessing: Preprocessing) -> Any:
    """An openvino.Model of images → logits as one of records → probabilities."""
    openvino, ops = library("openvino"), library("openvino.opset13")
    before = openvino.Core().read_model(_front_model(preprocessing).SerializeToString())
    images = before.output(0).get_node().input_value(0)
    images.get_node().set_friendly_name(ADDED + INPUT)
    model.input(0).get_node().output(0).replace(images)
    logits = model.output(0).get_node().input_value(0)
    found = ops.result(ops.softmax(logits, 1, name=ADDED + OUTPUT), name=PROBABILITIES)
    found.input_value(0).set_names({PROBABILITIES})
    return openvino.Model([found], before.get_parameters(), model.get_friendly_name())


def _front_model(preprocessing: Preprocessing) -> Any:
    helper, added = library("onnx.helper"), front(preprocessing)
    images = _floats_value(INPUT, "N", 3, preprocessing.crop, preprocessing.crop)
    graph = helper.make_graph(
        added.nodes, "front", [_records_value(preprocessing)], [images], added.constants
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def bare_openvino(model: Any, crop: int) -> Any:
    """Take away what `whole_openvino` added. Raises KeyError if it is not there."""
    ops = library("openvino.opset13")
    nodes = {node.get_friendly_name(): node for node in model.get_ops()}
    images = ops.parameter([-1, 3, crop, crop], np.float32, name=INPUT)
    nodes[ADDED + INPUT].output(0).replace(images.output(0))
    logits = ops.result(nodes[ADDED + OUTPUT].input_value(0), name=OUTPUT)
    return library("openvino").Model([logits], [images], model.get_friendly_name())
