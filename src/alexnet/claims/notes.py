"""What the lab notes of the 2012 code record for the networks of the paper's comparisons."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """A finished training in the notes: ten views, shares of the images."""

    recipe: str
    """Its training by name."""
    what: str
    data: str
    loss: float
    top1: float
    top5: float


NOTES = {
    "145-2010": Note(
        "original-145-2010", "the paper's", "ILSVRC-2010 test", 1.614660, 0.374727, 0.169987
    ),
    "145-half": Note(
        "original-145-half", "one tower", "ILSVRC-2010 test", 1.702802, 0.391680, 0.182287
    ),
    "145": Note("original-145", "the paper's", "ILSVRC-2012 val", 1.741473, 0.406640, 0.182100),
    "147": Note(
        "original-147", "pools that do not overlap", "ILSVRC-2012 val", 1.757644, 0.410580, 0.185100
    ),
    "148": Note("original-148", "no norms", "ILSVRC-2012 val", 1.822358, 0.420340, 0.193620),
    "150": Note(
        "original-150",
        "towers that never meet before fc8",
        "ILSVRC-2012 val",
        1.811173,
        0.418280,
        0.193300,
    ),
}


def gained(worse: str, better: str, top: int) -> float:
    """Points of top-1 or top-5 error between two networks of the notes."""
    errors = [(NOTES[name].top1, NOTES[name].top5)[top > 1] for name in (worse, better)]
    return 100 * (errors[0] - errors[1])


def baseline(name: str) -> str:
    """The network of the notes that another is compared with: the paper's, on the same images."""
    return "145-2010" if "2010" in NOTES[name].data else "145"
