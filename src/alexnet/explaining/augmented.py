"""One image as training and evaluation see it: section 4.1 applied, but neither mean nor scale.

The functions are those of the training itself (`batches.augment`), called with a mean of zero and a
scale of one, so that the result is an image again. Called by `show.figures`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.batches.augment import augment, draw_augmentation
from alexnet.batches.preprocessing import Preprocessing
from alexnet.batches.views import crop_views
from alexnet.recipes.recipe import Recipe

CPU = torch.device("cpu")


def augment_in_epochs(
    record: NDArray[np.uint8], preprocessing: Preprocessing, recipe: Recipe, n_epochs: int = 10
) -> NDArray[np.uint8]:
    """Return what a training sees of one record in its first epochs: uint8 (epochs, crop, crop, 3).

    They are the crops, reflections and colors that the recipe's seed gives the first image of each
    epoch.
    """
    plain = _remove_mean(preprocessing)
    drawn = [
        augment(torch.from_numpy(record[None]), draw_augmentation(recipe, k, 1, plain), plain)
        for k in range(n_epochs)
    ]
    return _to_pixels(torch.cat(drawn))


def crop_all_views(
    record: NDArray[np.uint8], preprocessing: Preprocessing, n_views: int = 10
) -> NDArray[np.uint8]:
    """Return the views of one record that evaluation averages over: uint8 (views, crop, crop, 3).

    `n_views` is 1, 5 or 10 (`batches.views`).
    """
    return _to_pixels(crop_views(record[None], _remove_mean(preprocessing), n_views))


def _remove_mean(preprocessing: Preprocessing) -> Preprocessing:
    """The same on the CPU, without subtraction and scale."""
    moved = preprocessing.to(CPU)
    return replace(moved, mean=torch.zeros_like(moved.mean), pixel_scale=1.0)


def _to_pixels(images: Tensor) -> NDArray[np.uint8]:
    """Float (N, 3, H, W), in gray levels → uint8 (N, H, W, 3)."""
    pixels = images.float().permute(0, 2, 3, 1).numpy()
    return pixels.round().clip(0, 255).astype(np.uint8)
