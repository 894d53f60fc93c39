"""Batches for training and for measuring, prepared in the background.

A batch is a pure function of (seed, epoch, position): there is no state to save, and starting in
the middle of an epoch gives what going through it would have given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.data.augment import Draw, Preprocessing, augment, center_view, draws, order, ten_views
from alexnet.data.dataset import Split
from alexnet.recipe import Recipe

Made = TypeVar("Made")


@dataclass(frozen=True)
class Batch:
    """Images on their way through one step."""

    images: Tensor
    """N 3 crop crop float, channels_last, on the device."""
    labels: Tensor
    """N int64, on the device."""
    members: NDArray[np.int64]
    """N: their places in the split."""


class Batches:
    """The training batches of a split, shuffled and augmented as a recipe says."""

    def __init__(
        self, split: Split, how: Preprocessing, recipe: Recipe, device: torch.device
    ) -> None:
        self.split, self.how, self.recipe, self.device = split, how, recipe, device
        self.waited = 0.0
        """Seconds that the consumer has waited for batches so far."""
        shape = recipe.batch_size, 3, how.crop, how.crop
        like = {"memory_format": torch.channels_last, "pin_memory": device.type == "cuda"}
        self._buffers = [torch.empty(shape, **like) for _ in range(2)]

    def __len__(self) -> int:
        """Steps an epoch: every image is seen once, so the last batch can be short."""
        return -(-len(self.split) // self.recipe.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from step `start` on. A batch's memory is reused two steps later."""
        sequence = order(self.recipe.seed, epoch, len(self.split))
        draw = draws(self.recipe, epoch, len(self.split), self.how)

        def make(step: int) -> Batch:
            at = slice(step * self.recipe.batch_size, (step + 1) * self.recipe.batch_size)
            return self._make(sequence[at], draw[at], self._buffers[step % 2])

        for batch, waited in ahead(make, range(start, len(self))):
            self.waited += waited
            yield batch

    def _make(self, members: NDArray[np.int64], draw: Draw, buffer: Tensor) -> Batch:
        images = augment(
            self.split.gather(members),
            draw,
            self.how,
            color_noise=self.recipe.color_noise,
            out=buffer[: len(members)],
        )
        labels = torch.from_numpy(self.split.labels[members])
        move = {"device": self.device, "non_blocking": True}
        return Batch(images.to(**move), labels.to(**move), members)


def views(
    split: Split,
    labels: NDArray[np.int64],
    members: NDArray[np.int64],
    how: Preprocessing,
    device: torch.device,
    *,
    many: int = 1,
    batch_size: int = 128,
) -> Iterator[Batch]:
    """The `members` of a split in order, `many` = 1 (center) or 10 views of each.

    The views of an image stand together: images N·many 3 crop crop, labels N.
    """

    def make(start: int) -> Batch:
        some = members[start : start + batch_size]
        images = see(split.gather(some), how, many).to(device)
        return Batch(images, torch.from_numpy(labels[some]).to(device), some)

    for batch, _ in ahead(make, range(0, len(members), batch_size)):
        yield batch


def see(records: NDArray[np.uint8], how: Preprocessing, many: int) -> Tensor:
    """The views of packed records: uint8 N side side 3 → float N·many 3 crop crop."""
    if many == 1:
        return augment(records, center_view(len(records), how.room), how)
    if many != 10:
        raise ValueError(f"{many} views: there are 1 (center) and 10 (section 4.1)")
    all_views = [augment(records, draw, how) for draw in ten_views(len(records), how.room)]
    images = torch.stack(all_views, dim=1).flatten(0, 1)
    return images.contiguous(memory_format=torch.channels_last)


def ahead(make: Callable[[int], Made], steps: range) -> Iterator[tuple[Made, float]]:
    """make(step) of every step, each made while the one before is used, and the seconds waited."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
        coming = [thread.submit(make, step) for step in steps[:1]]
        for next_step in [*steps[1:], None]:
            if not coming:
                return
            began = time.monotonic()
            made = coming.pop().result()
            waited = time.monotonic() - began
            if next_step is not None:
                coming.append(thread.submit(make, next_step))
            yield made, waited
