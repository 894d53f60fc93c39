"""The training batches of an epoch, shuffled and augmented as a recipe says.

A batch is a pure function of (seed, epoch, step). So there is no state to save: an epoch that is
resumed at a step gives the batches that the uninterrupted epoch would have given.

The training loop calls this module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from alexnet.batches.augment import draw_augmentation, draw_order
from alexnet.batches.loaders import Batch, EpochPlan, choose_loader
from alexnet.batches.preprocessing import Preprocessing
from alexnet.device import Machine
from alexnet.packs.pack import Split
from alexnet.recipes.recipe import Recipe


class Batches:
    """The training batches of a split."""

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        recipe: Recipe,
        machine: Machine,
        reserved_bytes: int = 0,
        find_rows: Callable[[int], range] = range,
    ) -> None:
        """Choose a loader for `machine`.

        `reserved_bytes` is the GPU memory that training needs in addition to the records.
        `find_rows(n)` are the consecutive rows of a batch of n images that this process computes;
        by default all. Raises what `loaders.choose_loader` raises.
        """
        self.find_rows = find_rows
        self.split, self.preprocessing, self.recipe = split, preprocessing, recipe
        self.loader = choose_loader(
            split, preprocessing, recipe.batch_size, machine, reserved_bytes
        )
        self.waited = 0.0
        """Seconds that the training loop has waited for batches so far."""

    def __len__(self) -> int:
        """Return the steps per epoch. Every image is used once, so the last batch can be short."""
        return math.ceil(len(self.split) / self.recipe.batch_size)

    def count_images(self, step: int) -> int:
        """Return the number of images in a batch, those of other processes included."""
        return min(self.recipe.batch_size, len(self.split) - step * self.recipe.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from step `start` on.

        A batch is valid only until the next one is requested: its memory may be used again.
        """
        n_images = len(self.split)
        plan = EpochPlan(
            indices=draw_order(self.recipe.seed, epoch, n_images),
            params=draw_augmentation(self.recipe, epoch, n_images, self.preprocessing),
            batch_size=self.recipe.batch_size,
            color_noise=self.recipe.noise_in(epoch),
            find_rows=self.find_rows,
        )
        for batch, waited in self.loader.batches(plan, range(start, len(self))):
            self.waited += waited
            yield batch
