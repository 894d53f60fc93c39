"""From packed pixels to what a network sees: chance in one place, arithmetic in another.

Every draw of an epoch comes from one counter-based generator keyed by (seed, epoch), so that what
happens to the image at a position depends on nothing else: not on workers, devices or resuming.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.images.records import Fit, Format
from alexnet.kernels import crop as cut
from alexnet.packs.pack import Pack
from alexnet.recipes.recipe import LARGEST_SCALE, MeanAt, Recipe
from alexnet.validate import Range, check

VIEWS = 1, 5, 10
LARGEST_SIDE = 1 << 14
"""Pixels a side of a packed image, at most."""


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """How packed images become inputs. Travels with the weights, in every checkpoint."""

    side: int
    """Side of a packed image in pixels."""
    crop: int
    """Side of what the network sees."""
    fit: Fit
    """How an image of another shape was brought to `side`: crop, pad or squash."""
    pixels: Format
    """rgb or yuv420: how the training pack stored them."""
    pixel_scale: float
    mean: Tensor = field(repr=False)
    """side side 3 float32, subtracted pixel by pixel."""
    components: Tensor = field(repr=False)
    """3 3 float32: principal components of the training pixels' colors, as columns."""
    deviations: Tensor = field(repr=False)
    """3 float32: standard deviations along them, in gray levels."""
    mean_at: MeanAt = "pixel"
    """Whether every pixel loses its own mean, or every crop the mean of the center."""
    upright: bool = False
    """Whether images are turned as their EXIF orientation says. Earlier packs never were."""

    @classmethod
    def of(cls, pack: Pack, recipe: Recipe) -> Preprocessing:
        """What `recipe` does with the images of `pack`.

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
            fit=pack.metadata["fit"],
            pixels=pack.pixels,
            pixel_scale=recipe.pixel_scale,
            mean=mean if recipe.subtract_mean else torch.zeros_like(mean),
            components=torch.from_numpy(pack.components.astype(np.float32)),
            deviations=torch.from_numpy(pack.deviations.astype(np.float32)),
            mean_at=recipe.mean_at,
            upright=pack.metadata.get("upright", False),
        )

    @property
    def room(self) -> int:
        """The largest offset of a crop: 32 for 224 of 256 pixels, so 33 places each way."""
        return self.side - self.crop

    def to(self, device: torch.device) -> Preprocessing:
        """The same with its tensors on `device`."""
        moved: dict[str, Any] = {k: v.to(device) for k, v in self.tensors().items()}
        return replace(self, **moved)

    @classmethod
    def restore(
        cls, settings: dict[str, Any], tensors: dict[str, Tensor], place: str = "preprocessing"
    ) -> Preprocessing:
        """Rebuild it from the results of `settings()` and `tensors()`, which may come from a file.

        Raises ValueError, naming `place`, for values that cannot be.
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
        """The fields that are not tensors."""
        return {k: v for k, v in vars(self).items() if not isinstance(v, Tensor)}

    def tensors(self) -> dict[str, Tensor]:
        """The fields that are."""
        return {k: v for k, v in vars(self).items() if isinstance(v, Tensor)}


@dataclass(frozen=True)
class _Settings:
    """The fields of a Preprocessing that are not tensors, with their limits."""

    side: Annotated[int, Range(1, LARGEST_SIDE)]
    crop: Annotated[int, Range(1, LARGEST_SIDE)]
    fit: Fit
    pixels: Format
    pixel_scale: Annotated[float, Range(0, LARGEST_SCALE)]
    mean_at: MeanAt = "pixel"
    upright: bool = False

    def __post_init__(self) -> None:
        if self.crop > self.side:
            raise ValueError(f"crops of {self.crop} pixels a side out of images of {self.side}")


@dataclass(frozen=True, eq=False)
class Draw:
    """What chance decided for N images."""

    tops: Tensor
    """N int64: rows above the crop."""
    lefts: Tensor
    """N int64: columns left of it."""
    flips: Tensor
    """N bool: mirrored or not."""
    shifts: Tensor
    """N 3 float32: what is added to red, green and blue, in gray levels."""

    def __getitem__(self, at: slice) -> Draw:
        return Draw(self.tops[at], self.lefts[at], self.flips[at], self.shifts[at])

    def to(self, device: torch.device) -> Draw:
        """The same on `device`."""
        return Draw(*(x.to(device) for x in (self.tops, self.lefts, self.flips, self.shifts)))


def generator(seed: int, epoch: int, purpose: int) -> np.random.Generator:
    """The generator of one epoch for one purpose, the same on every machine."""
    return np.random.Generator(np.random.Philox(key=[seed, (epoch << 8) | purpose]))


def order(seed: int, epoch: int, images: int) -> NDArray[np.int64]:
    """The images in the order of this epoch: a permutation, N."""
    return generator(seed, epoch, 0).permutation(images)


def draws(recipe: Recipe, epoch: int, images: int, preprocessing: Preprocessing) -> Draw:
    """What happens to the image at every position of this epoch, before anyone looks at it."""
    chance = generator(recipe.seed, epoch, 1)
    alike = np.arange(images) // recipe.chunk * recipe.chunk  # the first of each image's chunk
    places = chance.integers(0, preprocessing.room + 1, (2, images))[:, alike]
    mirrored = (chance.random(images) < 0.5)[alike]
    noise = np.float32(recipe.noise_in(epoch))
    steps = chance.standard_normal((images, 3), np.float32) * noise
    if not recipe.random_crop:
        places = np.full_like(places, preprocessing.room // 2)
    tops, lefts = torch.from_numpy(places)
    flips = torch.from_numpy(mirrored & recipe.flip)
    return Draw(tops, lefts, flips, color_shifts(torch.from_numpy(steps), preprocessing))


def color_shifts(steps: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Steps along the components (N 3, in their standard deviations) → shifts of R, G, B (N 3).

    The 2012 code's formula: components · (deviations ∘ steps). The paper prints eigenvalues, which
    are the squares of the deviations (section 4.1).
    """
    return (steps * preprocessing.deviations.cpu()) @ preprocessing.components.cpu().T


def same_view(images: int, top: int, left: int, flip: bool = False) -> Draw:
    """One view of N images, with no chance in it."""
    return Draw(
        torch.full((images,), top),
        torch.full((images,), left),
        torch.full((images,), flip),
        torch.zeros(images, 3),
    )


def center_view(images: int, room: int) -> Draw:
    """The central crop of N images."""
    return same_view(images, room // 2, room // 2)


def ten_views(images: int, room: int) -> Iterator[Draw]:
    """The ten views of section 4.1 in the order of the 2012 code.

    Top left, top right, center, bottom left, bottom right; then the same five mirrored.
    """
    middle = room // 2
    for flip in (False, True):
        for top, left in (0, 0), (0, room), (middle, middle), (room, 0), (room, room):
            yield same_view(images, top, left, flip)


def chosen_views(n_views: int, images: int, room: int) -> list[Draw]:
    """1 view: the center; 10: those of section 4.1; 5: the same unmirrored, for text and digits.

    Raises ValueError for another number.
    """
    if n_views == 1:
        return [center_view(images, room)]
    if n_views not in VIEWS:
        raise ValueError(f"{n_views} views: there are 1 (center), 5 and 10 (section 4.1)")
    return list(ten_views(images, room))[:n_views]


def augment(
    records: Any,
    draw: Draw,
    preprocessing: Preprocessing,
    *,
    color_noise: float = 0.0,
    indices: Any = None,
    out: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Cut, mirror, subtract the mean, shift the colors: uint8 N side side 3 → float N 3 crop crop.

    With `color_noise` c the result is divided by 1 + c, as the 2012 code divides it while training
    (and does not while testing). No chance is involved: `draw` holds what was decided.
    """
    middle = (
        None
        if preprocessing.mean_at == "pixel"
        else torch.full_like(draw.tops, preprocessing.room // 2)
    )
    return cut(
        records,
        torch.arange(len(draw.tops)) if indices is None else indices,
        size=preprocessing.crop,
        side=preprocessing.side,
        tops=draw.tops,
        lefts=draw.lefts,
        flips=draw.flips,
        shifts=draw.shifts,
        scale=preprocessing.pixel_scale / (1 + color_noise),
        mean=preprocessing.mean,
        mean_tops=middle,
        mean_lefts=middle,
        pixels=preprocessing.pixels,
        out=out,
        dtype=dtype,
    )
