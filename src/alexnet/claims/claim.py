"""What a claim is: a statement, the trainings it compares, and how numbers are read from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Record = Mapping[str, Any]
"""What was counted for one seed: {"runs": {role: {"scores": {view: counts}, "history": […]}}}."""

Reading = Callable[[Record], float]
"""How a number is got out of a record."""

Method = Literal["errors", "views", "race", "size", "towers", "features"]
"""How a claim is measured: `measuring.METHODS` has a function for each."""


def unknown(record: Record) -> float:
    """Without a second seed nobody knows what chance does."""
    return math.inf


@dataclass(frozen=True)
class Data:
    """Images that a claim is about."""

    name: str
    kind: str
    """Of the source of its pack."""
    images: int
    """Training images."""
    pack: str
    """What commands call its pack."""


@dataclass(frozen=True)
class Run:
    """A training that a claim needs, told late: names are looked up when it is made."""

    recipe: str | None = None
    """A named recipe; None for the one recommended for the pack."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the recipe that are to be different."""
    start: str | None = None
    """The role whose trained network it begins from."""
    take: tuple[str, ...] = ()
    """The layers it takes from there; by default all but the last."""
    earlier: Data | None = None
    """Images that it trains on before the claim's own; None for the claim's own."""


@dataclass(frozen=True)
class Quantity:
    """One number of a claim."""

    name: str
    read: Reading
    """One seed's record → the number."""
    paper: float | None
    """The paper's figure; None where it has words only."""
    tolerance: float = 0.0
    """How far from the paper's figure a measurement on the paper's data may lie."""
    nothing: float | None = None
    """What would come out if there were nothing in the claim; None where the paper's figure is a
    level, which other images cannot confirm."""
    at_least: bool = False
    """Whether the paper says "more than"."""
    form: str = "{:.1f}"
    """How the number is printed."""
    alone: Reading = unknown
    """The margin of error of a single seed, where its counts tell."""
    notes: float | None = None
    """The same number from the lab notes of the 2012 code."""


@dataclass(frozen=True)
class Claim:
    """A measurable statement of the paper."""

    number: int
    name: str
    section: str
    statement: str
    quantities: tuple[Quantity, ...]
    data: Data | None = None
    """What the paper measured it on; None where no images are needed."""
    runs: Mapping[str, Run] = field(default_factory=dict)
    """Trainings by role."""
    ensembles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Roles whose probabilities are averaged, by the role of their average."""
    method: Method = "errors"
    scores: tuple[str, ...] = ("10",)
    """What errors are counted: with how many views, or "train", on the training images."""
    split: str = "val"
    """Images that the errors are counted on, where the pack has them; else val."""
    asides: tuple[Quantity, ...] = ()
    """Numbers that a reader wants beside those that are judged."""
    remark: str = ""
    """What a reader has to know about how it is measured."""

    @property
    def command(self) -> str:
        """What measures it on the paper's data."""
        words = ["alexnet claims run", self.name]
        if self.data is not None:
            words += ["--pack", self.data.pack]
        if self.earlier:
            words += ["--earlier", *(data.pack for data in self.earlier)]
        if self.compares:
            words += ["--seeds 3"]
        return " ".join(words)

    @property
    def earlier(self) -> tuple[Data, ...]:
        """Images of its pre-trainings, in the order of --earlier."""
        return tuple(dict.fromkeys(run.earlier for run in self.runs.values() if run.earlier))

    @property
    def compares(self) -> bool:
        """Whether it sets trainings side by side, so that one seed cannot tell chance from it."""
        judged = any(q.nothing is not None for q in self.quantities)
        return judged and (len(self.runs) > 1 or self.method == "race")
