"""`load`: the classifier of a run, a file or a folder for the hub. `load_weights`: its weights.

Both are public. Weights go into any torch network with layers of the same names and shapes, such as
one that `NETS["alexnet"].build(10)` returns.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from alexnet import checkpoint as checkpoints
from alexnet import device as devices
from alexnet.checkpoint import Checkpoint
from alexnet.device import Machine
from alexnet.exporting.hub import is_hub_folder, read_hub_folder
from alexnet.exporting.libraries import FORMATS, PROGRAM_REFUSAL
from alexnet.images.memory import MAX_PIXELS
from alexnet.predict.classifier import Classifier

SHOWN = 12
"""Weights that an error names, at most."""


def load(
    run: str | os.PathLike[str], device: str = "auto", *, max_pixels: int = MAX_PIXELS
) -> Classifier:
    """Load the classifier of a run's folder (its `best` checkpoint, else its `last`) or of a file.

    Args:
        run: a run's folder, what `alexnet.train` returned, a checkpoint file, or what `alexnet
            export` made: a folder for the hub, or a file .onnx, or .xml with its .bin next to it.
            Exported files run on the CPU only. A .pt2 is not opened, because that can run any code
            in it.
        device: auto, cpu, cuda, or cuda:1 for the second GPU.
        max_pixels: images with more pixels are not read.

    Raises FileNotFoundError if there is no such run or file, ValueError if the file is neither a
    checkpoint nor an exported network, and RuntimeError if the library that an exported file needs
    is not installed.

    >>> with alexnet.load("run") as classifier:
    ...     prediction = classifier.predict("cat.jpg")
    >>> sorted(prediction.labels)
    ['cats', 'dogs']
    """
    path = checkpoints.to_path(run)
    if path.suffix in FORMATS:
        return _load_exported(path, device, max_pixels)
    checkpoint = _read_checkpoint(path)
    parts = checkpoint.build_network(), checkpoint.classes, checkpoint.preprocessing
    return Classifier(*parts, devices.set_up_machine(device), max_pixels=max_pixels)


def _read_checkpoint(run: Path) -> Checkpoint:
    """Read the checkpoint of a run, a checkpoint file or a folder for the hub."""
    if run.suffix == ".pt2":
        raise ValueError(f"{run}: {PROGRAM_REFUSAL}")
    if is_hub_folder(run):
        return read_hub_folder(run)
    return checkpoints.load(checkpoints.find(run))


def _load_exported(path: Path, device: str, max_pixels: int) -> Classifier:
    from alexnet.exporting.runtimes import open_exported

    if device not in ("auto", "cpu"):
        raise ValueError(f"{path} runs on the CPU, not on {device!r}: load the run for that")
    network = open_exported(path)
    metadata, machine = network.metadata, Machine(torch.device("cpu"))
    parts = network, metadata.classes, metadata.preprocessing
    return Classifier(*parts, machine, max_pixels=max_pixels)


def load_weights(
    network: nn.Module, run: str | os.PathLike[str], *, strict: bool = True
) -> tuple[str, ...]:
    """Copy the weights of a trained network into a torch network, and return their names.

    The network stays on its device and keeps the types of its weights. If an error is raised, it is
    unchanged.

    Args:
        network: any torch network whose weights have the names and shapes of the trained one's, as
            `alexnet.NETS["alexnet"].build(10)`; `network.state_dict()` has the names.
        run: a run's folder (its `best` checkpoint, else its `last`), what `alexnet.train` returned,
            a checkpoint file, or a folder for the hub.
        strict: require that every weight of one is in the other, with its shape. If False, weights
            that are in one only, or have another shape, are left as they are.

    Raises FileNotFoundError if there is no such run, ValueError if the weights do not fit (each is
    named with both shapes) or none would be copied, and TypeError if the arguments are swapped.

    >>> network = alexnet.NETS["cifar"].build(2, 28)
    >>> alexnet.load_weights(network, "run")[:2]
    ('conv1.weight', 'conv1.bias')
    """
    if not isinstance(network, nn.Module):
        raise TypeError(
            f"load_weights copies into a torch network, and a {type(network).__name__} was given: "
            "the network comes first, load_weights(network, run). For a classifier that predicts "
            "images: load(run)"
        )
    trained, wanted = _read_checkpoint(checkpoints.to_path(run)).weights, network.state_dict()
    fitting = {
        k: trained[k] for k in wanted if k in trained and trained[k].shape == wanted[k].shape
    }
    if (strict and not (trained.keys() == wanted.keys() == fitting.keys())) or not fitting:
        raise ValueError(_explain_misfit(network, os.fspath(run), wanted, trained))
    network.load_state_dict(fitting, strict=False)
    return tuple(fitting)


def _explain_misfit(
    network: nn.Module, run: str, wanted: dict[str, Tensor], trained: dict[str, Tensor]
) -> str:
    """Return the message for weights that do not fit, with the names and shapes of both sides."""
    shapes = [{k: tuple(x.shape) for k, x in weights.items()} for weights in (wanted, trained)]
    names = [k for k in dict.fromkeys((*wanted, *trained)) if shapes[0].get(k) != shapes[1].get(k)]
    lines = [
        f"{k}: {shapes[1].get(k, 'missing')} in the run, {shapes[0].get(k, 'missing')} in the "
        "network"
        for k in names[:SHOWN]
    ]
    more = f"; and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (
        f"the weights of {run} do not fit the {type(network).__name__}: {'; '.join(lines)}{more}. "
        "Build the network with the run's number of classes and size of crops; strict=False copies "
        "only what fits"
    )
