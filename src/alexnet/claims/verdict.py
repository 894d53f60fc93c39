"""Verdicts on claims, computed from the measured values.

For every quantity of a claim there are n values x₁ … xₙ, one per seed (replicate). Two comparisons
are made with their mean x̄:

1. With the null value μ₀, which would be measured if the claimed effect did not exist (0
   for a difference of errors, 1 for a ratio). The 95 % confidence interval of the mean over seeds
   is Student's: x̄ ± t(0.975, n−1) · s / √n, with s the standard deviation of the values (Student,
   "The probable error of a mean", Biometrika 6, 1908). If it contains μ₀ the result is noise. With
   one seed there is no interval, and the result of a comparison of trainings is always noise.

   If the sampling error of the counts of one seed is known, it is used as well: the
   paired difference of two evaluations of the same images (McNemar), the rank statistic of two
   groups of kernels (Mann and Whitney), a difference of shares of images. The half width is then
   the larger of this one and Student's, because all seeds share the images: more seeds do not make
   the sampling error smaller.

2. With the paper's number, but only for full trainings on the paper's own dataset: x̄ may differ by
   the tolerance of the claim. On other images, or if a training was shortened, the size of an
   effect has no reason to be equal, and only its direction is compared.

            null value                 paper's number
    ────────────┼──────────────────────[──────┼──────]──────────▶ effect in the paper's direction
     contradicts   noise: the interval    agrees within    on its own data outside: contradicts
     if beyond     contains the null      the tolerance    on other data: same direction
     noise         value

The intervals are not corrected for the number of claims: about one in twenty of those without an
effect looks like one by chance.

Called by `table`. Imports scipy only when an interval is computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from alexnet.claims.claim import Quantity

AGREES, SAME_DIRECTION, NOISE = "agrees", "same direction", "within noise"
CONTRADICTS, NOT_MEASURED = "contradicts", "not measured"

LEGEND = {
    AGREES: "measured by full training on the paper's own dataset; the number lies within the "
    "tolerance of the paper's, and beyond noise if it is an effect.",
    SAME_DIRECTION: "measured on another dataset or with shortened or changed training; the effect "
    "is beyond noise and has the paper's sign. Its size is not compared.",
    NOISE: "the 95 % confidence interval of the mean over seeds (Student's t; at least as wide as "
    "the sampling error of the images, where that is known) contains the null value, that is, what "
    "would be measured without an effect. A comparison of trainings with a single seed is always "
    "within noise.",
    CONTRADICTS: "the effect is beyond noise and has the opposite sign; or, on the paper's own "
    "dataset, the number is outside the tolerance.",
    NOT_MEASURED: "there is no measurement from which a verdict follows (absolute error rates can "
    "be compared only on the paper's own dataset); the command in the last column makes one.",
}
"""Every verdict with its rule, for readers, from the most favorable to a claim to no result."""

LEAST_FAVORABLE_FIRST = CONTRADICTS, NOT_MEASURED, NOISE, SAME_DIRECTION, AGREES

CONFIDENCE = 0.95


def compute_margin(values: Sequence[float], single_seed_margin: float = math.inf) -> float:
    """Return half the width of the 95 % confidence interval of the mean of `values`.

    `single_seed_margin` is the half width for one value: infinite if the variation can be estimated
    from several seeds only. If it is finite, it is the sampling error of the images, which all
    seeds share, and the result is never smaller.
    """
    if len(values) < 2:
        return single_seed_margin
    from scipy.special import stdtrit

    quantile = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    margin = quantile * stdev(values) / math.sqrt(len(values))
    return max(margin, single_seed_margin) if math.isfinite(single_seed_margin) else margin


def judge(
    quantity: Quantity,
    values: Sequence[float],
    *,
    on_paper_data: bool,
    single_seed_margin: float = math.inf,
) -> str:
    """Return the verdict on one quantity from its values, one per seed.

    `on_paper_data`: measured by full training on the paper's own dataset, so that the paper's
    number can be compared; otherwise only the direction is.
    """
    if not values:
        return NOT_MEASURED
    mean = fmean(values)
    if quantity.null_value is None:
        return _compare_with_paper(quantity, mean) if on_paper_data else NOT_MEASURED
    effect = mean - quantity.null_value
    if abs(effect) <= compute_margin(values, single_seed_margin):
        return NOISE
    if effect < 0:
        return CONTRADICTS
    return _compare_with_paper(quantity, mean) if on_paper_data else SAME_DIRECTION


def _compare_with_paper(quantity: Quantity, mean: float) -> str:
    if quantity.paper is None:
        return AGREES
    excess = mean - quantity.paper
    upper = math.inf if quantity.at_least else quantity.tolerance
    return AGREES if -quantity.tolerance <= excess <= upper else CONTRADICTS


def combine_verdicts(verdicts: Sequence[str]) -> str:
    """Return the verdict of several together: the least favorable to the claim."""
    return min(verdicts, key=LEAST_FAVORABLE_FIRST.index)
