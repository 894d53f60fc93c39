"""Synthetic records in any number, and a training loop on them with the steps of `alexnet train`.

`train_step.py`, `epoch.py` and `checks.py` use it. Nothing is written to disk.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from alexnet import device as devices
from alexnet.batches.epochs import Batches
from alexnet.batches.preprocessing import Preprocessing
from alexnet.device import Residence
from alexnet.images.records import Format, record_shape
from alexnet.nets.layers import set_key
from alexnet.packs.pack import Pack, Split
from alexnet.recipes.recipe import Recipe
from alexnet.training.loop import derive_step_seed, new_network
from alexnet.training.memory import count_step_memory
from alexnet.training.sgd import SGD
from alexnet.training.step import make_step

DIFFERENT = 2048
"""Number of distinct records, which are repeated: 200 MB of yuv420."""
RATE = 1e-3
CLASSES = 1000


class Made(Split):
    """A split of random records, of which the first DIFFERENT are repeated."""

    @functools.cached_property
    def different(self) -> NDArray[np.uint8]:
        """The distinct records, uint8 (n, *record)."""
        random = np.random.default_rng(0)
        shape = min(len(self), DIFFERENT), *self.shape
        return random.integers(0, 256, shape, np.uint8)

    @property
    def shards(self) -> Iterator[NDArray[np.uint8]]:  # type: ignore[override]
        """The same array as often as needed."""
        for begin in range(0, len(self), DIFFERENT):
            yield self.different[: len(self) - begin]

    @functools.cached_property
    def labels(self) -> NDArray[np.int64]:
        """Random labels, int64 (N,)."""
        return np.random.default_rng(1).integers(0, self.classes, len(self))

    @functools.cached_property
    def names(self) -> list[str]:
        """The names of the records: their numbers."""
        return list(map(str, range(len(self))))

    def gather(self, indices: Any, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Copy the records at these indices, uint8 (n, *record)."""
        return np.take(self.different, indices, axis=0, out=out, mode="wrap")


def made_pack(images: int, size: int = 256, pixels: Format = "yuv420") -> Pack:
    """Return a pack of synthetic records with 1000 classes that exists in memory only."""
    split = Made(Path("made"), record_shape(size, pixels), ("made",), (images,), CLASSES)
    classes, axes = tuple(map(str, range(CLASSES))), (np.eye(3), np.full(3, 50.0))
    facts = {"fit": "crop", "mean_crc32": ""}  # the check of the files finds none to check
    source = {"kind": "made", "path": "made"}
    pack = Pack(
        Path("made"), size, pixels, classes, None, *axes, "made", source, {"train": split}, facts
    )
    pack.__dict__["mean"] = np.full((size, size, 3), 128, np.float32)  # otherwise read from a file
    return pack


class Training:
    """The package's network, batches, step and update, without log, checkpoints or validation."""

    def __init__(
        self, device: str, batch: int, pack: Pack, resident: Residence = "auto", **changes: Any
    ) -> None:
        self.machine = devices.set_up_machine(device, resident=resident)
        recipe = Recipe(batch_size=batch, initialization="variance", pixel_scale=1 / 64)
        self.recipe = replace(recipe, **changes)
        self.network = new_network(self.recipe, len(pack.classes)).train()
        devices.move_to_device(self.network, self.machine)
        self.sgd = SGD(self.network, self.recipe)
        self.preprocessing = Preprocessing.of(pack, self.recipe).to(self.machine.device)
        start = time.perf_counter()
        room = count_step_memory(self.recipe, len(pack.classes), self.machine)
        self.batches = Batches(
            pack.splits["train"], self.preprocessing, self.recipe, self.machine, room
        )
        self.seconds_to_fill = time.perf_counter() - start
        shape = batch, 3, self.recipe.crop, self.recipe.crop
        self.step = make_step(self.network, self.machine, shape)

    @property
    def home(self) -> str:
        """The name of the loader's class, which says where the records are."""
        return type(self.batches.loader).__name__

    def losses(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        """Yield the loss of every step of an epoch from step `start`, without synchronizing."""
        for step, batch in enumerate(self.batches.epoch(epoch, start), start):
            set_key(self.network, derive_step_seed(self.recipe.seed, epoch, step))
            loss = self.step(batch.images, batch.labels)
            self.sgd.step(loss, RATE)
            yield loss

    def endless(self) -> Iterator[Tensor]:
        """Yield the losses of one epoch after the other, without end."""
        epoch = 0
        while True:
            yield from self.losses(epoch)
            epoch += 1
