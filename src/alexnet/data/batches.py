"""Batches for training and for measuring.

A batch is a pure function of (seed, epoch, position): there is no state to save, and starting in
the middle of an epoch gives what going through it would have given.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.data.augment import Preprocessing, augment, center_view, draws, order, ten_views
from alexnet.data.dataset import Split
from alexnet.data.homes import Batch, Plan, ahead, home_for
from alexnet.learn.devices import Machine
from alexnet.recipe import Recipe


class Batches:
    """The training batches of a split, shuffled and augmented as a recipe says."""

    def __init__(
        self,
        split: Split,
        how: Preprocessing,
        recipe: Recipe,
        machine: Machine,
    ) -> None:
        self.split, self.how, self.recipe = split, how, recipe
        self.home = home_for(split, how, recipe.batch_size, machine)
        self.waited = 0.0
        """Seconds that the consumer has waited for batches so far."""

    def __len__(self) -> int:
        """Steps an epoch: every image is seen once, so the last batch can be short."""
        return -(-len(self.split) // self.recipe.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from step `start` on. A batch's memory is used again two steps later."""
        images = len(self.split)
        plan = Plan(
            members=order(self.recipe.seed, epoch, images),
            draw=draws(self.recipe, epoch, images, self.how),
            batch_size=self.recipe.batch_size,
            color_noise=self.recipe.color_noise,
        )
        for batch, waited in self.home.batches(plan, range(start, len(self))):
            self.waited += waited
            yield batch


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
    """The views of packed records: uint8 N record… → float N·many 3 crop crop, where `how.mean` is."""
    place, several = how.mean.device, len(records)
    there = torch.from_numpy(records).to(place)
    if many == 1:
        return augment(there, center_view(several, how.room).to(place), how)
    if many != 10:
        raise ValueError(f"{many} views: there are 1 (center) and 10 (section 4.1)")
    all_views = [augment(there, draw.to(place), how) for draw in ten_views(several, how.room)]
    images = torch.stack(all_views, dim=1).flatten(0, 1)
    return images.contiguous(memory_format=torch.channels_last)
