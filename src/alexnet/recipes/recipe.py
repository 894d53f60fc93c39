"""`Recipe`: all that decides a training besides its images, in one frozen dataclass.

A recipe holds the network and its variations, the initialization, the augmentation, the update
rule and the schedule. The command line, a run's `recipe.json` and every checkpoint describe a
training by these fields; `recipes.named` has the recipes with a name. Whatever trains, loads or
builds a network imports this module. It must not import torch: the command line reads it to print
its help, which shows the text below each field.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from alexnet.recipes.factors import LayerDecay, RateFactor, Variation
from alexnet.validate import check

Schedule = Literal["plateau", "steps", "discrete", "exponential", "cosine", "constant"]
Initialization = Literal["printed", "variance"]
MeanAt = Literal["pixel", "center"]

TEXTS: dict[str, type[RateFactor] | type[LayerDecay] | type[Variation]] = {
    "variations": Variation,
    "decays": LayerDecay,
    "steps": RateFactor,
    "rates": RateFactor,
    "bias_steps": RateFactor,
}
"""Fields whose values may be given as texts and are written as texts; what each text describes."""

POSITIVE = "epochs", "batch_size", "crop", "learning_rate", "pixel_scale", "drop_factor"
NOT_NEGATIVE = (
    *("weight_decay", "color_noise", "warmup_epochs", "drops", "bias_rate", "seed"),
    "fc_period",
)

LARGEST_SCALE = 1e6
LARGEST = {
    "epochs": 1 << 20,
    "batch_size": 1 << 20,
    "slices": 4096,
    "fc_period": 4096,
    "crop": 1 << 14,
    "drops": 1000,
    "patience": 1 << 20,
    "chunk": 1 << 20,
    "pixel_scale": LARGEST_SCALE,
    "learning_rate": 1e30,
    "seed": 2**63 - 1,
}
"""The largest values that are accepted. Larger ones are mistakes, and would overflow somewhere."""


@dataclass(frozen=True)
class Recipe:
    """A training described whole: network, initialization, augmentation, update rule, schedule.

    The defaults are the paper's, as printed (sections 4 and 5). `variations`, `decays`, `steps`,
    `rates` and `bias_steps` may also be given as texts: `Recipe(schedule="steps",
    steps=("0.1@25",))` holds `RateFactor(0.1, epoch=25)`. Raises ValueError for a value that no
    training can use.

    >>> alexnet.Recipe(epochs=3, batch_size=32)
    Recipe(epochs=3, batch_size=32)
    >>> small = alexnet.RECIPES["small"]
    >>> dataclasses.replace(small, epochs=3).learning_rate
    0.01
    """

    network: str = "alexnet"
    """Name of the network; `alexnet networks` lists them."""
    variations: tuple[Variation, ...] = ()
    """Variations of the network, as NAME=VALUE: `unit=tanh towers=1 norm=no overlap=no
    without=conv3,conv4`."""
    initialization: Initialization = "printed"
    """Distribution of the first weights. `printed`: the paper's Gaussians (section 5). `variance`:
    Gaussians that keep the variance of the activations from layer to layer (arXiv 1502.01852),
    with biases of zero."""
    dropout: float = 0.5
    """Probability with which a training step sets a unit of fc6 or fc7 to zero (section 4.2)."""

    epochs: int = 90
    """Number of passes through the training images."""
    batch_size: int = 128
    """Number of images in one step of training."""
    slices: int = 1
    """Number of slices of a batch, a power of two. Several processes share them (`--devices`), and
    the results are the same on any number of processes that divides it."""
    fc_period: int = 0
    """With `--devices hybrid`: after how many slices the fully connected layers are updated. 0:
    once a batch, as all other layers; 1: after each slice, as in arXiv 1404.5997."""
    learning_rate: float = 0.01
    """Learning rate at the start, or after the warm-up if there is one."""
    momentum: float = 0.9
    """Share of the last update that is added to the next one."""
    weight_decay: float = 0.0005
    """Weight decay: each update subtracts this, times the learning rate, times the weight."""
    decays: tuple[LayerDecay, ...] = ()
    """Weight decays of single layers, as LAYER=DECAY: `fc8=0.01`."""
    decay_biases: bool = False
    """Apply weight decay to biases too."""
    schedule: Schedule = "plateau"
    """How the learning rate changes. `plateau`: divide it when the validation error stops
    improving. `steps`: multiply it by the factors of `--steps`. `discrete`: divide it at evenly
    spaced epochs. `exponential`: let it fall smoothly to the same end. `cosine`: half a cosine
    wave, down to zero at the last step (arXiv 1608.03983). `constant`: never change it."""
    drops: int = 3
    """How many times `plateau` and `discrete` divide the learning rate."""
    drop_factor: float = 10.0
    """What each drop divides the learning rate by; `exponential` divides it by this to the power of
    `--drops` over the whole training."""
    patience: int = 8
    """Number of epochs without a new lowest validation error after which `plateau` divides the
    learning rate."""
    steps: tuple[RateFactor, ...] = ()
    """Factors of the schedule `steps`, as FACTOR@EPOCH: `0.1@25 0.01@51` means a tenth of the first
    learning rate from epoch 25 on and a hundredth from epoch 51 on."""
    rates: tuple[RateFactor, ...] = ()
    """Factors on the learning rate of single layers, as LAYER=FACTOR or LAYER=FACTOR@EPOCH:
    `conv1=0.1 conv1=0@72`. They apply to the biases too, unless `--bias-steps` is given. A factor
    of 0 freezes the layer and its biases: no gradient, momentum or decay."""
    bias_rate: float = 1.0
    """Factor on the learning rate of biases; the 2012 code has 2."""
    bias_steps: tuple[RateFactor, ...] = ()
    """Factors for the biases alone, as FACTOR@EPOCH. If given, biases ignore the schedule and the
    warm-up; `1` alone keeps their rate constant."""
    warmup_epochs: float = 0.0
    """Number of epochs over which the learning rate rises from zero."""

    crop: int = 224
    """Side, in pixels, of the square that is cut out of each packed image."""
    random_crop: bool = True
    """Cut the square at a random place (section 4.1), not at the center."""
    flip: bool = True
    """Mirror each image with a probability of one half (section 4.1)."""
    chunk: int = 1
    """Number of consecutive images that share one crop position and one mirroring; 32 in the 2012
    code."""
    subtract_mean: bool = True
    """Subtract the mean of the training images, pixel by pixel (section 2)."""
    mean_at: MeanAt = "pixel"
    """Part of the mean image that is subtracted: the part at the position of the crop (`pixel`), or
    always the `center`, as in the 2012 code."""
    color_noise: float = 0.1
    """Standard deviation of the random number α (section 4.1). Along each principal component of
    the colors, an image is shifted by α times the standard deviation of that component, as in the
    2012 code. 0: none."""
    noise_until: int | None = None
    """Number of epochs after which the color noise ends; in the 2012 code it ends before the last
    drops of the learning rate."""
    pixel_scale: float = 1.0
    """Factor that pixels (0 to 255, minus the mean) are multiplied by before the first layer."""

    seed: int = 0
    """Seed of everything random: initial weights, order of the images, crops, colors, dropout."""

    def __post_init__(self) -> None:
        """Turn texts into values, and check all values. Raises ValueError."""
        for name in TEXTS:
            values = tuple(_as_value(name, value) for value in getattr(self, name))
            object.__setattr__(self, name, values)  # the way to set a field of a frozen dataclass
        self._check_numbers()
        self._check_factors()

    def _check_numbers(self) -> None:
        for name in POSITIVE:
            _require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        for name in NOT_NEGATIVE:
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        _require((self.noise_until or 0) >= 0, "noise_until", self.noise_until, "0 or more")
        for name in ("momentum", "dropout"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "in [0, 1)")
        for name in ("patience", "chunk", "slices"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        for name, largest in LARGEST.items():
            _require(
                getattr(self, name) <= largest, name, getattr(self, name), f"{largest} or less"
            )

    def _check_factors(self) -> None:
        for factor in self.rates:
            _require(factor.layer, "rates", factor, "LAYER=FACTOR or LAYER=FACTOR@EPOCH")
        for name in ("steps", "bias_steps"):
            for factor in getattr(self, name):
                _require(not factor.layer, name, factor, "FACTOR@EPOCH")
        if self.schedule == "steps" and not self.steps:
            raise ValueError(
                "the schedule `steps` needs factors of the learning rate and epochs: say --steps "
                "0.1@25 0.01@51"
            )

    def __repr__(self) -> str:
        """Return the fields that are not the paper's. Python can evaluate it to an equal recipe."""
        return f"Recipe({', '.join(f'{k}={v!r}' for k, v in self._list_departures().items())})"

    def __str__(self) -> str:
        """Return every field on a line, those that are not the paper's first."""
        departures, fields = self._list_departures(), self.to_dict()
        paper = Recipe().to_dict()
        lines = [f"  {k:<16} {v}   (paper: {paper[k]})" for k, v in departures.items()]
        rest = [f"  {k:<16} {v}" for k, v in fields.items() if k not in departures]
        return "\n".join(("departs from the paper in:", *lines, "and has as the paper:", *rest))

    def _list_departures(self) -> dict[str, Any]:
        """Return the fields that are not the paper's, with their values as in `to_dict`."""
        return {name: value for name, (value, _) in self.differences(Recipe()).items()}

    def to_dict(self) -> dict[str, Any]:
        """Return every field by name, as `recipe.json` has it: the fields of TEXTS as texts."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {name: tuple(map(str, fields[name])) for name in TEXTS}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Recipe:
        """Return the recipe that `to_dict` wrote; fields that are missing have their defaults.

        Raises ValueError for a field that does not exist and for a value of the wrong type.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(fields) - known):
            raise ValueError(
                f"a recipe has no {', '.join(unknown)}; it has {', '.join(sorted(known))}"
            )
        recipe: Recipe = check(fields, cls, "recipe")
        return recipe

    def noise_in(self, epoch: int) -> float:
        """Return the color noise in an epoch; the first epoch is 0."""
        is_over = self.noise_until is not None and epoch >= self.noise_until
        return 0.0 if is_over else self.color_noise

    def differences(self, other: Recipe) -> dict[str, tuple[Any, Any]]:
        """Return the fields that differ: name → (value here, value in `other`), as in `to_dict`."""
        here, there = self.to_dict(), other.to_dict()
        return {name: (here[name], there[name]) for name in here if here[name] != there[name]}


def _as_value(name: str, value: object) -> object:
    """Return a value of a field of TEXTS, parsed if it is a text."""
    kind = TEXTS[name]
    if isinstance(value, kind):
        return value
    _require(isinstance(value, str), name, value, f"a text or a {kind.__name__}")
    try:
        return kind.parse(str(value))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _require(holds: object, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value}; it has to be {wanted}")
