"""Caffe's files: networks (.caffemodel) and mean images (.binaryproto).

Both are messages of Caffe's schema, src/caffe/proto/caffe.proto. The parts that are read:

    NetParameter     layers = 2 (until 2014: V1LayerParameter), layer = 100 (LayerParameter)
    layer            name, type, blobs, and parameters by kind of layer; numbers in `SCHEMAS`
    BlobProto        shape = 7, data = 5 (float), double_data = 8; older: num, channels, height,
                     width = 1 to 4

`layouts` makes a network of the layers, `conversion` a mean image of the blob. Files may be
hostile: nothing is allocated that is larger than the file.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from alexnet.importing.protobuf import Field, FieldCounter, iterate_fields, read_varints

LARGEST_FILE = 1 << 31
"""Bytes of a file, at most: protocol buffers allow no more."""
LARGEST_MEAN = 1 << 26
"""Bytes of a file with a mean image, at most; that of 256×256 pixels has 786,446."""
MOST_DIMENSIONS = 32
"""Dimensions of a blob, at most (kMaxBlobAxes in Caffe)."""

Parameters = dict[int, float]
"""Numbers of a layer's parameters, by their field number in the schema."""
Result = TypeVar("Result")


@dataclass(frozen=True)
class Schema:
    """The field numbers of one generation of Caffe's layers."""

    name: int
    type: int
    blobs: int
    parameters: dict[str, int]
    """Kind of layer → the field with the parameters of that kind."""


SCHEMAS = {
    2: Schema(4, 5, 6, {"Convolution": 10, "LRN": 18, "Pooling": 19}),
    100: Schema(1, 2, 7, {"Convolution": 106, "LRN": 118, "Pooling": 121}),
}
"""Field of NetParameter → its layers: V1LayerParameter and LayerParameter."""
OLD_TYPES = {4: "Convolution", 14: "InnerProduct", 15: "LRN", 17: "Pooling"}
"""Numbers of the types that matter in V1LayerParameter → their names since."""
V0_LAYER = 1
"""The field in which the layers of 2013 are, inside of V1LayerParameter."""


@dataclass(frozen=True, eq=False)
class CaffeLayer:
    """One layer of a .caffemodel."""

    name: str = ""
    type: str = ""
    """Convolution, InnerProduct, LRN, Pooling, …"""
    blobs: tuple[NDArray[np.float32], ...] = ()
    """Its weights and its biases, in the shapes of the file."""
    parameters: Parameters = field(default_factory=dict)
    """Of a convolution, LRN or pooling; those that are missing have Caffe's defaults."""


def read_caffemodel(path: Path) -> list[CaffeLayer]:
    """Read the layers of a .caffemodel in order, those without weights too.

    Raises OSError if the file cannot be read, ValueError if it holds no network of Caffe.
    """
    layers = _read(path, LARGEST_FILE, _parse_network)
    if not layers:
        raise ValueError(
            f"{path} holds no layers: it is not a .caffemodel, the weights of a network"
        )
    return layers


def read_binaryproto(path: Path) -> NDArray[np.float32]:
    """Read a mean image: float32 (1, 3, height, width) or (3, height, width), blue first.

    Raises OSError if the file cannot be read, ValueError if it holds no array.
    """
    blob = _read(path, LARGEST_MEAN, _parse_blob)
    if not blob.size:
        raise ValueError(f"{path} holds no image: it is not a .binaryproto of a mean image")
    return blob


def _read(path: Path, limit: int, parse: Callable[[memoryview, FieldCounter], Result]) -> Result:
    """Parse the message in a file; name the file in errors."""
    size = path.stat().st_size
    if size > limit:
        raise ValueError(f"{path} has {size:,} bytes, and a file of its kind {limit:,} at most")
    try:
        return parse(memoryview(path.read_bytes()), FieldCounter())
    except ValueError as error:
        raise ValueError(
            f"{path} is not a file of Caffe, or is damaged: {error}. Download it again"
        ) from error


def _parse_network(message: memoryview, counter: FieldCounter) -> list[CaffeLayer]:
    return [
        _parse_layer(x.content, counter, SCHEMAS[x.number])
        for x in iterate_fields(message, counter)
        if x.number in SCHEMAS
    ]


def _parse_layer(message: memoryview, counter: FieldCounter, schema: Schema) -> CaffeLayer:
    name, kind, blobs = "", "", []
    parameters: dict[int, Parameters] = {}
    for x in iterate_fields(message, counter):
        if x.number == schema.name:
            name = _decode_text(x)
        elif x.number == schema.type:
            is_text = isinstance(x.value, memoryview)
            kind = _decode_text(x) if is_text else OLD_TYPES.get(x.integer, str(x.integer))
        elif x.number == schema.blobs:
            blobs.append(_parse_blob(x.content, counter))
        elif x.number in schema.parameters.values():
            parameters[x.number] = _parse_parameters(x.content, counter)
        elif x.number == V0_LAYER and schema is SCHEMAS[2]:
            raise ValueError(
                "its layers are of Caffe's first format, of 2013; upgrade it with Caffe's "
                "upgrade_net_proto_binary"
            )
    own = parameters.get(schema.parameters.get(kind, -1), {})
    return CaffeLayer(name, kind, tuple(blobs), own)


def _decode_text(x: Field) -> str:
    return bytes(x.content[:1000]).decode("utf-8", "replace")


def _parse_parameters(message: memoryview, counter: FieldCounter) -> Parameters:
    """The numbers in the parameters of a layer. Messages in it, such as fillers, are left out."""
    numbers: Parameters = {}
    for x in iterate_fields(message, counter):
        if isinstance(x.value, int):
            numbers[x.number] = x.value
        elif len(x.value) == 4:
            numbers[x.number] = struct.unpack("<f", x.value)[0]
    return numbers


def _parse_blob(message: memoryview, counter: FieldCounter) -> NDArray[np.float32]:
    """A BlobProto. Its values may be one packed array or many fields, floats or doubles."""
    shape: list[int] = []
    old_shape = dict.fromkeys((1, 2, 3, 4), 0)
    parts: dict[int, list[memoryview]] = {5: [], 8: []}
    for x in iterate_fields(message, counter):
        if x.number in old_shape:
            old_shape[x.number] = x.integer
        elif x.number in parts:
            parts[x.number].append(x.content)
        elif x.number == 7:
            shape += _parse_shape(x.content, counter)
    kind: Any = "<f4" if parts[5] else "<f8"
    content = b"".join(parts[5] or parts[8])
    if len(content) % np.dtype(kind).itemsize:
        raise ValueError("an array in it ends inside a number")
    values = np.frombuffer(content, kind).astype(np.float32)
    return _give_shape(values, shape or list(old_shape.values()))


def _parse_shape(message: memoryview, counter: FieldCounter) -> list[int]:
    """A BlobShape: its dimensions, in one packed field or in many."""
    dimensions: list[int] = []
    for x in iterate_fields(message, counter):
        if x.number == 1:
            dimensions += [x.value] if isinstance(x.value, int) else read_varints(x.value)
    return dimensions


def _give_shape(values: NDArray[np.float32], shape: list[int]) -> NDArray[np.float32]:
    """Reshape the values of a blob. Raises ValueError if there are too many or too few."""
    if len(shape) > MOST_DIMENSIONS or math.prod(shape) != len(values):
        dimensions = "×".join(map(str, shape[:6]))
        raise ValueError(f"an array in it has {len(values):,} values, but the shape {dimensions}")
    return values.reshape(shape)
