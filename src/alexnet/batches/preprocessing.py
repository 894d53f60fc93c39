"""Preprocessing: the settings and arrays that turn the records of a pack into network input.

A `Preprocessing` is made once from a pack and a recipe and is then saved with the weights: in every
checkpoint and in every exported file. The arithmetic itself is in `augment.augment`. The names of
the fields are part of the checkpoint format.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from alexnet.images.records import Format
from alexnet.images.resizing import Fit
from alexnet.packs.pack import Pack
from alexnet.recipes.recipe import LARGEST_SCALE, MeanAt, Recipe
from alexnet.validate import Range, check

LARGEST_SIDE = 1 << 14
"""The largest side of a packed image that is accepted from a file, in pixels."""


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """The settings and arrays that turn packed images into network input.

    Each output value is ``(pixel - mean + color shift) * pixel_scale`` within a crop of the image
    (section 2: the mean image is subtracted; section 4.1: crops and color shifts).
    """

    side: int
    """Side of a packed image in pixels: 256 in the paper."""
    crop: int
    """Side of the crop that the network is given, in pixels: 224 in the paper."""
    fit: Fit
    """How an image that is not square was brought to `side`: crop, pad or squash."""
    pixels: Format
    """How the records store pixels: rgb or yuv420."""
    pixel_scale: float
    """The factor that pixels are multiplied by after the subtraction of the mean."""
    mean: Tensor = field(repr=False)
    """Mean image of the training split: float32 (side, side, 3), from 0 to 255."""
    components: Tensor = field(repr=False)
    """Principal components of the RGB values of the training pixels: float32 (3, 3), one component
    per column."""
    deviations: Tensor = field(repr=False)
    """Standard deviations along the components: float32 (3,), in gray levels."""
    mean_at: MeanAt = "pixel"
    """Which part of the mean image is subtracted from a crop: the part at the crop's own position
    (`pixel`), or always the central part (`center`, as in the 2012 code)."""
    upright: bool = False
    """Whether images are rotated as their EXIF orientation says. Packs made before this option
    existed never rotated images."""

    @classmethod
    def of(cls, pack: Pack, recipe: Recipe) -> Preprocessing:
        """Make the preprocessing of a training with `recipe` on `pack`.

        Raises ValueError if the crop is larger than the packed images.
        """
        if recipe.crop > pack.size:
            raise ValueError(
                f"the recipe cuts {recipe.crop}×{recipe.crop} pixels out of images, but those of "
                f"{pack.path} are {pack.size}×{pack.size}. Say --crop {pack.size * 7 // 8}, or "
                f"pack with --size {recipe.crop * 8 // 7}"
            )
        mean = torch.from_numpy(np.array(pack.mean, np.float32))
        return cls(
            side=pack.size,
            crop=recipe.crop,
            fit=pack.facts["fit"],
            pixels=pack.pixels,
            pixel_scale=recipe.pixel_scale,
            mean=mean if recipe.subtract_mean else torch.zeros_like(mean),
            components=torch.from_numpy(pack.components.astype(np.float32)),
            deviations=torch.from_numpy(pack.deviations.astype(np.float32)),
            mean_at=recipe.mean_at,
            upright=pack.facts.get("upright", False),
        )

    @property
    def max_offset(self) -> int:
        """The largest row or column at which a crop can begin.

        It is 32 for crops of 224 from images of 256 pixels, which gives 33 × 33 crops. (The paper
        counts 32 × 32 = 1024 of them.)
        """
        return self.side - self.crop

    @property
    def center_offset(self) -> int:
        """The row and the column at which the central crop begins."""
        return self.max_offset // 2

    def to(self, device: torch.device) -> Preprocessing:
        """Return a copy whose tensors are on `device`."""
        moved: dict[str, Any] = {k: v.to(device) for k, v in self.tensors().items()}
        return replace(self, **moved)

    @classmethod
    def restore(
        cls, settings: dict[str, Any], tensors: dict[str, Tensor], place: str = "preprocessing"
    ) -> Preprocessing:
        """Rebuild a Preprocessing from the results of `settings()` and `tensors()`.

        Both may come from a damaged file. Raises ValueError, naming `place`, for values that a
        Preprocessing cannot have.
        """
        kept: _Settings = check(settings, _Settings, place)
        shapes = {"mean": (kept.side, kept.side, 3), "components": (3, 3), "deviations": (3,)}
        found = {name: (tuple(x.shape), x.dtype) for name, x in tensors.items()}
        wanted = {name: (shape, torch.float32) for name, shape in shapes.items()}
        if found != wanted:
            raise ValueError(f"{place} holds the tensors {found}, not {wanted}")
        if not all(bool(x.isfinite().all()) for x in tensors.values()):
            raise ValueError(f"{place} holds numbers that are not finite")
        fields: dict[str, Any] = {**vars(kept), **tensors}
        return cls(**fields)

    def settings(self) -> dict[str, Any]:
        """Return the fields that are not tensors, by name."""
        return {k: v for k, v in vars(self).items() if not isinstance(v, Tensor)}

    def tensors(self) -> dict[str, Tensor]:
        """Return the fields that are tensors, by name."""
        return {k: v for k, v in vars(self).items() if isinstance(v, Tensor)}


@dataclass(frozen=True)
class _Settings:
    """The fields of a Preprocessing that are not tensors, with the limits that `check` enforces."""

    side: Annotated[int, Range(1, LARGEST_SIDE)]
    crop: Annotated[int, Range(1, LARGEST_SIDE)]
    fit: Fit
    pixels: Format
    pixel_scale: Annotated[float, Range(0, LARGEST_SCALE)]
    mean_at: MeanAt = "pixel"
    upright: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a crop that is larger than the image."""
        if self.crop > self.side:
            raise ValueError(
                f"the crop has {self.crop} pixels a side, but packed images have {self.side}"
            )
