"""Data augmentation (section 4.1): the random choices first, then the arithmetic that applies them.

`draw_augmentation` makes every random choice of an epoch at once; `augment` applies given choices
and is deterministic. The numbers come from a counter-based generator (Philox) with the key (seed,
epoch). So the augmentation of the image at a position of an epoch depends on nothing else: not on
the number of workers, not on the device, and not on whether the training was resumed.

`loaders` and `views` call this module. It must not import them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.batches.preprocessing import Preprocessing
from alexnet.kernels import crop
from alexnet.recipes.recipe import Recipe

# What the numbers of a generator are for. A new purpose gets a new number: a number that changed
# its meaning would change every training.
ORDER, AUGMENTATION = 0, 1


@dataclass(frozen=True, eq=False)
class AugmentationParams:
    """Position of the crop, mirroring and color shift for each of N images."""

    tops: Tensor
    """Rows above the crop: int64 (N,)."""
    lefts: Tensor
    """Columns to the left of the crop: int64 (N,)."""
    flips: Tensor
    """Whether the crop is mirrored left to right: bool (N,)."""
    shifts: Tensor
    """The shifts that are added to red, green and blue, in gray levels: float32 (N, 3)."""

    def __getitem__(self, images: slice) -> AugmentationParams:
        """Return the parameters of some of the images."""
        return AugmentationParams(
            self.tops[images], self.lefts[images], self.flips[images], self.shifts[images]
        )

    def to(self, device: torch.device) -> AugmentationParams:
        """Return a copy on `device`."""
        tensors = self.tops, self.lefts, self.flips, self.shifts
        return AugmentationParams(*(x.to(device) for x in tensors))


def make_generator(seed: int, epoch: int, purpose: int) -> np.random.Generator:
    """Make the generator of one epoch for one purpose. Its numbers are the same on every machine.

    `purpose` is below 256, because the key holds it in the low 8 bits, below the epoch.
    """
    return np.random.Generator(np.random.Philox(key=[seed, (epoch << 8) | purpose]))


def draw_order(seed: int, epoch: int, n_images: int) -> NDArray[np.int64]:
    """Draw the order of the images in an epoch: a permutation of their indices, int64 (N,)."""
    return make_generator(seed, epoch, ORDER).permutation(n_images)


def draw_augmentation(
    recipe: Recipe, epoch: int, n_images: int, preprocessing: Preprocessing
) -> AugmentationParams:
    """Draw the crop offsets, flip and color shift of the image at every position of an epoch.

    With `recipe.chunk` above 1, consecutive positions share offsets and flip, as in the 2012 code::

        position   0 1 2 3 | 4 5 6 7 | …      chunk 4
        drawn by   0 0 0 0 | 4 4 4 4 | …      the first position of each chunk

    All numbers are drawn even if the recipe does not use them, so that switching off one kind of
    augmentation does not change the others.
    """
    rng = make_generator(recipe.seed, epoch, AUGMENTATION)
    chunk_starts = np.arange(n_images) // recipe.chunk * recipe.chunk
    offsets = rng.integers(0, preprocessing.max_offset + 1, (2, n_images))[:, chunk_starts]
    flips = (rng.random(n_images) < 0.5)[chunk_starts]
    noise = np.float32(recipe.noise_in(epoch))
    steps = rng.standard_normal((n_images, 3), np.float32) * noise
    if not recipe.random_crop:
        offsets = np.full_like(offsets, preprocessing.center_offset)
    tops, lefts = torch.from_numpy(offsets)
    return AugmentationParams(
        tops,
        lefts,
        torch.from_numpy(flips & recipe.flip),
        compute_color_noise(torch.from_numpy(steps), preprocessing),
    )


def compute_color_noise(steps: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Compute the color noise of section 4.1, which is added to every RGB pixel of an image.

    The paper adds to each pixel ``[p1, p2, p3] · [α1·λ1, α2·λ2, α3·λ3]ᵀ``: pᵢ are the principal
    components of the RGB values of all training pixels, λᵢ the eigenvalues of their covariance,
    and αᵢ is drawn from a Gaussian with mean 0 and standard deviation 0.1, once per image and
    epoch. This function computes, as the 2012 code does, ::

        shift = components · (deviations ∘ steps)        pᵢ · √λᵢ · αᵢ, summed over i

    with the standard deviations √λᵢ in place of the eigenvalues λᵢ that the paper prints: with the
    eigenvalues, in gray levels squared, the noise would be far larger than the pixels.

    Args:
        steps: the αᵢ, float32 (N, 3).
        preprocessing: has the components and their standard deviations.

    Returns the shifts of red, green and blue in gray levels: float32 (N, 3), on the CPU.
    """
    return (steps * preprocessing.deviations.cpu()) @ preprocessing.components.cpu().T


def augment(
    records: Any,
    params: AugmentationParams,
    preprocessing: Preprocessing,
    *,
    color_noise: float = 0.0,
    indices: Any = None,
    out: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Crop, mirror, subtract the mean, shift the colors and scale: records → network input.

    Args:
        records: uint8 (M, *record_shape), on the device of `preprocessing.mean`.
        params: crop, mirroring and color shift of each of the N images of the batch.
        preprocessing: the crop size, the mean and the scale.
        color_noise: the result is divided by 1 + color_noise. The 2012 code does this in training,
            and not in testing.
        indices: the index of the record of each of the N images, int64 (N,); by default 0 … N - 1.
        out: memory for the result.
        dtype: type of the result.

    Returns (N, 3, crop, crop), channels_last.
    """
    mean_offsets = (
        None
        if preprocessing.mean_at == "pixel"
        else torch.full_like(params.tops, preprocessing.center_offset)
    )
    return crop(
        records,
        torch.arange(len(params.tops)) if indices is None else indices,
        size=preprocessing.crop,
        side=preprocessing.side,
        tops=params.tops,
        lefts=params.lefts,
        flips=params.flips,
        shifts=params.shifts,
        scale=preprocessing.pixel_scale / (1 + color_noise),
        mean=preprocessing.mean,
        mean_tops=mean_offsets,
        mean_lefts=mean_offsets,
        pixels=preprocessing.pixels,
        out=out,
        dtype=dtype,
    )
