"""Getting a claim's numbers out of what was counted for one seed."""

from __future__ import annotations

import math
from typing import Any

from alexnet.claims.claim import Reading, Record

WHOLE = "the network"
"""The role of a network that is alone in its claim."""

Z = 1.96
"""Standard deviations either side that hold 95 % of a normal distribution."""


def counts(record: Record, role: str, scores: str) -> dict[str, Any]:
    """What was counted for a role; `scores` names the views ("1", "10") or "train"."""
    return record["runs"][role]["scores"][scores]


def error(role: str, top: int = 1, scores: str = "10") -> Reading:
    """The top-1 or top-5 error of a role, in percent."""

    def read(record: Record) -> float:
        found = counts(record, role, scores)
        return 100 * found[f"wrong{top}"] / found["seen"]

    return read


def gain(worse: str, better: str, top: int = 1, scores: str = "10") -> Reading:
    """How many points of error `better` is below `worse`."""
    high, low = error(worse, top, scores), error(better, top, scores)
    return lambda record: high(record) - low(record)


def gain_of_views(role: str, top: int = 1) -> Reading:
    """How many points of error ten views are below one."""
    one, ten = error(role, top, "1"), error(role, top, "10")
    return lambda record: one(record) - ten(record)


def overfitting(without: str, with_: str) -> Reading:
    """How many points further apart training and validation error are without something."""

    def gap(record: Record, role: str) -> float:
        return error(role, scores="1")(record) - error(role, scores="train")(record)

    return lambda record: gap(record, without) - gap(record, with_)


def epochs_ratio(slow: str, fast: str) -> Reading:
    """How many times as many epochs `slow` took to come within a point of its lowest error."""

    def epochs(record: Record, role: str) -> int:
        errors = [measured["val_top1"] for measured in record["runs"][role]["history"]]
        return next(i for i, e in enumerate(errors, 1) if e <= min(errors) + 0.01)

    return lambda record: epochs(record, slow) / epochs(record, fast)


def race_ratio(slow: str, fast: str) -> Reading:
    """How many times as many epochs `slow` took to the finish of a race.

    Who never got there counts with all the epochs it ran: the ratio is then a lower bound.
    """

    def epochs(record: Record, role: str) -> float:
        found = record["runs"][role]
        reached: float | None = found["reached"]
        return float(found["epochs"]) if reached is None else reached

    return lambda record: epochs(record, slow) / epochs(record, fast)


def views_by_chance(role: str, top: int = 1) -> Reading:
    """The 95 % margin of the gain of ten views: the same images are counted twice (McNemar)."""

    def read(record: Record) -> float:
        images = counts(record, role, "10")["seen"]
        better, worse = record["runs"][role]["changed"][str(top)]
        return 100 * Z * math.sqrt(better + worse - (better - worse) ** 2 / images) / images

    return read


def size_of(what: str, unit: float) -> Reading:
    """Parameters or neurons, in thousands or millions."""
    return lambda record: float(record["runs"][WHOLE][what] / unit)


def separation(record: Record) -> float:
    """How surely color tells the two towers apart.

    The chance that a kernel of the more colorful tower has a larger share of color than one of the
    other: 0.5 where the towers do not differ (the statistic of Mann and Whitney).
    """
    first, second = record["runs"][WHOLE]["color"]
    wins = sum((a > b) + (a == b) / 2 for a in first for b in second) / len(first) / len(second)
    return max(wins, 1 - wins)


def separation_by_chance(record: Record) -> float:
    """The 95 % margin of `separation` around 0.5, were the kernels dealt out at random."""
    m, n = (len(kernels) for kernels in record["runs"][WHOLE]["color"])
    return Z * math.sqrt((m + n + 1) / (12 * m * n))


def color(tower: int) -> Reading:
    """The mean share of color of the kernels of a tower."""

    def read(record: Record) -> float:
        kernels = record["runs"][WHOLE]["color"][tower]
        return float(sum(kernels) / len(kernels))

    return read


def nearer(record: Record) -> float:
    """How many points more of an image's neighbors are of its class by features than by pixels."""
    features, pixels = _shares(record)
    return 100 * (features - pixels)


def nearer_by_chance(record: Record) -> float:
    """The 95 % margin that so many images leave, each counted once whatever its neighbors."""
    images = record["runs"][WHOLE]["images"]
    return 100 * Z * math.sqrt(sum(p * (1 - p) for p in _shares(record)) / images)


def same_class(which: int) -> Reading:
    """Percent of neighbors that are of the image's class: by features (0) or by pixels (1)."""
    return lambda record: 100 * _shares(record)[which]


def _shares(record: Record) -> tuple[float, float]:
    found = record["runs"][WHOLE]
    all_neighbors = found["images"] * found["neighbors"]
    return found["same_by_features"] / all_neighbors, found["same_by_pixels"] / all_neighbors
