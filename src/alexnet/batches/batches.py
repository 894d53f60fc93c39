"""Batches for training and for measuring.

A batch is a pure function of (seed, epoch, position): there is no state to save, and starting in
the middle of an epoch gives what going through it would have given.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.batches.augment import Draw, Preprocessing, augment, chosen_views, draws, order
from alexnet.batches.loaders import Batch, Plan, choose_loader, prefetch
from alexnet.device import Machine
from alexnet.packs.pack import Split
from alexnet.recipes.recipe import Recipe


class Batches:
    """The training batches of a split, shuffled and augmented as a recipe says."""

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        recipe: Recipe,
        machine: Machine,
        room: int = 0,
    ) -> None:
        """`room`: bytes of a GPU that training needs beside the records (`home_for`)."""
        self.split, self.preprocessing, self.recipe = split, preprocessing, recipe
        self.loader = choose_loader(split, preprocessing, recipe.batch_size, machine, room)
        self.waited = 0.0
        """Seconds that the consumer has waited for batches so far."""

    def __len__(self) -> int:
        """Steps an epoch: every image is seen once, so the last batch can be short."""
        return math.ceil(len(self.split) / self.recipe.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from step `start` on. Memory is used again two steps later."""
        images = len(self.split)
        plan = Plan(
            indices=order(self.recipe.seed, epoch, images),
            draw=draws(self.recipe, epoch, images, self.preprocessing),
            batch_size=self.recipe.batch_size,
            color_noise=self.recipe.noise_in(epoch),
        )
        for batch, waited in self.loader.batches(plan, range(start, len(self))):
            self.waited += waited
            yield batch


def views(
    split: Split,
    labels: NDArray[np.int64],
    indices: NDArray[np.int64],
    preprocessing: Preprocessing,
    device: torch.device,
    *,
    n_views: int = 1,
    batch_size: int = 128,
) -> Iterator[Batch]:
    """The `members` of a split in order, so `many` views of each (`augment.chosen_views`).

    The views of an image stand together: images N·many 3 crop crop, labels N.
    """
    if device.type == "cuda":
        yield from _views_on_gpu(split, labels, indices, preprocessing, device, n_views, batch_size)
        return

    def make(start: int) -> Batch:
        some = indices[start : start + batch_size]
        images = crop_views(split.gather(some), preprocessing, n_views)
        return Batch(images, torch.from_numpy(labels[some]), some)

    for batch, _ in prefetch(make, range(0, len(indices), batch_size)):
        yield batch


def _views_on_gpu(
    split: Split,
    labels: NDArray[np.int64],
    indices: NDArray[np.int64],
    preprocessing: Preprocessing,
    device: torch.device,
    n_views: int,
    batch_size: int,
) -> Iterator[Batch]:
    """The same for a GPU: records cross as uint8, one batch ahead, and are cropped there.

    They cross on a stream of their own, from pinned memory, read and sent by another thread; the
    caller waits for that thread alone, never for what it has asked of the GPU.
    """
    shape = min(batch_size, len(indices)), *split.shape
    pinned = [torch.empty(shape, dtype=torch.uint8, pin_memory=True) for _ in range(2)]
    crossed = [torch.empty(shape, dtype=torch.uint8, device=device) for _ in range(2)]
    cropped = [torch.cuda.Event() for _ in range(2)]
    stream = torch.cuda.Stream(device)
    there = torch.from_numpy(labels[indices]).to(device)
    draws = [draw.to(device) for draw in chosen_views(n_views, shape[0], preprocessing.room)]

    def cross(start: int) -> int:
        some, slot = indices[start : start + batch_size], start // batch_size % 2
        split.gather(some, pinned[slot][: len(some)].numpy())
        with torch.cuda.stream(stream):
            stream.wait_event(cropped[slot])
            crossed[slot].copy_(pinned[slot], non_blocking=True)
        stream.synchronize()  # in this thread alone: the pinned memory is free again
        return start

    for start, _ in prefetch(cross, range(0, len(indices), batch_size)):
        some, slot = indices[start : start + batch_size], start // batch_size % 2
        records = crossed[slot][: len(some)]
        images = _crops(records, [draw[: len(some)] for draw in draws], preprocessing)
        cropped[slot].record()
        yield Batch(images, there[start : start + batch_size], some)


def crop_views(records: NDArray[np.uint8], preprocessing: Preprocessing, n_views: int) -> Tensor:
    """The views of packed records, uint8 N record… → float N·many 3 crop crop, beside the mean."""
    device = preprocessing.mean.device
    draws = [draw.to(device) for draw in chosen_views(n_views, len(records), preprocessing.room)]
    return _crops(torch.from_numpy(records).to(device), draws, preprocessing)


def _crops(records: Tensor, draws: list[Draw], preprocessing: Preprocessing) -> Tensor:
    """One crop of every record for each of the draws, those of a record together."""
    every = torch.arange(len(records), device=records.device)
    seen = [augment(records, draw, preprocessing, indices=every) for draw in draws]
    if len(draws) == 1:
        return seen[0]
    images = torch.stack(seen, dim=1).flatten(0, 1)
    return images.contiguous(memory_format=torch.channels_last)
