"""The statistics of claims: functions from the counts of one seed to one number.

Most functions here return a `Statistic` (see `claim`), which `paper` stores in a `Quantity`; they
are named after the number that it computes. Error rates are in percent, differences of error rates
in points. Those that end in `_margin` give half the width of a 95 % interval (normal
approximation) for a single seed. `list_…` and `compare_…` return whole quantities. Imports
`claim` and `lab_errors` only.
"""

from __future__ import annotations

import math
from typing import Any

from alexnet.claims.claim import Quantity, SeedResult, Statistic
from alexnet.claims.lab_errors import compute_difference

WHOLE = "the network"
"""The role of the network of a claim that needs one training only."""

Z = 1.96
"""The 97.5 % quantile of the standard normal distribution: ± Z contains 95 %."""


def get_counts(seed_result: SeedResult, role: str, evaluation: str) -> dict[str, Any]:
    """Return {"seen", "wrong1", "wrong5"} of a role; `evaluation` is "1", "10" or "train"."""
    counts: dict[str, Any] = seed_result["runs"][role]["scores"][evaluation]
    return counts


def error_rate(role: str, top: int = 1, evaluation: str = "10") -> Statistic:
    """The top-1 or top-5 error of a role, in percent."""

    def compute(seed_result: SeedResult) -> float:
        counts = get_counts(seed_result, role, evaluation)
        return float(100 * counts[f"wrong{top}"] / counts["seen"])

    return compute


def error_difference(worse: str, better: str, top: int = 1, evaluation: str = "10") -> Statistic:
    """The error of `worse` minus that of `better`, in points."""
    high, low = error_rate(worse, top, evaluation), error_rate(better, top, evaluation)
    return lambda seed_result: high(seed_result) - low(seed_result)


def views_gain(role: str, top: int = 1) -> Statistic:
    """The error with one view minus that with ten, in points."""
    one, ten = error_rate(role, top, "1"), error_rate(role, top, "10")
    return lambda seed_result: one(seed_result) - ten(seed_result)


def views_gain_margin(role: str, top: int = 1) -> Statistic:
    """Half the width of the 95 % interval of `views_gain`: both errors are of the same images.

    Only the images count whose result changed: b became right, c became wrong, of n. The variance
    of the paired difference (b − c) / n is (b + c − (b − c)² / n) / n² (McNemar, "Note on the
    sampling error of the difference between correlated proportions", Psychometrika 12, 1947).
    """

    def compute(seed_result: SeedResult) -> float:
        images = get_counts(seed_result, role, "10")["seen"]
        better, worse = seed_result["runs"][role]["changed"][str(top)]
        return 100 * Z * math.sqrt(better + worse - (better - worse) ** 2 / images) / images

    return compute


def generalization_gap_difference(without: str, with_: str) -> Statistic:
    """How much larger the generalization gap of `without` is than that of `with_`, in points.

    The gap of a network is its validation error minus its training error, with one view.
    """

    def compute_gap(seed_result: SeedResult, role: str) -> float:
        validation, training = error_rate(role, 1, "1"), error_rate(role, 1, "train")
        return validation(seed_result) - training(seed_result)

    return lambda seed_result: compute_gap(seed_result, without) - compute_gap(seed_result, with_)


def epochs_to_converge_ratio(slow: str, fast: str) -> Statistic:
    """The epochs that `slow` took to converge divided by those of `fast`.

    Converged means: first within one point of the lowest validation error of the same training.
    """

    def count_epochs(seed_result: SeedResult, role: str) -> int:
        errors = [epoch["val_top1"] for epoch in seed_result["runs"][role]["history"]]
        return next(i for i, error in enumerate(errors, 1) if error <= min(errors) + 0.01)

    return lambda seed_result: count_epochs(seed_result, slow) / count_epochs(seed_result, fast)


def epochs_to_target_ratio(slow: str, fast: str) -> Statistic:
    """The epochs that `slow` took to the target error divided by those of `fast`.

    A network that never reached the target counts with all the epochs it ran. If that is `slow`,
    the ratio is a lower bound; if it is `fast`, an upper bound.
    """

    def count_epochs(seed_result: SeedResult, role: str) -> float:
        trial = seed_result["runs"][role]
        reached: float | None = trial["reached"]
        return float(trial["epochs"]) if reached is None else reached

    return lambda seed_result: count_epochs(seed_result, slow) / count_epochs(seed_result, fast)


def network_size(key: str, unit: float) -> Statistic:
    """The number of "parameters" or "neurons" of the network, divided by `unit`."""
    return lambda seed_result: float(seed_result["runs"][WHOLE][key] / unit)


def tower_separation(seed_result: SeedResult) -> float:
    """The probability that color tells a kernel of one tower from a kernel of the other.

    That is, the probability that a random kernel of the more colorful tower is more colorful than a
    random kernel of the other; ties count one half. 0.5 means no difference, 1 complete
    separation. This is the statistic U / (m n) of Mann and Whitney ("On a test of whether one of
    two random variables is stochastically larger than the other", Ann. Math. Stat. 18, 1947).
    """
    first, second = seed_result["runs"][WHOLE]["color"]
    wins = sum((a > b) + (a == b) / 2 for a in first for b in second) / len(first) / len(second)
    return max(wins, 1 - wins)


def tower_separation_margin(seed_result: SeedResult) -> float:
    """Half the width of the 95 % interval of `tower_separation` if the towers do not differ.

    The variance of U / (m n) is then (m + n + 1) / (12 m n).
    """
    m, n = (len(kernels) for kernels in seed_result["runs"][WHOLE]["color"])
    return Z * math.sqrt((m + n + 1) / (12 * m * n))


def tower_color(tower: int) -> Statistic:
    """The mean colorfulness of the kernels of tower 0 or 1 (see `probes.compute_colorfulness`)."""

    def compute(seed_result: SeedResult) -> float:
        kernels = seed_result["runs"][WHOLE]["color"][tower]
        return float(sum(kernels) / len(kernels))

    return compute


def neighbor_gain(seed_result: SeedResult) -> float:
    """Neighbors of the same class by features minus those by pixels, in points of percent."""
    features, pixels = _get_neighbor_shares(seed_result)
    return 100 * (features - pixels)


def neighbor_gain_margin(seed_result: SeedResult) -> float:
    """Half the width of the 95 % interval of `neighbor_gain`.

    Each image counts as one sample, however many neighbors it has, because its neighbors are not
    independent of each other.
    """
    images = seed_result["runs"][WHOLE]["images"]
    variance = sum(p * (1 - p) for p in _get_neighbor_shares(seed_result))
    return 100 * Z * math.sqrt(variance / images)


def neighbor_share(which: int) -> Statistic:
    """Percentage of neighbors of the image's own class: by features (0) or by pixels (1)."""
    return lambda seed_result: 100 * _get_neighbor_shares(seed_result)[which]


def _get_neighbor_shares(seed_result: SeedResult) -> tuple[float, float]:
    counts = seed_result["runs"][WHOLE]
    neighbors = counts["images"] * counts["neighbors"]
    return counts["same_by_features"] / neighbors, counts["same_by_pixels"] / neighbors


def list_error_rates(
    role: str, label: str, top1: float, top5: float, evaluation: str = "10"
) -> tuple[Quantity, ...]:
    """Return both errors of one network as quantities, with a tolerance of half a point."""
    return tuple(
        Quantity(f"top-{top}, {label}", error_rate(role, top, evaluation), paper, 0.5)
        for top, paper in ((1, top1), (5, top5))
    )


def compare_errors(
    worse: str, better: str, top1: float, top5: float, lab_networks: tuple[str, str]
) -> tuple[Quantity, ...]:
    """Return top-1 and top-5 error of `worse` minus those of `better` as quantities.

    The null value is 0. `top1` and `top5` are the paper's differences in points, `lab_networks` the
    same two networks in `lab_errors`.
    """
    return tuple(
        Quantity(
            f"top-{top}",
            error_difference(worse, better, top),
            paper,
            tolerance=0.6,
            null_value=0.0,
            format="{:+.1f}",
            lab_notes=compute_difference(*lab_networks, top),
        )
        for top, paper in ((1, top1), (5, top5))
    )


def compare_views(top: int, paper: float) -> Quantity:
    """Return the gain of ten views over one as a quantity; the null value is 0."""
    return Quantity(
        f"top-{top}",
        views_gain(WHOLE, top),
        paper,
        tolerance=0.6,
        null_value=0.0,
        format="{:+.1f}",
        single_seed_margin=views_gain_margin(WHOLE, top),
    )


def list_compared_errors(*roles: str, evaluation: str = "10") -> tuple[Quantity, ...]:
    """Return the top-1 errors of networks that are compared, which are printed but not judged."""
    return tuple(
        Quantity(f"top-1 error, {role}, %", error_rate(role, 1, evaluation), None) for role in roles
    )
