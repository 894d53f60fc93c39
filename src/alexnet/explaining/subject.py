"""The run that is explained: its network, ready to run, and images to run it on.

`open_subject` is called by `show.figures` and the report. The images are those of the pack that
the run was trained on or, where that is missing, the few samples that the run keeps.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from alexnet import checkpoint as checkpoints
from alexnet import device as devices
from alexnet.batches.preprocessing import Preprocessing
from alexnet.checkpoint import Checkpoint
from alexnet.device import Machine
from alexnet.evaluation.measured_pack import ensure_pack, find_pack_of
from alexnet.evaluation.scores import match_classes
from alexnet.images.records import records_to_pictures
from alexnet.packs.pack import Pack, open_pack
from alexnet.packs.samples import read_samples, space_evenly

UNLABELED = -1


@dataclass(frozen=True, eq=False)
class Examples:
    """Some images with their labels, as the network knows them."""

    records: NDArray[np.uint8]
    """uint8 (N, *record_shape)."""
    labels: NDArray[np.int64]
    """Indices into the network's classes, int64 (N,); −1 without a label that it knows."""
    names: tuple[str, ...]
    source: str
    """Where they come from, for titles: "val"."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A trained network, and the images that it is looked at with."""

    path: Path
    """The checkpoint file."""
    trained: Checkpoint
    network: nn.Module
    """On the device, in evaluation mode."""
    machine: Machine
    preprocessing: Preprocessing
    """For the images of the pack, on the device."""
    pack: Pack | None
    missing: str
    """Why there is no pack; empty if there is one."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the network, in the order of its outputs."""
        return self.trained.classes

    def choose_split(self, wanted: str | None = None) -> str:
        """Return the split to look at: the one wanted, else val, else the first with images.

        Raises FileNotFoundError without a pack, ValueError if the wanted split has no images.
        """
        splits = {name: len(split) for name, split in self.require_pack().splits.items()}
        filled = [name for name, images in splits.items() if images]
        chosen = wanted or ("val" if "val" in filled or not filled else filled[0])
        if chosen not in filled:
            raise ValueError(
                f"{self.require_pack().path} has no {chosen} images; it has {', '.join(filled)}"
            )
        return chosen

    def require_pack(self) -> Pack:
        """Return the pack. Raises FileNotFoundError, saying why, if there is none."""
        if self.pack is None:
            raise FileNotFoundError(self.missing)
        return self.pack

    def read_labels(self, split: str) -> NDArray[np.int64]:
        """Return the labels of a split as the network's indices, −1 for none: int64 (N,)."""
        pack = self.require_pack()
        known = match_classes(self.trained, pack, split, True, unlabeled=True)
        labels = pack.splits[split].labels
        return np.where(labels >= 0, known[labels], UNLABELED)

    def take_examples(self, n: int, split: str | None = None) -> Examples:
        """Return n evenly spaced images of a split or, without a pack, of the run's samples.

        Raises FileNotFoundError if there are neither.
        """
        if self.pack is None:
            return self._take_samples(n)
        name = self.choose_split(split)
        images = self.pack.splits[name]
        indices = space_evenly(n, len(images))
        names = tuple(images.name(int(i)) for i in indices)
        return Examples(images.gather(indices), self.read_labels(name)[indices], names, name)

    def _take_samples(self, n: int) -> Examples:
        samples = read_samples(self.path.parent)
        if samples is None or samples.size != self.preprocessing.side:
            raise FileNotFoundError(self.missing)
        indices = space_evenly(n, len(samples.records))
        labels = samples.labels[indices]
        if samples.pack_checksum != self.trained.pack_checksum:
            labels = np.full_like(labels, UNLABELED)
        names = tuple(samples.names[i] for i in indices)
        return Examples(samples.records[indices], labels, names, f"kept {samples.split}")

    def to_rgb(self, records: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return records as images: uint8 (N, side, side, 3)."""
        return records_to_pictures(records, self.preprocessing.side, self.preprocessing.pixels)

    def crop_center(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the part of images that the network is given: (N, side, …) → (N, crop, …)."""
        start, crop = self.preprocessing.center_offset, self.preprocessing.crop
        return images[:, start : start + crop, start : start + crop]


def open_subject(
    run: str | os.PathLike[str],
    pack: str | os.PathLike[str] | None = None,
    *,
    device: str = "auto",
) -> Subject:
    """Load a run's network (its `best` checkpoint, else its `last`) and find its pack.

    Args:
        run: a run's folder, or a checkpoint file.
        pack: a pack, or images, which are packed first (packs/NAME.pack). By default the pack that
            the run was trained on, if it is still there.
        device: auto, cpu, cuda, or cuda:1 for the second GPU.

    Raises FileNotFoundError if there is no trained network, or if `pack` is named and missing;
    ValueError for damaged files, and for images of another size than the network's.
    """
    path = checkpoints.find(run)
    trained = checkpoints.load(path)
    machine = devices.set_up_machine(device)
    opened, missing = _find_pack(path, trained, pack)
    preprocessing = trained.preprocessing
    if opened is not None:
        preprocessing = trained.adapt_preprocessing(opened)
    elif samples := read_samples(path.parent):
        preprocessing = replace(preprocessing, pixels=samples.pixels)
    with torch.no_grad():
        network = devices.move_to_device(trained.build_network(), machine).eval()
    return Subject(
        path, trained, network, machine, preprocessing.to(machine.device), opened, missing
    )


def _find_pack(
    path: Path, trained: Checkpoint, pack: str | os.PathLike[str] | None
) -> tuple[Pack | None, str]:
    """The pack and "", or None and why there is none."""
    if pack is not None:
        return ensure_pack(pack, path, trained, "val"), ""
    try:
        return open_pack(find_pack_of(path)), ""
    except (OSError, ValueError) as error:
        return None, str(error).replace(f"alexnet evaluate {path} PACK", "--pack PACK")
