"""One training at one moment, as one safetensors file that reopens by itself.

Weights under their bare names; momenta as `momentum/…`; mean and color components as
`preprocessing/…`; everything else as JSON in the file's metadata. No pickle.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from alexnet.data.augment import Preprocessing
from alexnet.data.dataset import Pack
from alexnet.nets.variations import network_of
from alexnet.recipe import Recipe

FORMAT = 1


@dataclass(frozen=True)
class Position:
    """Where a training stands, and what it has measured on the way."""

    epoch: int = 0
    """The epoch under way, from 0."""
    step: int = 0
    """Steps of it that are done."""
    rate: float = 0.0
    """Learning rate of the last step."""
    rates: dict[str, float] = field(default_factory=dict)
    """Of every group of weights or biases, the rate of the last step that moved it."""
    loss_sum: float = 0.0
    """Sum of the losses of the images of this epoch so far."""
    history: tuple[dict[str, Any], ...] = ()
    """What was measured after each finished epoch: train_loss, val_loss, val_top1, val_top5, …"""


@dataclass(frozen=True)
class Checkpoint:
    """All that a training needs to go on, and a classifier to work."""

    recipe: Recipe
    classes: tuple[str, ...]
    wordnet_ids: tuple[str, ...] | None
    pack_checksum: str
    preprocessing: Preprocessing
    position: Position
    weights: dict[str, Tensor] = field(repr=False)
    momenta: dict[str, Tensor] = field(repr=False)

    def network(self) -> nn.Module:
        """The network with these weights, on the CPU, ready to classify."""
        with torch.device("meta"):
            network = network_of(self.recipe, len(self.classes))
        network.load_state_dict(self.weights, assign=True)
        return network.eval()

    def preprocessing_for(self, pack: Pack) -> Preprocessing:
        """The preprocessing this network was trained with, for images packed elsewhere.

        Raises ValueError if they were packed at another size.
        """
        how = self.preprocessing
        if pack.size != how.side:
            raise ValueError(
                f"the network was trained on {how.side}×{how.side} images, and those of "
                f"{pack.path} are {pack.size}×{pack.size}. Pack them again with --size {how.side}"
            )
        return replace(how, pixels=pack.pixels)


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint so that at every instant `path` is the old one or the new one, whole.

    Raises OSError, with the old file as it was, where there is no room.
    """
    tensors = {
        **checkpoint.weights,
        **{f"momentum/{k}": v for k, v in checkpoint.momenta.items()},
        **{f"preprocessing/{k}": v for k, v in checkpoint.preprocessing.tensors().items()},
    }
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    replace_file(path, lambda beside: save_file(tensors, beside, _metadata(checkpoint)))


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` make a file beside `path`, flush it and rename it over `path`.

    Raises OSError if it cannot be written; then nothing has changed.
    """
    beside = path.with_name(f".{path.name}.partial")
    try:
        write(beside)
        _flush(beside)
        os.replace(beside, path)
        _flush(path.parent)
    except SafetensorError as error:
        raise _os_error(error, path) from error
    finally:
        beside.unlink(missing_ok=True)


def keep_as(path: Path, other: Path) -> None:
    """Let `other` be what `path` is now: a second name of one file, where the disk allows it."""

    def link_or_copy(beside: Path) -> None:
        beside.unlink(missing_ok=True)
        try:
            os.link(path, beside)
        except OSError:
            shutil.copyfile(path, beside)

    replace_file(other, link_or_copy)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint file. Raises ValueError for a file that is none, or is not whole."""
    try:
        with _readable(path) as readable, safe_open(readable, "pt") as file:
            meta = _meta_of(file, path)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
    parts: dict[str, dict[str, Tensor]] = {"": {}, "momentum": {}, "preprocessing": {}}
    for name, tensor in tensors.items():
        kind, _, rest = name.rpartition("/")
        parts[kind][rest] = tensor
    checkpoint = Checkpoint(
        recipe=Recipe.from_dict(meta["recipe"]),
        classes=tuple(meta["classes"]),
        wordnet_ids=tuple(meta["wordnet_ids"]) if meta["wordnet_ids"] else None,
        pack_checksum=meta["pack_checksum"],
        preprocessing=Preprocessing.restore(meta["preprocessing"], parts["preprocessing"]),
        position=Position(**{**meta["position"], "history": tuple(meta["position"]["history"])}),
        weights=parts[""],
        momenta=parts["momentum"],
    )
    _check_shapes(checkpoint, path)
    return checkpoint


def load_recipe(path: Path) -> Recipe:
    """The recipe of a checkpoint file, without reading its weights. Raises ValueError as `load`."""
    try:
        with _readable(path) as readable, safe_open(readable, "pt") as file:
            return Recipe.from_dict(_meta_of(file, path)["recipe"])
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error


def find(run: str | Path, prefer: tuple[str, ...] = ("best", "last")) -> Path:
    """The checkpoint file of a run's folder, or the file itself.

    Raises FileNotFoundError, saying what was looked for.
    """
    run = Path(run)
    if run.is_file():
        return run
    for name in prefer:
        if (path := run / f"{name}.safetensors").is_file():
            return path
    raise FileNotFoundError(
        f"no trained network at {run}: it has no {' or '.join(prefer)}.safetensors. Train one: "
        f"alexnet train IMAGES {'RUN' if run.exists() else run}"  # never into what is there
    )


@contextmanager
def _readable(path: Path) -> Iterator[Path]:
    """The path itself; of a name that is not text, which safetensors does not open, another one."""
    if os.fsencode(path).decode("utf-8", "replace") == os.fsencode(path).decode("utf-8", "ignore"):
        yield path
        return
    with path.open("rb") as file:
        yield Path(f"/dev/fd/{file.fileno()}")


def _meta_of(file: Any, path: Path) -> dict[str, Any]:
    meta = json.loads((file.metadata() or {}).get("alexnet", "null"))
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ValueError(
            f"{path} is not a checkpoint of this program: its metadata has no `alexnet` entry of "
            f"format {FORMAT}. Train one: alexnet train PACK"
        )
    return meta


def _metadata(checkpoint: Checkpoint) -> dict[str, str]:
    meta = {
        "format": FORMAT,
        "recipe": checkpoint.recipe.to_dict(),
        "classes": checkpoint.classes,
        "wordnet_ids": checkpoint.wordnet_ids,
        "pack_checksum": checkpoint.pack_checksum,
        "preprocessing": checkpoint.preprocessing.settings(),
        "position": asdict(checkpoint.position),
    }
    return {"alexnet": json.dumps(meta)}


def _check_shapes(checkpoint: Checkpoint, path: Path) -> None:
    with torch.device("meta"):
        network = network_of(checkpoint.recipe, len(checkpoint.classes))
    wanted = {name: tuple(p.shape) for name, p in network.state_dict().items()}
    found = {name: tuple(w.shape) for name, w in checkpoint.weights.items()}
    if wanted != found:
        wrong = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
        lines = [f"{k}: {found.get(k, 'missing')}, wanted {wanted.get(k, 'none')}" for k in wrong]
        name = checkpoint.recipe.network
        raise ValueError(f"{path} does not fit network {name!r}: {'; '.join(lines)}")


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _os_error(error: SafetensorError, path: Path) -> OSError:
    """The system's error that safetensors reports as text."""
    number = re.search(r"os error (\d+)", str(error))
    code = int(number[1]) if number else errno.EIO
    return OSError(code, os.strerror(code) if number else str(error), str(path))
