"""What a portable file says of itself, so that it can be used by itself.

JSON under the key `alexnet`: the metadata of an ONNX file, the runtime information of an OpenVINO
one. The mean image is in it as base64 of little-endian float32.
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
READ = 1, 2
"""Formats that are understood. Files of the first take images and do not say so."""
Precision = Literal["float32", "int8"]
Takes = Literal["records", "images"]
"""What is put into a file: uint8 records, for probabilities; or prepared images, for logits."""


@dataclass(frozen=True)
class Card:
    """Which network this is, what it tells apart, and how its images are prepared."""

    network: str
    classes: tuple[str, ...]
    wordnet_ids: tuple[str, ...] | None
    preprocessing: Preprocessing
    precision: Precision = "float32"
    takes: Takes = "images"

    @classmethod
    def of(cls, trained: Checkpoint, precision: Precision, takes: Takes) -> Card:
        """The card of a trained network."""
        names = trained.classes, trained.wordnet_ids
        return cls(trained.recipe.network, *names, trained.preprocessing, precision, takes)

    def to_text(self) -> str:
        """As the file holds it."""
        preprocessing = self.preprocessing
        tensors = {name: _array_text(x) for name, x in preprocessing.tensors().items()}
        fields = {
            "format": FORMAT,
            "network": self.network,
            "precision": self.precision,
            "classes": self.classes,
            "wordnet_ids": self.wordnet_ids,
            "takes": self.takes,
            "input": (INPUT[self.takes] + COLORS[preprocessing.pixels]).format(
                **preprocessing.settings()
            ),
            "output": OUTPUT[self.takes],
            "order": "RGB",
            "resize": (TURNING[preprocessing.upright] + FITTING[preprocessing.fit] + FILTER).format(
                **preprocessing.settings()
            ),
            "scale": preprocessing.pixel_scale,
            "mean": "preprocessing.mean: float32, little-endian, in base64; 0 to 255",
            "preprocessing": {**preprocessing.settings(), **tensors},
        }
        return json.dumps(fields)

    @classmethod
    def from_text(cls, text: str | None, path: object) -> Card:
        """Read what `to_text` wrote. Raises ValueError, naming `path`, for anything else."""
        try:
            place = "its metadata"
            facts = check(parse_json(text or "null", place), dict[str, Any], place)
            if facts.get("format") not in READ:
                raise ValueError(f"format {facts.get('format')}, wanted {READ[0]} to {FORMAT}")
            kept = {name: facts[name] for name in STORED if name in facts}
            found: _Stored = check(kept, _Stored, place)
            preprocessing = _preprocessing(found.preprocessing)
            return cls(**{**vars(found), "preprocessing": preprocessing})
        except ValueError as error:
            raise ValueError(
                f"{path} does not say what its classes are and how its images are prepared "
                f"({error}): it was not made by `alexnet export`, or by a newer version of it"
            ) from error


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


@dataclass(frozen=True)
class _Stored:
    """What a card is made of again; the rest of it is for other programs."""

    network: str
    classes: tuple[str, ...]
    wordnet_ids: tuple[str, ...] | None
    preprocessing: dict[str, Any]
    precision: Precision
    takes: Takes = "images"


STORED = tuple(field.name for field in fields(_Stored))


@dataclass(frozen=True)
class _Array:
    shape: tuple[Annotated[int, Range(0, 1 << 20)], ...]
    float32: str


def _preprocessing(facts: dict[str, Any]) -> Preprocessing:
    arrays = {name: value for name, value in facts.items() if isinstance(value, dict)}
    tensors = {name: _tensor(check(array, _Array, name)) for name, array in arrays.items()}
    settings = {name: value for name, value in facts.items() if name not in arrays}
    return Preprocessing.restore(settings, tensors)


def _array_text(x: Tensor) -> dict[str, Any]:
    raw = x.cpu().numpy().astype("<f4").tobytes()
    return {"shape": list(x.shape), "float32": base64.b64encode(raw).decode()}


def _tensor(array: _Array) -> Tensor:
    raw = np.frombuffer(base64.b64decode(array.float32), "<f4").astype(np.float32)
    return torch.from_numpy(raw.reshape(array.shape))
