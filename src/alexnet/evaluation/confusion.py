"""Confusion matrices, and what follows from them for each class. NumPy only.

`scores` prints what is computed here, and `show.classes` draws it. Rows of a confusion matrix are
true classes, columns are predicted ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Numbers for each of C classes, from 0 to 1; NaN where one is not defined."""

    seen: NDArray[np.int64]
    """Images of the class: int64 (C,)."""
    top1_error: NDArray[np.float64]
    """Share of them whose most probable class is another one: 1 − recall."""
    top5_error: NDArray[np.float64]
    """Share of them whose class is not among the five most probable ones."""
    precision: NDArray[np.float64]
    """Share of the images that were taken for the class and are of it."""
    recall: NDArray[np.float64]
    """Share of the images of the class that were taken for it."""
    f1: NDArray[np.float64]
    """Harmonic mean of precision and recall."""

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall of the classes that have images, each class with the same weight."""
        known = self.recall[self.seen > 0]
        return float(known.mean()) if len(known) else float("nan")


def count_confusions(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int
) -> NDArray[np.int64]:
    """Count how often each class was taken for each: int64 (C, C).

    `labels` and `predicted` are (N,), from 0 to C − 1.
    """
    places = labels.astype(np.int64) * n_classes + predicted
    return np.bincount(places, minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def score_classes(
    confusion: NDArray[np.int64], wrong5: NDArray[np.int64] | None = None
) -> ClassScores:
    """Compute the scores of each class from a confusion matrix (C, C).

    `wrong5` are the top-5 errors of each class, (C,); without them `top5_error` is NaN.
    """
    return score_counts(np.diag(confusion), confusion.sum(1), confusion.sum(0), wrong5)


def score_counts(
    right: NDArray[np.int64],
    seen: NDArray[np.int64],
    taken: NDArray[np.int64],
    wrong5: NDArray[np.int64] | None = None,
) -> ClassScores:
    """Compute the scores of each class from counts, all int64 (C,).

    Of the `seen` images of a class, `right` were taken for it and `wrong5` were not among the first
    five; `taken` images of any class were taken for it.
    """
    recall = _divide(right, seen)
    unknown = np.full(len(seen), np.nan)
    return ClassScores(
        seen=seen,
        top1_error=1 - recall,
        top5_error=unknown if wrong5 is None else _divide(wrong5, seen),
        precision=_divide(right, taken),
        recall=recall,
        f1=_divide(2 * right, seen + taken),
    )


def _divide(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """part / whole, NaN where whole is 0."""
    quotient = np.full(len(whole), np.nan)
    return np.divide(part, whole, out=quotient, where=whole > 0)


def find_confused_pairs(confusion: NDArray[np.int64], n: int) -> list[tuple[int, int, int]]:
    """Return the n most frequent confusions as (true class, predicted class, images).

    The most frequent comes first; of equally frequent ones, the one with the lower classes.
    """
    errors = confusion.copy()
    np.fill_diagonal(errors, 0)
    places = np.flatnonzero(errors)
    return _sort_pairs(places, errors.ravel()[places], len(confusion), n)


def find_mistaken_pairs(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int, n: int
) -> list[tuple[int, int, int]]:
    """Return what `find_confused_pairs` returns, without a matrix, which may be very large.

    `labels` and `predicted` are (N,), from 0 to n_classes − 1.
    """
    wrong = labels != predicted
    places, counts = np.unique(labels[wrong] * n_classes + predicted[wrong], return_counts=True)
    return _sort_pairs(places, counts, n_classes, n)


def _sort_pairs(
    places: NDArray[np.int64], counts: NDArray[np.int64], n_classes: int, n: int
) -> list[tuple[int, int, int]]:
    """The n largest counts, with the places (row · n_classes + column) as pairs."""
    order = np.argsort(-counts, kind="stable")[:n]
    return [(*divmod(int(places[k]), n_classes), int(counts[k])) for k in order]


def find_confident_mistakes(
    labels: NDArray[np.int64], probabilities: NDArray[np.float32], n: int
) -> NDArray[np.int64]:
    """Return the indices of the n wrong predictions with the highest probability, highest first.

    `labels` (N,), where −1 means that the image has none; `probabilities` (N, C).
    """
    predicted = probabilities.argmax(1)
    wrong = np.flatnonzero((labels >= 0) & (predicted != labels))
    certainty = probabilities[wrong, predicted[wrong]]
    return wrong[np.argsort(-certainty, kind="stable")[:n]]
