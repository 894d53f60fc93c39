"""The small values of a recipe that are written as texts: factors, decays and variations.

    RateFactor   0.1@25   conv1=0.1@67   conv1=0   1     factors on the learning rate
    LayerDecay   fc8=0.01                                the weight decay of one layer
    Variation    unit=tanh   without=conv3,conv4         a variation of the network

Each class reads its text with `parse` and writes it with `str`. Texts are what a user types, what
`recipe.json` and checkpoints contain and what Python code may hand to `Recipe`; everywhere else
these are values. `Recipe` and the modules that use its fields import this. It imports no torch and
nothing of this package.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal

LAYER, NUMBER = r"[A-Za-z]\w*", r"[\d.eE+-]+"


@dataclass(frozen=True)
class RateFactor:
    """A factor on the learning rate from some epoch on, of one layer or of all.

    The text is FACTOR@EPOCH or LAYER=FACTOR@EPOCH; without @EPOCH, it holds from the beginning.
    """

    factor: float
    epoch: float = 0.0
    """The factor holds once this many epochs are done; fractions count parts of an epoch."""
    layer: str = ""
    """The layer that it is for. Empty: the whole network."""

    def __post_init__(self) -> None:
        """Raise ValueError for a factor that is negative or infinite, or such an epoch."""
        for number in (self.factor, self.epoch):
            if not 0 <= number < math.inf:
                raise ValueError(f"{number} is no factor or epoch: it has to be 0 or more")

    @classmethod
    def parse(cls, text: str) -> RateFactor:
        """Return the factor that a text describes. Raises ValueError if it describes none."""
        match = re.fullmatch(rf"(?:({LAYER})=)?({NUMBER})(?:@([\d.]+))?", text)
        try:
            layer, factor, epoch = match.groups() if match else ("", "none", "")
            return cls(float(factor), float(epoch or 0), layer or "")
        except ValueError:
            raise ValueError(
                f"{text!r} is no factor of a rate: write FACTOR@EPOCH or LAYER=FACTOR@EPOCH, "
                "as in 0.1@25 or conv1=0.1@25"
            ) from None

    def __str__(self) -> str:
        layer = f"{self.layer}=" if self.layer else ""
        epoch = f"@{write_number(self.epoch)}" if self.epoch else ""
        return f"{layer}{write_number(self.factor)}{epoch}"


@dataclass(frozen=True)
class LayerDecay:
    """The weight decay of one layer, instead of the recipe's. The text is LAYER=DECAY."""

    layer: str
    decay: float

    @classmethod
    def parse(cls, text: str) -> LayerDecay:
        """Return the decay that a text describes. Raises ValueError if it describes none.

        An @EPOCH at the end is read over: it never had an effect, but old files may contain it.
        """
        try:
            found = RateFactor.parse(text)
        except ValueError:
            found = None
        if found is None or not found.layer:
            raise ValueError(f"{text!r} is no decay of a layer: write LAYER=DECAY, as in fc8=0.01")
        return cls(found.layer, found.factor)

    def __str__(self) -> str:
        return f"{self.layer}={write_number(self.decay)}"


@dataclass(frozen=True)
class Variation:
    """A variation of the network. The text is NAME=VALUE.

    The value stays a text here, because only the network knows its type: `nets.variations` reads
    it when the network is built.
    """

    name: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Variation:
        """Return the variation that a text describes. Raises ValueError if it describes none."""
        if not re.fullmatch(r"\w+=\S+", text):
            raise ValueError(f"{text!r} is no variation: write NAME=VALUE, as in unit=tanh")
        name, value = text.split("=", 1)
        return cls(name, value)

    def __str__(self) -> str:
        return f"{self.name}={self.value}"


def write_number(number: float) -> str:
    """Return the shortest text that reads as this number, without an exponent: 25, 0.00001."""
    return format(Decimal(repr(float(number))), "f").removesuffix(".0")


def make_factors(changes: dict[float, float], layer: str = "") -> tuple[RateFactor, ...]:
    """Return the factors of a layer, or of the whole network, from {epoch: factor}."""
    return tuple(RateFactor(factor, epoch, layer) for epoch, factor in changes.items())
