"""One training at one moment, as one safetensors file that reopens by itself.

Weights under their bare names; momenta as `momentum/…`; mean and color components as
`preprocessing/…`; everything else as JSON in the file's metadata, where the CRC-32 of that JSON
and of the tensors stand as well. No pickle.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from alexnet.batches.preprocessing import Preprocessing
from alexnet.files import replace_file
from alexnet.nets.variations import network_of
from alexnet.packs.pack import Pack
from alexnet.recipes.recipe import Recipe
from alexnet.validate import NOT_FINITE, Range, check, parse_json

FORMAT = 1
Measured = int | Annotated[float, NOT_FINITE]
Count = Annotated[int, Range(0)]
Number = Annotated[float, Range(0)]


@dataclass(frozen=True)
class Position:
    """Where a training stands, and what it has measured on the way."""

    epoch: Count = 0
    """The epoch under way, from 0."""
    step: Count = 0
    """Steps of it that are done."""
    rate: Number = 0.0
    """Learning rate of the last step."""
    rates: dict[str, Number] = field(default_factory=dict)
    """Of every group of weights or biases, the rate of the last step that moved it."""
    loss_sum: float = 0.0
    """Sum of the losses of the images of this epoch so far."""
    history: tuple[dict[str, Measured], ...] = ()
    """What was measured after each finished epoch: train_loss, val_loss, val_top1, val_top5, …"""

    def __post_init__(self) -> None:
        """Raise ValueError where the history does not go with the epoch."""
        if len(self.history) != self.epoch:
            raise ValueError(f"{len(self.history)} epochs were measured, and {self.epoch} are done")
        for i, measured in enumerate(self.history):
            wanted = {"train_loss"} | (MEASURED if MEASURED & measured.keys() else set())
            if missing := sorted(wanted - measured.keys()):
                raise ValueError(f"history[{i}] lacks {', '.join(missing)}")


MEASURED = {"val_loss", "val_top1", "val_top5"}


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
        preprocessing = self.preprocessing
        if pack.size != (side := preprocessing.side):
            raise ValueError(
                f"the network was trained on {side}×{side} images, and those of {pack.path} are "
                f"{pack.size}×{pack.size}. Pack them again with --size {side}"
            )
        return replace(preprocessing, pixels=pack.pixels)


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
    text = _metadata(checkpoint)
    metadata = {META: text, META_CRC: _crc32(text.encode()), TENSORS_CRC: _crc32_of(tensors)}
    try:
        replace_file(path, lambda draft: save_file(tensors, draft, metadata))
    except SafetensorError as error:
        raise _os_error(error, path) from error


def keep_as(path: Path, other: Path) -> None:
    """Let `other` be what `path` is now: a second name of one file, where the disk allows it."""

    def link_or_copy(draft: Path) -> None:
        draft.unlink(missing_ok=True)
        try:
            os.link(path, draft)
        except OSError:
            shutil.copyfile(path, draft)

    replace_file(other, link_or_copy)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint file and compare it with its checksums.

    Raises ValueError for a file that is none, that is damaged, or whose parts do not go together.
    """
    with _opened(path) as file:
        meta, about = _meta_of(file, path), file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if (wanted := about.get(TENSORS_CRC)) is not None:
        _compare(wanted, _crc32_of(tensors), "the tensors", path)
    parts: dict[str, dict[str, Tensor]] = {"": {}, "momentum": {}, "preprocessing": {}}
    for name, tensor in tensors.items():
        kind, _, rest = name.rpartition("/")
        if kind not in parts:
            raise ValueError(f"{path} holds {name!r}, which is no part of a checkpoint")
        parts[kind][rest] = tensor
    place = f"{path}: preprocessing"
    checkpoint = Checkpoint(
        recipe=meta.recipe,
        classes=meta.classes,
        wordnet_ids=meta.wordnet_ids or None,
        pack_checksum=meta.pack_checksum,
        preprocessing=Preprocessing.restore(meta.preprocessing, parts["preprocessing"], place),
        position=meta.position,
        weights=parts[""],
        momenta=parts["momentum"],
    )
    _check_shapes(checkpoint, path)
    return checkpoint


def load_recipe(path: Path) -> Recipe:
    """The recipe of a checkpoint file, without reading its weights. Raises ValueError as `load`."""
    with _opened(path) as file:
        return _meta_of(file, path).recipe


@dataclass(frozen=True)
class Metadata:
    """What a checkpoint file holds as JSON."""

    recipe: Recipe
    classes: tuple[str, ...]
    wordnet_ids: tuple[str, ...] | None
    pack_checksum: str
    preprocessing: dict[str, Any]
    position: Position
    format: int = FORMAT

    def __post_init__(self) -> None:
        """Raise ValueError for classes that cannot be told apart."""
        if len(set(self.classes)) != len(self.classes) or not self.classes:
            raise ValueError(f"{len(self.classes)} classes have {len(set(self.classes))} names")
        if self.wordnet_ids and len(self.wordnet_ids) != len(self.classes):
            raise ValueError(f"{len(self.wordnet_ids)} WordNet ids for {len(self.classes)} classes")


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


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The safetensors file at `path`; whatever is wrong with it is a ValueError."""
    try:
        with _readable(path) as readable, safe_open(readable, "pt") as file:
            yield file
    except SafetensorError as error:
        advice = _advice(path) if path.suffix == ".safetensors" else "Name a run, or a checkpoint"
        raise ValueError(f"{path} is no whole checkpoint ({error}). {advice}") from error


META, META_CRC, TENSORS_CRC = "alexnet", "alexnet_crc32", "tensors_crc32"
"""Keys of a file's metadata. Checkpoints of earlier versions have the first alone."""


def _meta_of(file: Any, path: Path) -> Metadata:
    about: dict[str, str] = file.metadata() or {}
    if META in about and set(about) not in ({META}, {META, META_CRC, TENSORS_CRC}):
        raise ValueError(
            f"the metadata of {path} are damaged: they hold {', '.join(sorted(about))}"
        )
    text = about.get(META, "null")
    if (wanted := about.get(META_CRC)) is not None:
        _compare(wanted, _crc32(text.encode()), "the metadata", path)
    meta = parse_json(text, f"the metadata of {path}")
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ValueError(
            f"{path} is not a checkpoint of this program: its metadata has no `alexnet` entry of "
            f"format {FORMAT}. Train one: alexnet train PACK"
        )
    found: Metadata = check(meta, Metadata, str(path))
    return found


def _metadata(checkpoint: Checkpoint) -> str:
    meta = {
        "format": FORMAT,
        "recipe": checkpoint.recipe.to_dict(),
        "classes": checkpoint.classes,
        "wordnet_ids": checkpoint.wordnet_ids,
        "pack_checksum": checkpoint.pack_checksum,
        "preprocessing": checkpoint.preprocessing.settings(),
        "position": asdict(checkpoint.position),
    }
    return json.dumps(meta)


def _crc32(content: Any) -> str:
    return f"{zlib.crc32(content):08x}"


def _crc32_of(tensors: dict[str, Tensor]) -> str:
    """One CRC-32 over the names, dtypes, shapes and bytes of all tensors, in the order of names."""
    crc = 0
    for name, tensor in sorted(tensors.items()):
        crc = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode(), crc)
        content: Any = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
        crc = zlib.crc32(content, crc)
    return f"{crc:08x}"


def _compare(wanted: str, found: str, what: str, path: Path) -> None:
    if wanted != found:
        raise ValueError(
            f"{what} of {path} are damaged: their checksum is {found}, and was {wanted} when they "
            f"were written. {_advice(path)}"
        )


def _advice(path: Path) -> str:
    """What to do about a checkpoint that is damaged."""
    names = {"best.safetensors": "last.safetensors", "last.safetensors": "best.safetensors"}
    if (name := names.get(path.name)) and (other := path.with_name(name)).is_file():
        return f"Use the run's other checkpoint, {other}, or a copy"
    return "Use a copy of it, or train again"


def _check_shapes(checkpoint: Checkpoint, path: Path) -> None:
    """Raise ValueError unless weights and momenta are those of the recipe's network."""
    try:
        with torch.device("meta"):
            network = network_of(checkpoint.recipe, len(checkpoint.classes))
    except (ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{path} describes a network that cannot be: {error}") from error
    name = f"network {checkpoint.recipe.network!r}"
    _compare_shapes(checkpoint.weights, network.state_dict(), f"{path} does not fit {name}")
    moving = dict(network.named_parameters())
    _compare_shapes(checkpoint.momenta, moving, f"the momenta of {path} do not fit {name}")


def _compare_shapes(tensors: dict[str, Tensor], like: dict[str, Any], what: str) -> None:
    wanted = {name: (tuple(x.shape), torch.float32) for name, x in like.items()}
    found = {name: (tuple(x.shape), x.dtype) for name, x in tensors.items()}
    if wanted != found:
        wrong = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
        lines = [
            f"{k}: {_shape(found, k, 'missing')}, wanted {_shape(wanted, k, 'none')}" for k in wrong
        ]
        more = f"; and {len(lines) - 20} more" if len(lines) > 20 else ""
        raise ValueError(f"{what}: {'; '.join(lines[:20])}{more}")


def _shape(shapes: dict[str, Any], name: str, otherwise: str) -> str:
    if name not in shapes:
        return otherwise
    shape, dtype = shapes[name]
    return f"{shape}" if dtype == torch.float32 else f"{shape} of {dtype}"


def _os_error(error: SafetensorError, path: Path) -> OSError:
    """The system's error that safetensors reports as text."""
    number = re.search(r"os error (\d+)", str(error))
    code = int(number[1]) if number else errno.EIO
    return OSError(code, os.strerror(code) if number else str(error), str(path))
