"""One training, described whole, and the trainings that have a name.

Nothing here imports torch: the command line reads this file to print its help.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

Schedule = Literal["plateau", "cosine", "constant"]
Initialization = Literal["printed", "variance"]


@dataclass(frozen=True)
class Recipe:
    """A training run: network, initialization, augmentation, update rule and schedule.

    The defaults are the paper's, as printed (sections 4 and 5).
    """

    network: str = "alexnet"
    """Which network: `alexnet networks` lists them."""
    initialization: Initialization = "printed"
    """`printed`: the paper's Gaussians (section 5). `variance`: Gaussians that keep the variance
    of the activations from layer to layer (arXiv 1502.01852), biases zero."""
    dropout: float = 0.5
    """Share of the units of fc6 and fc7 that a training step silences (section 4.2)."""

    epochs: int = 90
    """Passes through the training images."""
    batch_size: int = 128
    """Images a step."""
    learning_rate: float = 0.01
    """The rate at the start (after the warm-up, where there is one)."""
    momentum: float = 0.9
    """Share of the last step that the next one keeps."""
    weight_decay: float = 0.0005
    """Pull of every weight towards zero, times the learning rate. Biases do not decay."""
    schedule: Schedule = "plateau"
    """`plateau`: divide the rate when the validation error stops improving. `cosine`: down to zero
    at the last step (arXiv 1608.03983). `constant`: leave it."""
    drops: int = 3
    """How often `plateau` divides the rate."""
    drop_factor: float = 10.0
    """By how much `plateau` divides it."""
    patience: int = 8
    """Epochs without a lower validation error before `plateau` divides the rate."""
    warmup_epochs: float = 0.0
    """Epochs over which the rate climbs from zero."""

    crop: int = 224
    """Side in pixels of the square cut out of every packed image."""
    random_crop: bool = True
    """Cut at a random place (section 4.1), else in the center."""
    flip: bool = True
    """Mirror one image in two (section 4.1)."""
    subtract_mean: bool = True
    """Subtract the mean of the training images, pixel by pixel (section 2)."""
    color_noise: float = 0.1
    """Standard deviation of the shifts along the principal components of the colors, in standard
    deviations of the components (section 4.1, as the 2012 code computes it). 0: none."""
    pixel_scale: float = 1.0
    """What pixels (0 to 255, less the mean) are multiplied by on their way into the network."""

    seed: int = 0
    """Everything random follows from it: weights, order, crops, colors, dropout."""

    def __post_init__(self) -> None:
        """Raise ValueError for a value that no training can use."""
        for name in ("epochs", "batch_size", "crop", "learning_rate", "pixel_scale", "drop_factor"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        for name in ("weight_decay", "color_noise", "warmup_epochs", "drops", "seed"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("momentum", "dropout"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "in [0, 1)")
        _require(self.patience >= 1, "patience", self.patience, "1 or more")

    def to_dict(self) -> dict[str, Any]:
        """Every field by name, as it stands in `recipe.json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Recipe:
        """The recipe of such a dictionary. Raises ValueError for a field that does not exist."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(fields) - known):
            raise ValueError(
                f"a recipe has no {', '.join(unknown)}; it has {', '.join(sorted(known))}"
            )
        return cls(**fields)

    def differences(self, other: Recipe) -> dict[str, tuple[Any, Any]]:
        """The fields in which two recipes differ: name → (mine, theirs)."""
        mine, theirs = self.to_dict(), other.to_dict()
        return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}


def _require(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value}; it has to be {wanted}")


RECIPES: dict[str, Recipe] = {
    "paper": Recipe(),
    "small": Recipe(
        initialization="variance",
        schedule="cosine",
        warmup_epochs=1.0,
        batch_size=64,
        pixel_scale=1 / 64,
    ),
    "cifar": Recipe(
        network="cifar",
        initialization="variance",
        crop=32,
        dropout=0.0,
        color_noise=0.0,
        epochs=10,
        learning_rate=0.02,
        schedule="cosine",
        warmup_epochs=0.5,
        pixel_scale=1 / 64,
    ),
    "digits": Recipe(
        network="cifar",
        initialization="variance",
        crop=28,
        dropout=0.0,
        color_noise=0.0,
        flip=False,
        epochs=20,
        batch_size=32,
        learning_rate=0.02,
        schedule="cosine",
        warmup_epochs=1,
        pixel_scale=1 / 64,
    ),
}
"""Trainings by name. `alexnet train` prints in what the one it uses departs from the paper."""

DIGITS = "digits", "mnist"

SMALLEST_PHOTOGRAPH = 64
"""Packs of a smaller side hold small pictures, which the large network cannot take."""

FEW_IMAGES = 100_000
"""Under so many training images the printed initialization is slow to leave ln(classes)."""


def recommend(kind: str, size: int, images: int, validation: bool) -> tuple[str, str]:
    """The recipe for a pack, and why: (name, reason).

    `kind` is that of its source; it has `images` training images of `size`×`size`.
    """
    if kind in DIGITS:
        return "digits", "the images are digits, which have a right way round"
    if size < SMALLEST_PHOTOGRAPH:
        return "cifar", f"the images are {size}×{size}"
    if images < FEW_IMAGES:
        return "small", f"{images:,} training images are few, and the printed start is slow there"
    if not validation:
        return "small", "there are no validation images, which the printed schedule needs"
    return "paper", f"{images:,} training images"
