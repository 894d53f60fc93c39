"""Metadata in an exported file: its classes and its preprocessing, so that it needs no run.

They are JSON text under the key `alexnet`, in the metadata properties of an ONNX file or the
runtime information of an OpenVINO IR. The part for this package is `preprocessing`, with the mean
image as base64 of little-endian float32. The entries `input`, `output` and `resize` say the same in
English, for whoever writes a program that uses the file.

`writing` writes them, and `runtimes` reads them.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from alexnet.batches.preprocessing import Preprocessing
from alexnet.checkpoint import Checkpoint
from alexnet.validate import Range, check, parse_json

KEY, FORMAT = "alexnet", 2
READABLE = 1, 2
"""The formats that can be read. Files of format 1 take images and have no entry `takes`."""
Precision = Literal["float32", "int8"]
InputKind = Literal["records", "images"]
"""What the input of a file is. records: uint8 images, for which it gives probabilities. images:
float32 images after preprocessing, for which it gives logits."""


@dataclass(frozen=True)
class ExportMetadata:
    """The network, its classes, its preprocessing and the kind of input of an exported file."""

    network: str
    """The name of the network, such as alexnet."""
    classes: tuple[str, ...]
    """The classes, in the order of the network's outputs."""
    wordnet_ids: tuple[str, ...] | None
    preprocessing: Preprocessing
    precision: Precision = "float32"
    input_kind: InputKind = "images"
    """The entry `takes` in the file."""

    @classmethod
    def of(cls, trained: Checkpoint, precision: Precision, input_kind: InputKind) -> ExportMetadata:
        """Make the metadata of a trained network."""
        return cls(
            network=trained.recipe.network,
            classes=trained.classes,
            wordnet_ids=trained.wordnet_ids,
            preprocessing=trained.preprocessing,
            precision=precision,
            input_kind=input_kind,
        )

    def to_text(self) -> str:
        """Return the JSON text that is stored in the file."""
        preprocessing = self.preprocessing
        tensors = {name: _encode_array(x) for name, x in preprocessing.tensors().items()}
        fields = {
            "format": FORMAT,
            "network": self.network,
            "precision": self.precision,
            "classes": self.classes,
            "wordnet_ids": self.wordnet_ids,
            "takes": self.input_kind,
            "input": (INPUT[self.input_kind] + COLORS[preprocessing.pixels]).format(
                **preprocessing.settings()
            ),
            "output": OUTPUT[self.input_kind],
            "order": "RGB",
            "resize": describe_resizing(preprocessing),
            "scale": preprocessing.pixel_scale,
            "mean": "preprocessing.mean: float32, little-endian, in base64; 0 to 255",
            "preprocessing": {**preprocessing.settings(), **tensors},
        }
        return json.dumps(fields)

    @classmethod
    def from_text(cls, text: str | None, path: object) -> ExportMetadata:
        """Read the result of `to_text`. Raises ValueError, naming `path`, for any other text."""
        try:
            origin = "its metadata"
            facts = check(parse_json(text or "null", origin), dict[str, Any], origin)
            if facts.get("format") not in READABLE:
                raise ValueError(f"format {facts.get('format')}, wanted {READABLE[0]} to {FORMAT}")
            kept = {name: facts[name] for name in STORED if name in facts}
            stored: _Stored = check(kept, _Stored, origin)
            return cls(
                network=stored.network,
                classes=stored.classes,
                wordnet_ids=stored.wordnet_ids,
                preprocessing=_restore_preprocessing(stored.preprocessing),
                precision=stored.precision,
                input_kind=stored.takes,
            )
        except ValueError as error:
            raise ValueError(
                f"{path} does not say what its classes are and how its images are prepared "
                f"({error}): it was not made by `alexnet export`, or by a newer version"
            ) from error


# What the file says in English of its input, its output and the way images are resized; {side} and
# {crop} are replaced by numbers. These texts are part of the file format: they are what authors of
# other programs read.
INPUT = {
    "records": (
        "uint8 N {side} {side} 3: rows from the top, pixels from the left, red green blue. Each is "
        "an image brought to {side}x{side} as `resize` says. The file itself cuts out the central "
        "{crop}x{crop}, subtracts the same part of the mean image and multiplies by `scale`"
    ),
    "images": (
        "float32 N 3 {crop} {crop}: red, green and blue planes, of each image the central "
        "{crop}x{crop} of it brought to {side}x{side} as `resize` says, values 0 to 255, minus the "
        "same part of `preprocessing.mean` ({side} {side} 3), times `scale`"
    ),
}
COLORS = {
    "rgb": "",
    "yuv420": (
        ". The network was trained on colors that went through one byte of luma a pixel and two of "
        "chroma for each 2x2 pixels (JPEG's full range); a file that takes records does that itself"
    ),
}
OUTPUT = {
    "records": "float32 N classes: probabilities, in the order of `classes`",
    "images": "float32 N classes: logits, in the order of `classes`; softmax makes probabilities",
}
TURNING = {
    True: "the image is first turned as its EXIF orientation says; ",
    False: "the image's EXIF orientation is not looked at; ",
}
FITTING = {
    "crop": (
        "the shorter side becomes {side} and the longer one floor(longer*{side}/shorter + 1/2), "
        "then the {side} from floor((length - {side})/2) on are kept"
    ),
    "pad": (
        "the longer side becomes {side} and the shorter one floor(shorter*{side}/longer + 1/2), at "
        "least 1, with gray 128 around it, floor(({side} - length)/2) of it before"
    ),
    "squash": "each side becomes {side}, whatever the shape",
}
FILTER = (
    "; by a triangle filter: target pixel t of a side that goes from n to m has its center at "
    "(t + 1/2)*n/m, and source pixel s has the weight max(0, 1 - |s + 1/2 - center|/max(1, n/m)), "
    "the weights normalized to the sum 1; the two sides one after the other, rounded once at the "
    "end. This is Pillow's Image.resize((width, height), Image.Resampling.BILINEAR) but for its "
    "rounding between the sides. A JPEG whose shorter side is at least 4*{side} may be decoded at "
    "1/2, 1/4 or 1/8 as long as that leaves 2*{side}, and is so here. Transparent pixels are laid "
    "over white"
)


def describe_resizing(preprocessing: Preprocessing) -> str:
    """Say in English how an image file becomes an image of `side`×`side` pixels."""
    text = TURNING[preprocessing.upright] + FITTING[preprocessing.fit] + FILTER
    return text.format(**preprocessing.settings())


@dataclass(frozen=True)
class _Stored:
    """The entries that this package reads. The others are for people and for other programs."""

    network: str
    classes: tuple[str, ...]
    wordnet_ids: tuple[str, ...] | None
    preprocessing: dict[str, Any]
    precision: Precision
    takes: InputKind = "images"


STORED = tuple(field.name for field in fields(_Stored))


@dataclass(frozen=True)
class _Array:
    """A float32 array in JSON: its shape, and its values as base64."""

    shape: tuple[Annotated[int, Range(0, 1 << 20)], ...]
    float32: str


def _restore_preprocessing(facts: dict[str, Any]) -> Preprocessing:
    """Rebuild the entry `preprocessing`, in which arrays are JSON objects."""
    arrays = {name: value for name, value in facts.items() if isinstance(value, dict)}
    tensors = {name: _decode_array(check(array, _Array, name)) for name, array in arrays.items()}
    settings = {name: value for name, value in facts.items() if name not in arrays}
    return Preprocessing.restore(settings, tensors)


def _encode_array(x: Tensor) -> dict[str, Any]:
    """Make the JSON object of a float32 array: its shape and its values as base64."""
    raw = x.cpu().numpy().astype("<f4").tobytes()
    return {"shape": list(x.shape), "float32": base64.b64encode(raw).decode()}


def _decode_array(array: _Array) -> Tensor:
    """Make the array of a JSON object. Raises ValueError if the values do not fill the shape."""
    raw = np.frombuffer(base64.b64decode(array.float32), "<f4").astype(np.float32)
    return torch.from_numpy(raw.reshape(array.shape))
