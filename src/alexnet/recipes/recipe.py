"""One training, described whole, and the trainings that have a name.

Nothing here imports torch: the command line reads this file to print its help.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from alexnet.recipes import lab_notes
from alexnet.validate import check

Schedule = Literal["plateau", "steps", "discrete", "exponential", "cosine", "constant"]
Initialization = Literal["printed", "variance"]
MeanAt = Literal["pixel", "center"]


class Step(NamedTuple):
    """A factor that holds from an epoch on: `conv1=0.1@67`, `0.1@25`, `conv1=0`."""

    layer: str
    """Empty where no layer is named."""
    factor: float
    epoch: float
    """How many epochs are done when it begins to hold; 0 where none is named."""

    @classmethod
    def of(cls, text: str) -> Step:
        """The step of its text. Raises ValueError for another."""
        match = re.fullmatch(r"(?:([A-Za-z]\w*)=)?([\d.eE+-]+)(?:@([\d.]+))?", text)
        try:
            layer, factor, epoch = match.groups() if match else ("", "none", "0")
            step = cls(layer or "", float(factor), float(epoch or 0))
        except ValueError:
            step = cls("", -1.0, 0.0)
        if step.factor < 0:
            raise ValueError(f"{text!r} is no step: write FACTOR@EPOCH or LAYER=FACTOR@EPOCH")
        return step


@dataclass(frozen=True)
class Recipe:
    """A training run: network, initialization, augmentation, update rule and schedule.

    The defaults are the paper's, as printed (sections 4 and 5).
    """

    network: str = "alexnet"
    """Which network: `alexnet networks` lists them."""
    variations: tuple[str, ...] = ()
    """What is varied in it, as in `unit=tanh towers=1 norm=no overlap=no without=conv3,conv4`."""
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
    """Pull of every weight towards zero, times the learning rate."""
    decays: tuple[str, ...] = ()
    """Layers with a weight decay of their own: `fc8=0.01`."""
    decay_biases: bool = False
    """Let biases decay as weights do."""
    schedule: Schedule = "plateau"
    """`plateau`: divide the rate when the validation error stops improving. `steps`: as `--steps`
    says. `discrete`: divide it at even distances. `exponential`: as much, without steps. `cosine`:
    down to zero at the last step (arXiv 1608.03983). `constant`: leave it."""
    drops: int = 3
    """How often `plateau` and `discrete` divide the rate."""
    drop_factor: float = 10.0
    """By how much they divide it each time; `exponential` divides it as much in all."""
    patience: int = 8
    """Epochs without a lower validation error before `plateau` divides the rate."""
    steps: tuple[str, ...] = ()
    """What `steps` multiplies the rate by, from which epoch on: `0.1@25 0.01@51`."""
    rates: tuple[str, ...] = ()
    """Layers whose weights have a rate of their own, as a factor, from an epoch on: `conv1=0.1
    conv1=0@72`. 0 freezes a layer, biases and all: no gradient, momentum or decay."""
    bias_rate: float = 1.0
    """What the rate is multiplied by for biases; the 2012 code has 2."""
    bias_steps: tuple[str, ...] = ()
    """Steps for the biases alone, which then keep to no schedule: `1` never lowers their rate."""
    warmup_epochs: float = 0.0
    """Epochs over which the rate climbs from zero."""

    crop: int = 224
    """Side in pixels of the square cut out of every packed image."""
    random_crop: bool = True
    """Cut at a random place (section 4.1), else in the center."""
    flip: bool = True
    """Mirror one image in two (section 4.1)."""
    chunk: int = 1
    """How many images in a row are cut and mirrored alike; 32 in the 2012 code."""
    subtract_mean: bool = True
    """Subtract the mean of the training images, pixel by pixel (section 2)."""
    mean_at: MeanAt = "pixel"
    """Which part of the mean image: what lies under the crop (`pixel`), or always the `center`, as
    in the 2012 code."""
    color_noise: float = 0.1
    """Standard deviation of the shifts along the principal components of the colors, in standard
    deviations of the components (section 4.1, as the 2012 code computes it). 0: none."""
    noise_until: int | None = None
    """After how many epochs the color noise ends; the 2012 code's end before the last drops."""
    pixel_scale: float = 1.0
    """What pixels (0 to 255, less the mean) are multiplied by on their way into the network."""

    seed: int = 0
    """Everything random follows from it: weights, order, crops, colors, dropout."""

    def __post_init__(self) -> None:
        """Raise ValueError for a value that no training can use."""
        for name in POSITIVE:
            _require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        for name in NOT_NEGATIVE:
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("momentum", "dropout"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "in [0, 1)")
        for name in ("patience", "chunk"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        for name, most in MOST.items():
            _require(getattr(self, name) <= most, name, getattr(self, name), f"{most} or less")
        self._check_texts()

    def _check_texts(self) -> None:
        for name in ("rates", "decays", "steps", "bias_steps"):
            for text in getattr(self, name):
                named = Step.of(text).layer != ""
                wanted = "LAYER=FACTOR" if name in ("rates", "decays") else "FACTOR@EPOCH"
                _require(named == ("LAYER" in wanted), name, text, wanted)
        for text in self.variations:
            _require(re.fullmatch(r"\w+=\S+", text), "variations", text, "NAME=VALUE")
        if self.schedule == "steps" and not self.steps:
            raise ValueError("the schedule `steps` has none; say --steps 0.1@25 0.01@51")

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
        found: Recipe = check(fields, cls, "recipe")
        return found

    def noise_in(self, epoch: int) -> float:
        """The color noise of an epoch, from 0."""
        over = self.noise_until is not None and epoch >= self.noise_until
        return 0.0 if over else self.color_noise

    def differences(self, other: Recipe) -> dict[str, tuple[Any, Any]]:
        """The fields in which two recipes differ: name → (mine, theirs)."""
        mine, theirs = self.to_dict(), other.to_dict()
        return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}


POSITIVE = "epochs", "batch_size", "crop", "learning_rate", "pixel_scale", "drop_factor"
NOT_NEGATIVE = "weight_decay", "color_noise", "warmup_epochs", "drops", "bias_rate", "seed"

LARGEST_SCALE = 1e6
MOST = {
    "epochs": 1 << 20,
    "batch_size": 1 << 20,
    "crop": 1 << 14,
    "drops": 1000,
    "pixel_scale": LARGEST_SCALE,
    "learning_rate": 1e30,
    "seed": 2**63 - 1,
}
"""What no training needs more of: larger numbers are mistakes, and would end in overflows."""


def _require(holds: object, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value}; it has to be {wanted}")


RECIPES: dict[str, Recipe] = {
    "paper": Recipe(),
    "small": Recipe(
        initialization="variance",
        schedule="cosine",
        warmup_epochs=1.0,
        epochs=30,
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
    **{name: Recipe(**fields) for name, fields in lab_notes.TRAININGS.items()},
}
"""Trainings by name. `alexnet train` prints in what the one it uses departs from the paper."""

DIGITS = "digits", "mnist"

SMALLEST_PHOTOGRAPH = 64
"""Packs of a smaller side hold small pictures, which the large network cannot take."""

FEW_IMAGES = 100_000
"""Under so many training images the printed initialization is slow to leave ln(classes)."""


def packed_side(crop: int) -> int:
    """The side at which photographs are packed for crops of this side: 256 for 224."""
    return crop * 8 // 7


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
