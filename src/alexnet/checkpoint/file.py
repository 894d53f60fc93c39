"""A checkpoint as a safetensors file: written, read, found in the folder of a run.

The names of the tensors in it:

    conv1.weight               a weight of the network, under its own name
    momentum/conv1.weight      its momentum
    preprocessing/…            the mean and the color components

Everything else is JSON in the file's metadata. Nothing is pickled, so opening a file from someone
else runs no code from it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from alexnet.batches.preprocessing import Preprocessing
from alexnet.checkpoint.checks import (
    advise_on_damage,
    check_shapes,
    compare_checksums,
    compute_tensors_crc32,
)
from alexnet.checkpoint.metadata import TENSORS_CRC, Metadata, read_metadata, write_metadata
from alexnet.checkpoint.state import Checkpoint
from alexnet.files import replace_file
from alexnet.recipes.recipe import Recipe

IMAGES = ".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic"
"""Ends of names that are images', for which a run was wanted."""


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint atomically: at every moment `path` is the complete old or new file.

    Raises OSError, leaving the old file as it was, if there is no room.
    """
    tensors = {
        **checkpoint.weights,
        **{f"momentum/{k}": v for k, v in checkpoint.momenta.items()},
        **{f"preprocessing/{k}": v for k, v in checkpoint.preprocessing.tensors().items()},
    }
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    header = write_metadata(checkpoint, compute_tensors_crc32(tensors))
    try:
        replace_file(path, lambda draft: save_file(tensors, draft, header))
    except SafetensorError as error:
        raise _to_os_error(error, path) from error


def link_or_copy(path: Path, other: Path) -> None:
    """Make `other` a hard link to `path`, or a copy if the file system has no hard links.

    `other` is replaced atomically. Writing `path` anew later does not change it, since `save`
    makes a new file. Raises OSError.
    """

    def link_draft(draft: Path) -> None:
        draft.unlink(missing_ok=True)
        try:
            os.link(path, draft)
        except OSError:
            shutil.copyfile(path, draft)

    replace_file(other, link_draft)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint file to the CPU and compare it with its checksums.

    Raises ValueError for a file that is no checkpoint, that is damaged, or whose parts do not fit
    each other, and OSError if it cannot be read.
    """
    with _open(path) as file:
        header = file.metadata() or {}
        metadata = read_metadata(header, path)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if (wanted := header.get(TENSORS_CRC)) is not None:
        compare_checksums(wanted, compute_tensors_crc32(tensors), "the tensors", path)
    parts = _split_by_prefix(tensors, path)
    place = f"{path}: preprocessing"
    checkpoint = Checkpoint(
        recipe=metadata.recipe,
        classes=metadata.classes,
        wordnet_ids=metadata.wordnet_ids or None,
        pack_checksum=metadata.pack_checksum,
        preprocessing=Preprocessing.restore(metadata.preprocessing, parts["preprocessing"], place),
        position=metadata.position,
        weights=parts[""],
        momenta=parts["momentum"],
    )
    check_shapes(checkpoint, path)
    return checkpoint


def load_recipe(path: Path) -> Recipe:
    """Read the recipe of a checkpoint file without its weights. Raises ValueError as `load`."""
    return load_metadata(path).recipe


def load_metadata(path: Path) -> Metadata:
    """Read all of a checkpoint file but its tensors: recipe, classes, position with its history.

    Raises ValueError as `load`; damaged tensors are not noticed.
    """
    with _open(path) as file:
        return read_metadata(file.metadata() or {}, path)


def to_path(run: str | os.PathLike[str]) -> Path:
    """Return the path of a run that a user named. Raises TypeError for what is no path."""
    if isinstance(run, str | os.PathLike):
        return Path(run)
    found = f"a {type(run).__name__}"
    if isinstance(run, list | tuple):
        raise TypeError(
            f"one run is wanted, and {found} of {len(run)} was given: take them in turn"
        )
    raise TypeError(f"a run is named by its folder or by a checkpoint file, and not by {found}")


def find(run: str | os.PathLike[str], prefer: tuple[str, ...] = ("best", "last")) -> Path:
    """Return the checkpoint file of a run's folder, or `run` itself if it is a file.

    `prefer` names the checkpoints to look for, the first choice first. Raises FileNotFoundError if
    there is none, ValueError if `run` is an image or a pack, and TypeError if it is no path.
    """
    run = to_path(run)
    _refuse_images(run)
    if run.is_file():
        return run
    for name in prefer:
        if (path := run / f"{name}.safetensors").is_file():
            return path
    if run.exists():
        what = f"no trained network at {run}: it has no {' or '.join(prefer)}.safetensors"
    else:
        what = f"there is no {run}, and so no trained network"
    raise FileNotFoundError(
        f"{what}. Train one: "
        f"alexnet train IMAGES {'RUN' if run.exists() else run}"  # never into what is there
        + (". If it is a folder of images, name the run first and then the images" * run.is_dir())
    )


def _refuse_images(run: Path) -> None:
    """Raise ValueError if a path that should be a run's is that of an image or of a pack."""
    if run.suffix.lower() in IMAGES:
        raise ValueError(
            f"{run} is an image, and not a run: name the folder of a run in its place, and then "
            "the image"
        )
    if (run / "pack.json").is_file() and not any(run.glob("*.safetensors")):
        raise ValueError(f"{run} is a pack, and not a run: name the run first, and then the pack")


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open the safetensors file at `path`; raise ValueError for whatever is wrong with it."""
    try:
        with _readable_name(path) as name, safe_open(name, "pt") as file:
            yield file
    except SafetensorError as error:
        is_ours = path.suffix == ".safetensors"
        advice = advise_on_damage(path) if is_ours else "Name a run, or a checkpoint"
        raise ValueError(f"{path} is not a complete checkpoint ({error}). {advice}") from error


@contextmanager
def _readable_name(path: Path) -> Iterator[Path]:
    """A name for the file that safetensors can open: it refuses names that are not UTF-8."""
    name = os.fsencode(path)
    if name.decode("utf-8", "replace") == name.decode("utf-8", "ignore"):
        yield path
        return
    with path.open("rb") as file:
        yield Path(f"/dev/fd/{file.fileno()}")


def _split_by_prefix(tensors: dict[str, Tensor], path: Path) -> dict[str, dict[str, Tensor]]:
    """Sort tensors into weights (""), "momentum" and "preprocessing", by the start of their name.

    Raises ValueError for a name of another kind.
    """
    parts: dict[str, dict[str, Tensor]] = {"": {}, "momentum": {}, "preprocessing": {}}
    for name, tensor in tensors.items():
        prefix, _, rest = name.rpartition("/")
        if prefix not in parts:
            raise ValueError(f"{path} holds {name!r}, which is no part of a checkpoint")
        parts[prefix][rest] = tensor
    return parts


def _to_os_error(error: SafetensorError, path: Path) -> OSError:
    """The system's error that safetensors reports as text only."""
    number = re.search(r"os error (\d+)", str(error))
    code = int(number[1]) if number else errno.EIO
    return OSError(code, os.strerror(code) if number else str(error), str(path))
