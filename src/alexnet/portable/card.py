"""What a portable file says of itself, so that it can be used by itself.

JSON under the key `alexnet`: the metadata of an ONNX file, the runtime information of an OpenVINO
one. The mean image is in it as base64 of little-endian float32.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from alexnet.data.augment import Preprocessing
from alexnet.learn.checkpoint import Checkpoint

KEY, FORMAT = "alexnet", 1
Precision = Literal["float32", "int8"]


@dataclass(frozen=True)
class Card:
    """Which network this is, what it tells apart, and how its images are prepared."""

    network: str
    classes: tuple[str, ...]
    wordnet_ids: tuple[str, ...] | None
    preprocessing: Preprocessing
    precision: Precision = "float32"

    @classmethod
    def of(cls, trained: Checkpoint, precision: Precision) -> Card:
        """The card of a trained network."""
        names = trained.classes, trained.wordnet_ids
        return cls(trained.recipe.network, *names, trained.preprocessing, precision)

    def to_text(self) -> str:
        """As the file holds it."""
        how = self.preprocessing
        tensors = {name: _array_text(x) for name, x in how.tensors().items()}
        fields = {
            "format": FORMAT,
            "network": self.network,
            "precision": self.precision,
            "classes": self.classes,
            "wordnet_ids": self.wordnet_ids,
            "input": EXPLANATION.format(**asdict(how)),
            "preprocessing": {**how.settings(), **tensors},
        }
        return json.dumps(fields)

    @classmethod
    def from_text(cls, text: str | None, path: object) -> Card:
        """Read what `to_text` wrote. Raises ValueError, naming `path`, for anything else."""
        try:
            facts = json.loads(text or "null")
            if facts["format"] != FORMAT:
                raise ValueError(f"format {facts['format']}, wanted {FORMAT}")
            names = facts["wordnet_ids"]
            return cls(
                network=facts["network"],
                classes=tuple(facts["classes"]),
                wordnet_ids=None if names is None else tuple(names),
                preprocessing=_preprocessing(facts["preprocessing"]),
                precision=facts["precision"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} does not say what its classes are and how its images are prepared "
                f"({error}): it was not made by `alexnet export`, or by a newer version of it"
            ) from error


EXPLANATION = (
    "float32 N 3 {crop} {crop}, RGB: the central {crop}x{crop} of an image brought to "
    "{side}x{side} ({fit}), minus the same part of the mean image (0 to 255), times {pixel_scale}"
)


def _preprocessing(facts: dict[str, Any]) -> Preprocessing:
    fields: dict[str, Any] = {k: _tensor(v) if isinstance(v, dict) else v for k, v in facts.items()}
    return Preprocessing(**fields)


def _array_text(x: Tensor) -> dict[str, Any]:
    raw = x.cpu().numpy().astype("<f4").tobytes()
    return {"shape": list(x.shape), "float32": base64.b64encode(raw).decode()}


def _tensor(facts: dict[str, Any]) -> Tensor:
    raw = np.frombuffer(base64.b64decode(facts["float32"]), "<f4").astype(np.float32)
    return torch.from_numpy(raw.reshape(facts["shape"]))
