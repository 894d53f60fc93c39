"""Checks of a checkpoint file: for damaged bytes, and for tensors of wrong shapes.

Every check raises a ValueError that names the file and, where possible, says what to do.
Called by `checkpoint.file` and `checkpoint.metadata`.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alexnet.checkpoint.state import Checkpoint, Position
from alexnet.nets.variations import network_of

SHOWN = 20
"""Tensors of wrong shape that an error names, at most."""
Shapes = dict[str, tuple[tuple[int, ...], torch.dtype]]
"""For each tensor, by name, its shape and type."""


def compute_text_crc32(text: str) -> str:
    """The CRC-32 of a text in UTF-8, as eight hexadecimal digits."""
    return f"{zlib.crc32(text.encode()):08x}"


def compute_tensors_crc32(tensors: dict[str, Tensor]) -> str:
    """One CRC-32 over the names, types, shapes and bytes of all tensors, in the order of names."""
    crc = 0
    for name, tensor in sorted(tensors.items()):
        crc = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode(), crc)
        content: Any = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
        crc = zlib.crc32(content, crc)
    return f"{crc:08x}"


def compare_checksums(wanted: str, found: str, part: str, path: Path) -> None:
    """Raise ValueError if a part of a file does not have the checksum that it was written with."""
    if wanted != found:
        raise ValueError(
            f"{part} of {path} are damaged: their checksum is {found}, and was {wanted} when they "
            f"were written. {advise_on_damage(path)}"
        )


def advise_on_damage(path: Path) -> str:
    """What to do about a damaged checkpoint: to use the run's other one, if there is one."""
    names = {"best.safetensors": "last.safetensors", "last.safetensors": "best.safetensors"}
    if (name := names.get(path.name)) and (other := path.with_name(name)).is_file():
        return f"Use the run's other checkpoint, {other}, or a copy"
    return "Use a copy of it, or train again"


def check_shapes(checkpoint: Checkpoint, path: Path, *, weights_only: bool = False) -> None:
    """Raise ValueError unless weights and momenta have the shapes of the recipe's network.

    `weights_only`: momenta are not looked at.
    """
    try:
        with torch.device("meta"):  # shapes without memory
            network = network_of(checkpoint.recipe, len(checkpoint.classes))
    except (ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{path} describes a network that cannot be built: {error}") from error
    name = f"network {checkpoint.recipe.network!r}"
    _compare_shapes(checkpoint.weights, network.state_dict(), f"{path} does not fit {name}")
    if weights_only:
        return
    if not checkpoint.momenta and checkpoint.position == Position():
        return  # imported weights: no step was done, so there is nothing to go on with
    parameters = dict(network.named_parameters())
    _compare_shapes(checkpoint.momenta, parameters, f"the momenta of {path} do not fit {name}")


def _compare_shapes(tensors: dict[str, Tensor], like: dict[str, Any], message: str) -> None:
    """Raise ValueError, beginning with `message`, unless `tensors` are float32 with those shapes.

    Missing and superfluous tensors are named, too.
    """
    wanted: Shapes = {name: (tuple(x.shape), torch.float32) for name, x in like.items()}
    found: Shapes = {name: (tuple(x.shape), x.dtype) for name, x in tensors.items()}
    if wanted == found:
        return
    wrong = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
    lines = [
        f"{k}: {_format_shape(found, k, 'missing')}, wanted {_format_shape(wanted, k, 'none')}"
        for k in wrong
    ]
    more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    raise ValueError(f"{message}: {'; '.join(lines[:SHOWN])}{more}")


def _format_shape(shapes: Shapes, name: str, otherwise: str) -> str:
    """The shape of a tensor, with its type if that is not float32; `otherwise` if it is missing."""
    if name not in shapes:
        return otherwise
    shape, dtype = shapes[name]
    return f"{shape}" if dtype == torch.float32 else f"{shape} of {dtype}"
