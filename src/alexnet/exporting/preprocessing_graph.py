"""Preprocessing and softmax as part of an exported file, added around the network.

::

    records ──> cast ─> (YUV rounding) ─> central crop ─> − mean ─> × scale ──> images
    images ──> the network ──> logits
    logits ──> softmax ──> probabilities

With a file that takes records, preprocessing cannot be done wrongly. The names of all added nodes
begin with ADDED, so that the `remove_…` functions find them: this package crops views itself and
runs the network alone (`runtimes`). These names are part of the file format.

`writing` adds, and `runtimes` removes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet.batches.preprocessing import Preprocessing
from alexnet.colors import TO_CHROMA, TO_LUMA, TO_RGB
from alexnet.exporting.libraries import get_openvino_core, import_library
from alexnet.exporting.onnx_graph import (
    INPUT,
    IR_VERSION,
    OPSET,
    OUTPUT,
    OnnxGraph,
    describe_bytes,
    describe_floats,
)

RECORDS, PROBABILITIES = "records", "probabilities"
"""The names of the input and the output of a file that takes records."""
ADDED = "whole/"
"""What the names of added nodes and constants begin with."""


def build_preprocessing(preprocessing: Preprocessing) -> OnnxGraph:
    """Build the nodes for records, uint8 (N, side, side, 3), RGB → images (N, 3, crop, crop)."""
    graph, begin = OnnxGraph(prefix=ADDED), preprocessing.center_offset
    colors = graph.add("Cast", RECORDS, to=import_library("onnx").TensorProto.FLOAT)
    if preprocessing.pixels == "yuv420":
        colors = _round_to_yuv420(graph, colors, preprocessing.side)
    end = begin + preprocessing.crop
    slices = [begin, begin], [end, end], [1, 2]  # of the axes 1 and 2
    crop = graph.add("Slice", colors, *(torch.tensor(x) for x in slices))
    centered = graph.add("Sub", crop, crop_center_mean(preprocessing))
    scale = torch.tensor(preprocessing.pixel_scale, dtype=torch.float32)
    scaled = graph.add("Mul", centered, scale)
    graph.add("Transpose", scaled, output=INPUT, perm=[0, 3, 1, 2])
    return graph


def crop_center_mean(preprocessing: Preprocessing) -> Tensor:
    """Return the part of the mean image that is subtracted from the central crop: (crop, crop, 3).

    It is the central part for both values of `mean_at`.
    """
    begin = preprocessing.center_offset
    center = slice(begin, begin + preprocessing.crop)
    return preprocessing.mean.cpu()[center, center].contiguous()


def _round_to_yuv420(graph: OnnxGraph, colors: str, side: int) -> str:
    """Convert colors (N, side, side, 3) to a yuv420 record and back: what is left of them.

    A yuv420 record has one byte of luma per pixel and two bytes of chroma per block of 2×2 pixels.
    The arithmetic is that of `images.records`, in float32; a chroma value within 1e-5 of the edge
    between two integers may be rounded to the other one.
    """
    half = side // 2
    matrices = TO_LUMA, TO_CHROMA, TO_RGB
    to_luma, to_chroma, to_rgb = (torch.tensor(x, dtype=torch.float32) for x in matrices)
    blocks = graph.add("Reshape", colors, torch.tensor([-1, half, 2, half, 2, 3]))
    sums = graph.add("ReduceSum", blocks, torch.tensor([2, 4]), keepdims=0)
    luma = _shift_right(graph, graph.add("MatMul", colors, to_luma), 1 << 15, 16)
    chroma = _shift_right(graph, graph.add("MatMul", sums, to_chroma), (1 << 17) - 1, 18)
    tints = graph.add("MatMul", chroma, to_rgb)  # what chroma adds to R, G and B of each block
    tints = graph.add("Reshape", tints, torch.tensor([-1, half, 1, half, 1, 3]))
    tints = graph.add("Expand", tints, torch.tensor([1, 1, 2, 1, 2, 1]))
    tints = graph.add("Reshape", tints, torch.tensor([-1, side, side, 3]))
    return graph.add("Add", tints, luma)


def _shift_right(graph: OnnxGraph, x: str, rounding: int, bits: int) -> str:
    """Add the nodes for (x + rounding) >> bits in floating point."""
    moved = graph.add("Add", x, torch.tensor(float(rounding)))
    return graph.add("Floor", graph.add("Mul", moved, torch.tensor(2.0**-bits)))


def add_preprocessing_onnx(model: Any, preprocessing: Preprocessing) -> None:
    """Change a model of images → logits, in place, into one of records → probabilities."""
    graph, added = model.graph, build_preprocessing(preprocessing)
    classes = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    make_node = import_library("onnx.helper").make_node
    softmax = make_node("Softmax", [OUTPUT], [PROBABILITIES], ADDED + "Softmax", axis=1)
    graph.value_info.extend([graph.input[0], graph.output[0]])
    graph.initializer.extend(added.constants.values())
    _replace(graph.node, [*added.nodes, *graph.node, softmax])
    _replace(graph.input, [_describe_records(preprocessing)])
    _replace(graph.output, [describe_floats(PROBABILITIES, "N", classes)])
    import_library("onnx").checker.check_model(model)


def remove_preprocessing_onnx(model: Any) -> None:
    """Undo `add_preprocessing_onnx`, in place. Raises KeyError if there is nothing to undo."""
    graph = model.graph
    values = {value.name: value for value in graph.value_info}
    images, logits = values[INPUT], values[OUTPUT]
    for part in (graph.node, graph.initializer):
        _replace(part, [x for x in part if not x.name.startswith(ADDED)])
    _replace(graph.input, [images])
    _replace(graph.output, [logits])


def _replace(repeated: Any, values: list[Any]) -> None:
    """Replace the content of a repeated protobuf field, which cannot be assigned to."""
    values = list(values)
    del repeated[:]
    repeated.extend(values)


def _describe_records(preprocessing: Preprocessing) -> Any:
    return describe_bytes(RECORDS, "N", preprocessing.side, preprocessing.side, 3)


def add_preprocessing_openvino(model: Any, preprocessing: Preprocessing) -> Any:
    """Make an openvino.Model of records → probabilities from one of images → logits."""
    openvino, ops = import_library("openvino"), import_library("openvino.opset13")
    before = get_openvino_core().read_model(_build_preprocessing_model(preprocessing))
    images = before.output(0).get_node().input_value(0)
    images.get_node().set_friendly_name(ADDED + INPUT)
    model.input(0).get_node().output(0).replace(images)
    logits = model.output(0).get_node().input_value(0)
    result = ops.result(ops.softmax(logits, 1, name=ADDED + OUTPUT), name=PROBABILITIES)
    result.input_value(0).set_names({PROBABILITIES})
    return openvino.Model([result], before.get_parameters(), model.get_friendly_name())


def _build_preprocessing_model(preprocessing: Preprocessing) -> bytes:
    """Build a serialized ONNX model of the preprocessing alone, which OpenVINO converts."""
    helper, added = import_library("onnx.helper"), build_preprocessing(preprocessing)
    images = describe_floats(INPUT, "N", 3, preprocessing.crop, preprocessing.crop)
    records, constants = _describe_records(preprocessing), list(added.constants.values())
    graph = helper.make_graph(added.nodes, "front", [records], [images], constants)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    serialized: bytes = model.SerializeToString()
    return serialized


def remove_preprocessing_openvino(model: Any, crop: int) -> Any:
    """Undo `add_preprocessing_openvino`. Raises KeyError if there is nothing to undo."""
    ops = import_library("openvino.opset13")
    nodes = {node.get_friendly_name(): node for node in model.get_ops()}
    images = ops.parameter([-1, 3, crop, crop], np.float32, name=INPUT)
    nodes[ADDED + INPUT].output(0).replace(images.output(0))
    logits = ops.result(nodes[ADDED + OUTPUT].input_value(0), name=OUTPUT)
    return import_library("openvino").Model([logits], [images], model.get_friendly_name())
