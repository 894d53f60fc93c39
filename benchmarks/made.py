"""Made-up records by the million, and a training on them that goes as `alexnet train` goes."""

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
from alexnet.batches.augment import Preprocessing
from alexnet.batches.batches import Batches
from alexnet.device import Residence
from alexnet.images.records import Format, record_shape
from alexnet.nets.layers import set_key
from alexnet.packs.pack import Pack, Split
from alexnet.recipes.recipe import Recipe
from alexnet.training.memory import room_for_steps
from alexnet.training.sgd import SGD
from alexnet.training.step import stepper
from alexnet.training.train import new_network, step_seed

DIFFERENT = 2048
"""Records that are not repetitions: 200 MB of yuv420."""
RATE = 1e-3
CLASSES = 1000


class Made(Split):
    """A split of noise, of which a few records stand for all."""

    @functools.cached_property
    def different(self) -> NDArray[np.uint8]:
        """The records that are repeated: uint8 n record…"""
        chance = np.random.default_rng(0)
        shape = min(len(self), DIFFERENT), *self.shape
        return chance.integers(0, 256, shape, np.uint8)

    @property
    def shards(self) -> Iterator[NDArray[np.uint8]]:  # type: ignore[override]
        """The same array as often as it takes."""
        for begin in range(0, len(self), DIFFERENT):
            yield self.different[: len(self) - begin]

    @functools.cached_property
    def labels(self) -> NDArray[np.int64]:
        """N classes, evenly drawn."""
        return np.random.default_rng(1).integers(0, self.classes, len(self))

    @functools.cached_property
    def names(self) -> list[str]:
        """N names, the numbers of the records."""
        return list(map(str, range(len(self))))

    def gather(self, indices: Any, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Copy the records at these places: uint8 N record…"""
        return np.take(self.different, indices, axis=0, out=out, mode="wrap")


def made_pack(images: int, size: int = 256, pixels: Format = "yuv420") -> Pack:
    """A pack that is nowhere on disk, with 1000 classes."""
    split = Made(Path("made"), record_shape(size, pixels), ("made",), (images,), CLASSES)
    classes, axes = tuple(map(str, range(CLASSES))), (np.eye(3), np.full(3, 50.0))
    facts = {"fit": "crop", "mean_crc32": ""}  # a check of the files finds that there are none
    source = {"kind": "made", "path": "made"}
    pack = Pack(
        Path("made"), size, pixels, classes, None, *axes, "made", source, {"train": split}, facts
    )
    pack.__dict__["mean"] = np.full((size, size, 3), 128, np.float32)  # which would be read
    return pack


class Training:
    """The product's own network, batches, step and update, without log, checkpoints, validation."""

    def __init__(
        self, device: str, batch: int, pack: Pack, resident: Residence = "auto", **changes: Any
    ) -> None:
        self.machine = devices.machine(device, resident=resident)
        recipe = Recipe(batch_size=batch, initialization="variance", pixel_scale=1 / 64)
        self.recipe = replace(recipe, **changes)
        self.network = new_network(self.recipe, len(pack.classes)).train()
        devices.place(self.network, self.machine)
        self.sgd = SGD(self.network, self.recipe)
        self.preprocessing = Preprocessing.of(pack, self.recipe).to(self.machine.device)
        began = time.perf_counter()
        room = room_for_steps(self.recipe, len(pack.classes), self.machine)
        self.batches = Batches(
            pack.splits["train"], self.preprocessing, self.recipe, self.machine, room
        )
        self.seconds_to_fill = time.perf_counter() - began
        shape = batch, 3, self.recipe.crop, self.recipe.crop
        self.step = stepper(self.network, self.machine, shape)

    @property
    def home(self) -> str:
        """Where the records are."""
        return type(self.batches.loader).__name__

    def losses(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        """The loss of every step of an epoch, not yet waited for, from step `start` on."""
        for step, batch in enumerate(self.batches.epoch(epoch, start), start):
            set_key(self.network, step_seed(self.recipe.seed, epoch, step))
            loss = self.step(batch.images, batch.labels)
            self.sgd.step(loss, RATE)
            yield loss

    def endless(self) -> Iterator[Tensor]:
        """The losses of one epoch after the other."""
        epoch = 0
        while True:
            yield from self.losses(epoch)
            epoch += 1
