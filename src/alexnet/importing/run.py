"""`import_weights`: a file of another program's weights becomes a run.

    RUN/
      environment.json      where the weights come from, under "imported"; this machine and versions
      recipe.json           the training that they come from, as far as a recipe can describe it
      best.safetensors      the checkpoint
      last.safetensors      the same file

The checkpoint is that of a training with no epoch behind it: no momenta and no history, and no pack
belongs to it. So it cannot be resumed, and a pack has to be named wherever one is wanted. Called by
`commands.import_weights`, and as `alexnet.import_weights`.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from alexnet import checkpoint as checkpoints
from alexnet import device as devices
from alexnet import runs
from alexnet.checkpoint import Checkpoint, Position
from alexnet.device import Machine
from alexnet.files import replace_json
from alexnet.importing.class_names import number_classes, read_class_names
from alexnet.importing.conversion import convert
from alexnet.importing.layouts import read_weights
from alexnet.sources.names import quote_names


@dataclass(frozen=True)
class Imported:
    """What was imported, and where it is now."""

    run: Path
    network: str
    """Name of the network in `nets.NETS`."""
    n_classes: int
    side: int
    """Side to which images are resized, in pixels."""
    crop: int
    """Side of the crop that the network is given, in pixels."""
    parameters: int
    """Number of its weights and biases."""


def import_weights(
    file: str | Path,
    run: str | Path,
    *,
    classes: str | Path | None = None,
    mean: str | Path | None = None,
) -> Imported:
    """Make a run of the weights of torchvision's alexnet, or of Caffe's bvlc_alexnet or caffenet.

    Parameters
    ----------
    file
        .pth, .pt, .bin or .safetensors with torchvision's weights, or a .caffemodel.
    run
        The folder to make. It must not exist, or be empty.
    classes
        A file with the names of the classes in order (`importing.class_names`). Without it, they
        are called "class 0", "class 1", ….
    mean
        For Caffe's networks, the mean image: .binaryproto or .npy. Without it, the mean color of
        the ILSVRC-2012 images is used.

    Raises FileNotFoundError if a file is missing; ValueError if one is damaged or holds something
    else; FileExistsError if `run` holds anything; OSError if it cannot be written.
    """
    file, run = Path(file), Path(run)
    check_new(run)
    foreign = read_weights(file)
    names = (
        number_classes(foreign.n_classes)
        if classes is None
        else read_class_names(Path(classes), foreign.n_classes)
    )
    network = convert(foreign, None if mean is None else Path(mean))
    checkpoint = Checkpoint(
        recipe=network.recipe,
        classes=names.names,
        wordnet_ids=names.wordnet_ids,
        pack_checksum="",
        preprocessing=network.preprocessing,
        position=Position(),
        weights=network.weights,
        momenta={},
    )
    origin = {
        "file": os.path.abspath(file),
        "sha256": _compute_sha256(file),
        "network": foreign.network,
        "classes": None if classes is None else os.path.abspath(classes),
        "mean": None if mean is None else os.path.abspath(mean),
    }
    _write_run(run, checkpoint, origin)
    parameters = sum(x.numel() for x in network.weights.values())
    side, crop = network.preprocessing.side, network.preprocessing.crop
    return Imported(run, foreign.network, foreign.n_classes, side, crop, parameters)


def check_new(run: Path) -> None:
    """Raise FileExistsError if `run` is a file or a folder that holds something.

    What an import leaves behind that was killed before its end does not count.
    """
    if run.exists() and not run.is_dir():
        raise FileExistsError(f"{run} is a file: name a new folder for the run")
    names = sorted(x for x in os.listdir(run) if not x.startswith(".")) if run.exists() else []
    is_unfinished = "last.safetensors" not in names and runs.read_import(run)
    if names and not is_unfinished:
        raise FileExistsError(
            f"{run} is not empty (there is {quote_names(names, 3)}): name a new folder for the run"
        )


def _write_run(run: Path, checkpoint: Checkpoint, origin: dict[str, str | None]) -> None:
    """Write the files of the run; `last`, which makes it complete, comes last."""
    with runs.RunFolder(run) as folder:
        machine = devices.describe_machine(Machine(torch.device("cpu")))
        replace_json(run / "environment.json", {**machine, "imported": origin})
        replace_json(run / "recipe.json", checkpoint.recipe.to_dict())
        checkpoints.save(checkpoint, run / "best.safetensors")
        checkpoints.link_or_copy(run / "best.safetensors", run / "last.safetensors")
        folder.used = True


def _compute_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; torchvision's names end in its first digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
