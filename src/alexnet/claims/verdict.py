"""Verdicts, computed from what was measured and never typed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from alexnet.claims.claim import Quantity

AS_PAPER, NOISE, CONTRADICTS = "as the paper", "within noise", "contradicts"
NOT_MEASURED = "not measured"

CONFIDENCE = 0.95


def margin(values: Sequence[float], alone: float = math.inf) -> float:
    """Half the width of the 95 % interval of the mean of the values (Student's t).

    `alone` is the margin that a single value has: infinite where only a second seed could tell
    what chance does. Where it is finite, it comes from the images, which all seeds share, and more
    seeds do not make it smaller.
    """
    if len(values) < 2:
        return alone
    from scipy.special import stdtrit

    quantile = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    of_seeds = quantile * stdev(values) / math.sqrt(len(values))
    return max(of_seeds, alone) if math.isfinite(alone) else of_seeds


def judge(
    quantity: Quantity, values: Sequence[float], *, same: bool, alone: float = math.inf
) -> str:
    """What the values, one a seed, say of a quantity.

    `same`: measured on the paper's data and not shortened, so that the paper's figure can be
    compared; else only the direction can. `alone`: the margin that a single value has.
    """
    if not values:
        return NOT_MEASURED
    mean = fmean(values)
    if quantity.nothing is None:
        return _near(quantity, mean) if same else NOT_MEASURED
    beyond = mean - quantity.nothing
    if abs(beyond) <= margin(values, alone):
        return NOISE
    if beyond < 0:
        return CONTRADICTS
    return _near(quantity, mean) if same else AS_PAPER


def _near(quantity: Quantity, mean: float) -> str:
    if quantity.paper is None:
        return AS_PAPER
    beyond = mean - quantity.paper
    near = beyond >= -quantity.tolerance and (quantity.at_least or beyond <= quantity.tolerance)
    return AS_PAPER if near else CONTRADICTS


def together(verdicts: Sequence[str]) -> str:
    """The verdict of a claim with several numbers: the least favorable of theirs."""
    order = CONTRADICTS, NOT_MEASURED, NOISE, AS_PAPER
    return min(verdicts, key=order.index)
