"""Errors that the lab notes of the 2012 code record for the networks that the paper compares.

`paper` takes the exact differences from here, `page` prints the table. The recipes of these
trainings are in `alexnet.recipes.lab_notes`. Imports nothing of this package.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LabError:
    """The result of one training in the notes, with ten views."""

    recipe: str
    """The name of its training in `RECIPES`."""
    difference: str
    """The difference from the paper's network, for the table."""
    dataset: str
    loss: float
    """Mean cross-entropy in nats."""
    top1: float
    """Fraction of the images, from 0 to 1."""
    top5: float


LAB_ERRORS = {
    "145-2010": LabError(
        "original-145-2010", "the paper's", "ILSVRC-2010 test", 1.614660, 0.374727, 0.169987
    ),
    "145-half": LabError(
        "original-145-half", "one tower", "ILSVRC-2010 test", 1.702802, 0.391680, 0.182287
    ),
    "145": LabError("original-145", "the paper's", "ILSVRC-2012 val", 1.741473, 0.406640, 0.182100),
    "147": LabError(
        "original-147",
        "pooling windows that do not overlap",
        "ILSVRC-2012 val",
        1.757644,
        0.410580,
        0.185100,
    ),
    "148": LabError(
        "original-148",
        "no response normalization",
        "ILSVRC-2012 val",
        1.822358,
        0.420340,
        0.193620,
    ),
    "150": LabError(
        "original-150",
        "towers that are not connected before fc8",
        "ILSVRC-2012 val",
        1.811173,
        0.418280,
        0.193300,
    ),
}
"""The networks of the notes by the numbers that the notes give them."""


def compute_difference(worse: str, better: str, top: int) -> float:
    """Return by how many points the top-1 or top-5 error of `worse` exceeds that of `better`."""
    errors = [LAB_ERRORS[name] for name in (worse, better)]
    high, low = ((error.top1, error.top5)[top > 1] for error in errors)
    return 100 * (high - low)


def get_baseline(name: str) -> str:
    """Return the paper's network on the same images, with which a network is compared."""
    return "145-2010" if "2010" in LAB_ERRORS[name].dataset else "145"
