"""The terms of a claim: dataset, training, quantity, claim. All are plain data.

`paper` writes the claims with them; all other modules of this folder read them. Imports nothing of
this package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SeedResult = Mapping[str, Any]
"""The counts of one seed, as they are saved in results/NAME.json.

{"seed": 0, "runs": {role: {"scores": {"10": {"seen": …, "wrong1": …, "wrong5": …}}, …}}}. A role
is the name of a training within its claim.
"""

Statistic = Callable[[SeedResult], float]
"""A function from the counts of one seed to a number."""

Method = Literal["errors", "views", "convergence", "size", "towers", "features"]
"""The way in which a claim is measured: `measuring.METHODS` has a function for each."""


def unknown_margin(seed_result: SeedResult) -> float:
    """Margin of a single seed: infinite, because one seed does not show how much seeds vary."""
    return math.inf


@dataclass(frozen=True)
class Dataset:
    """The images that a claim of the paper is about."""

    name: str
    kind: str
    """The kind of source that its pack was made from, for example "ilsvrc2012"."""
    images: int
    """The number of training images."""
    pack: str
    """The name of its pack in the commands that the table shows."""


@dataclass(frozen=True)
class TrainingSpec:
    """A training that a claim needs. Its recipe is looked up only when the training is made."""

    recipe: str | None = None
    """A named recipe; None for the one that is recommended for the pack."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the recipe that this training changes."""
    start: str | None = None
    """The role whose trained network provides the initial weights; None for random weights."""
    copied_layers: tuple[str, ...] = ()
    """The layers that are copied from `start`; empty for all but the last."""
    pretraining: Dataset | None = None
    """The dataset of a pre-training; None if it trains on the claim's own dataset."""


@dataclass(frozen=True)
class Quantity:
    """One number of a claim, and the numbers that it is compared with (see `verdict`)."""

    name: str
    statistic: Statistic
    """Computes the number from the counts of one seed."""
    paper: float | None
    """The paper's number; None where the paper has words only."""
    tolerance: float = 0.0
    """Largest distance from the paper's number that agrees, on the paper's own dataset."""
    null_value: float | None = None
    """The value that would be measured without the claimed effect: 0 for a difference, 1 for a
    ratio. None if the paper's number is an absolute one, which only its own dataset can confirm."""
    at_least: bool = False
    """Whether the paper says "more than": then no value is too large."""
    format: str = "{:.1f}"
    """The format string that the number is printed with."""
    single_seed_margin: Statistic = unknown_margin
    """Half the width of the 95 % interval of a single seed, where its counts determine it."""
    lab_notes: float | None = None
    """The same number computed from the lab notes of the 2012 code."""


@dataclass(frozen=True)
class Claim:
    """A measurable statement of the paper."""

    number: int
    name: str
    section: str
    statement: str
    quantities: tuple[Quantity, ...]
    """The numbers that are judged."""
    dataset: Dataset | None = None
    """The images that the paper measured it on; None if no images are needed."""
    trainings: Mapping[str, TrainingSpec] = field(default_factory=dict)
    """The trainings by role."""
    ensembles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Maps the name of an ensemble to the roles whose probabilities it averages."""
    method: Method = "errors"
    evaluations: tuple[str, ...] = ("10",)
    """Which errors are counted: a number of views of the claim's split, or "train" for one view of
    the training images."""
    split: str = "val"
    """The split that errors are counted on, if the pack has it; else val."""
    unjudged: tuple[Quantity, ...] = ()
    """Numbers that are printed in addition to those that are judged."""
    remark: str = ""
    """A remark for readers on how it is measured."""

    @property
    def command(self) -> str:
        """The command that measures it on the paper's own dataset."""
        words = ["alexnet claims run", self.name]
        if self.dataset is not None:
            words += ["--pack", self.dataset.pack]
        if self.pretraining:
            words += ["--earlier", *(dataset.pack for dataset in self.pretraining)]
        if self.compares_trainings:
            words += ["--seeds 3"]
        return " ".join(words)

    @property
    def pretraining(self) -> tuple[Dataset, ...]:
        """The datasets of its pre-trainings, in the order of --earlier."""
        datasets = (training.pretraining for training in self.trainings.values())
        return tuple(dict.fromkeys(dataset for dataset in datasets if dataset))

    @property
    def compares_trainings(self) -> bool:
        """Whether it compares trainings, so that one seed cannot tell the effect from noise."""
        judged = any(quantity.null_value is not None for quantity in self.quantities)
        return judged and (len(self.trainings) > 1 or self.method == "convergence")
