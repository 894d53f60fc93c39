"""The images that a run is measured on: a pack, or what is packed first as it wants them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from alexnet import checkpoint as checkpoints
from alexnet import runs
from alexnet.checkpoint import Checkpoint
from alexnet.packing.automatic import pack_name, pack_next_to_run
from alexnet.packs.pack import Pack, open_pack
from alexnet.sources import Source, digits, open_source
from alexnet.sources.names import some

Make = Callable[..., Pack]
"""(images, source, run, options by name) → the pack made of them beside the run."""


def is_run(path: Path) -> bool:
    """Whether a path means a trained network, be it only begun: a run or a checkpoint file."""
    if path.is_file():
        return path.suffix == ".safetensors"
    return any((path / name).is_file() for name in ("last.safetensors", "best.safetensors")) or (
        (path / "recipe.json").is_file() and not (path / "pack.json").is_file()
    )


def pack_for(
    images: str | Path, checkpoint: Path, trained: Checkpoint, split: str, make: Make | None = None
) -> Pack:
    """A pack of images for measuring a network: itself, or what `make` packs beside the run.

    New packs have the size, the fit and the pixel format of the network. Where the images have no
    splits, all of them are in `split`. The very images that the network was trained on are not
    packed again, for all of them would be measured: the pack of the training is returned. Raises
    what `open_pack`, `open_source` and `pack` raise.
    """
    if (Path(images) / "pack.json").is_file():
        return open_pack(images)
    if own := trained_on(checkpoint.parent, images):
        return own
    source = open_source(images, measured=split)
    _check_classes(source, trained)
    return (make or _make)(str(images), source, checkpoint.parent, **packing_like(trained))


def _check_classes(source: Source, trained: Checkpoint) -> None:
    """Before time is spent on them: raise ValueError if the network knows none of the classes."""
    known = {*trained.classes, *(trained.wordnet_ids or ())}
    if known.isdisjoint((*source.classes, *(source.wordnet_ids or ()))):
        raise ValueError(
            f"the network knows none of the classes of {source.path}, {some(source.classes)}: it "
            f"was trained on {some(trained.classes)}"
        )


def packing_like(trained: Checkpoint) -> dict[str, Any]:
    """The options of `pack` that bring new images to what a trained network was trained on."""
    settings = trained.preprocessing.settings()
    from alexnet.images.prepare import Options  # training from a pack needs no decoder of images

    shared = {field.name for field in fields(Options)} & settings.keys()
    return {"size": settings["side"], **{name: settings[name] for name in sorted(shared)}}


def load_trained(run: str | Path) -> tuple[Path, Checkpoint]:
    """The checkpoint file of a run, and what is in it."""
    path = checkpoints.find(run)
    return path, checkpoints.load(path)


def trained_on(run: Path, images: str | Path, *, may_be_relative: bool = False) -> Pack | None:
    """The pack that a run was trained on, if it is there and was made of these images.

    Packs of earlier versions may have kept a relative path, which can mean something else where
    this program runs now: they count only if `may_be_relative` says so.
    """
    try:
        pack = open_pack(runs.described_pack(run)["path"])
        kind, path = str(pack.source["kind"]), str(pack.source["path"])
    except (OSError, ValueError, KeyError):
        return None  # there is none, or it is damaged: images can still be packed
    if str(images) == digits.NAME:
        return pack if kind == digits.NAME else None
    told = may_be_relative or os.path.isabs(path)
    return pack if told and os.path.realpath(path) == os.path.realpath(images) else None


def _make(images: str, source: Source, run: Path, **options: Any) -> Pack:
    return pack_next_to_run(source, run, pack_name(images), **options)
