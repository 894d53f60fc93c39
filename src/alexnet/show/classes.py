"""How well a network does class by class: the confusion matrix, errors, precision, recall and F1.

Legible from 2 classes to 1,000: up to `MOST_NAMED` classes each has its name; beyond that, the
matrix is summed in blocks, with the most confused pairs named below it, and the scores are those of
the best and the worst classes. The counts come from `evaluation.confusion`; `alexnet figures` calls
this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alexnet.evaluation.confusion import ClassScores, find_confused_pairs
from alexnet.show.style import (
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    MAP,
    ORANGE,
    PURPLE,
    RED,
    SMALL,
    WIDTH,
    fit_label,
    measure_text,
    name_class,
    new_figure,
    with_style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NAMED = 40
"""With more classes, the confusion matrix has blocks of classes instead of names."""
MOST_NUMBERED = 14
"""With more classes, there are no numbers in the cells of the confusion matrix."""
PAIRS = 24
"""Pairs of classes that are named where the matrix has no names."""
EXTREMES = 18
"""Worst and best classes that are shown where there are too many for all."""
ROW = 0.19
"""Height of a class in inches, for letters of 8 points."""
NAME = 1.7
"""Widest name of a class, in inches."""


@with_style
def draw_confusion(
    confusion: NDArray[np.int64], classes: Sequence[str], *, title: str | None = None
) -> Figure:
    """Draw a confusion matrix; with many classes, in blocks and with the most confused pairs.

    Args:
        confusion: how many images of the class of the row were taken for the class of the column:
            int64 (C, C).
        classes: the names of the C classes.
        title: the title of the figure.

    The color of a cell is the share of the row's images. Raises ValueError if the matrix does not
    have a row and a column per class, or has no images.
    """
    if confusion.shape != (len(classes), len(classes)) or not confusion.sum():
        raise ValueError(
            f"a confusion matrix of {confusion.shape} with {int(confusion.sum())} images was given "
            f"for {len(classes)} classes"
        )
    if len(classes) <= MOST_NAMED:
        return _draw_named_matrix(confusion, classes, title)
    return _draw_blocks_and_pairs(confusion, classes, title)


def _draw_named_matrix(
    confusion: NDArray[np.int64], classes: Sequence[str], title: str | None
) -> Figure:
    """The whole matrix, with the names of all classes and, if there is room, with numbers."""
    n = len(classes)
    names = [fit_label(name_class(name), NAME) for name in classes]
    label = max(measure_text(name) for name in names)
    side = min(max(n * ROW, 2.2 + 0.24 * n), WIDTH - label - 1.5)
    width = min(WIDTH, max(side + label + 1.6, 4.5))
    figure = new_figure(width, side + label + 0.95 + 0.35 * bool(title), title)
    axes = figure.subplots()
    image = _show_shares(axes, _divide_rows(confusion))
    options: dict[str, Any] = {"fontsize": SMALL, "parse_math": False}
    axes.set_xticks(range(n), names, rotation=90, **options)
    axes.set_yticks(range(n), names, **options)
    if n <= MOST_NUMBERED:
        _write_counts(axes, confusion)
    _add_color_bar(figure, axes, image)
    return figure


def _write_counts(axes: Axes, confusion: NDArray[np.int64]) -> None:
    """Write the number of images into every cell that has some."""
    shares = _divide_rows(confusion)
    for row, column in zip(*np.nonzero(confusion), strict=True):
        color = "white" if shares[row, column] > 0.2 else BLACK
        count = int(confusion[row, column])
        text = f"{count}" if count < 10_000 else f"{count / 1000:.0f}k"
        axes.text(column, row, text, ha="center", va="center", fontsize=SMALL, color=color)


def _draw_blocks_and_pairs(
    confusion: NDArray[np.int64], classes: Sequence[str], title: str | None
) -> Figure:
    """The matrix in blocks of classes, and below it the pairs that are confused most often."""
    pairs = find_confused_pairs(confusion, PAIRS)
    below = ROW * max(1, len(pairs)) + 0.5
    figure = new_figure(WIDTH, 4.8 + below + 0.35 * bool(title), title)
    matrix, bars = figure.subplots(2, 1, height_ratios=[4.5, below])
    size = -(-len(classes) // MOST_NAMED)
    blocks = sum_blocks(confusion, size)
    image = _show_shares(matrix, _divide_rows(blocks), extent_of=size * len(blocks))
    matrix.set_title(f"{len(classes):,} classes, in blocks of {size} by their numbers")
    _add_color_bar(figure, matrix, image)
    _draw_pairs(bars, pairs, classes)
    return figure


def sum_blocks(confusion: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Sum a matrix in blocks of size × size; the last row and column of blocks may be smaller."""
    starts = np.arange(0, len(confusion), size)
    return np.add.reduceat(np.add.reduceat(confusion, starts, 0), starts, 1)


def _draw_pairs(axes: Axes, pairs: Sequence[tuple[int, int, int]], classes: Sequence[str]) -> None:
    """Bars of how often the first class of a pair was taken for the second."""
    from matplotlib.ticker import MaxNLocator

    counts = [count for _, _, count in pairs]
    axes.barh(range(len(pairs)), counts, color=ORANGE, height=0.7)
    names = [
        f"{fit_label(name_class(classes[i]), NAME)} → {fit_label(name_class(classes[j]), NAME)}"
        for i, j, _ in pairs
    ]
    axes.set_yticks(range(len(pairs)), names, fontsize=SMALL, parse_math=False)
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.set_xlim(0, max([1, *counts]) * 1.12)
    axes.set_title("most often confused: true class → predicted class")
    axes.set_xlabel("images")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for row, count in enumerate(counts):
        axes.text(count, row, f" {count:,}", va="center", fontsize=SMALL)


def _divide_rows(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """The share of the images of each row: (C, C); 0 for a row without images."""
    return confusion / np.maximum(confusion.sum(1, keepdims=True), 1)


def _show_shares(axes: Axes, shares: NDArray[np.float64], extent_of: int | None = None) -> Any:
    """Show shares as colors, more being darker and none white.

    Colors follow the square root of a share, so that small shares can be told apart.
    """
    extent = None if extent_of is None else (0, extent_of, extent_of, 0)
    from matplotlib.colors import PowerNorm

    colors = np.ma.masked_equal(shares, 0)
    image = axes.imshow(colors, cmap=f"{MAP}_r", norm=PowerNorm(0.5, 0, 1), extent=extent)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(GRAY)
    return image


def _add_color_bar(figure: Figure, axes: Axes, image: Any) -> None:
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02, aspect=30)
    bar.set_label("share of the true class's images")
    bar.outline.set_visible(False)


@with_style
def draw_class_scores(
    scores: ClassScores, classes: Sequence[str], *, title: str | None = None
) -> Figure:
    """Draw errors, precision, recall and F1 for each class, the class with most errors first.

    Args:
        scores: per class; NaN where a number is not defined is not drawn.
        classes: the names of the classes.
        title: the title of the figure.

    Of more than `MOST_NAMED` classes, the worst and the best are drawn. Raises ValueError if there
    are not as many scores as classes, or no images.
    """
    if len(scores.seen) != len(classes) or not scores.seen.sum():
        raise ValueError(
            f"scores of {len(scores.seen)} classes on {int(scores.seen.sum())} images were given "
            f"for {len(classes)} classes"
        )
    rows, gap = _choose_rows(scores)
    height = ROW * (len(rows) + 1) + 1.2 + 0.35 * bool(title)
    figure = new_figure(WIDTH, height, title)
    errors, measures = figure.subplots(1, 2, sharey=True)
    places = [k + (gap is not None and k >= gap) for k in range(len(rows))]
    names = [f"{fit_label(name_class(classes[i]), NAME)} ({int(scores.seen[i]):,})" for i in rows]
    errors.set_yticks(places, names, fontsize=SMALL, parse_math=False)
    errors.set_ylim(places[-1] + 0.6, -0.6)
    errors.set_ylabel("class (images)")
    _draw_errors(errors, places, 100 * scores.top1_error[rows], 100 * scores.top5_error[rows])
    _draw_measures(
        measures,
        places,
        {
            "precision": (100 * scores.precision[rows], BLUE, "^"),
            "F1": (100 * scores.f1[rows], BLACK, "o"),
            "recall": (100 * scores.recall[rows], GREEN, "v"),
        },
    )
    if gap is not None:
        text = f"… {int((scores.seen > 0).sum()) - len(rows):,} classes between …"
        errors.text(2, gap, text, va="center", fontsize=SMALL, color=GRAY)
    return figure


def _choose_rows(scores: ClassScores) -> tuple[NDArray[np.int64], int | None]:
    """Classes to draw, worst first, and after how many of them some are left out (None: none)."""
    order = np.argsort(-np.nan_to_num(scores.top1_error, nan=-1), kind="stable")
    order = order[scores.seen[order] > 0]
    if len(order) <= MOST_NAMED:
        return order, None
    return np.concatenate([order[:EXTREMES], order[-EXTREMES:]]), EXTREMES


def _draw_errors(axes: Axes, places: Sequence[int], top1: NDArray[Any], top5: NDArray[Any]) -> None:
    axes.barh(places, top1, color=ORANGE, height=0.7, label="top-1 error")
    if not np.isnan(top5).all():
        axes.plot(top5, places, "D", color=PURPLE, markersize=5, label="top-5 error")
    ends = np.fmax(top1, top5)
    for place, value, end in zip(places, top1, ends, strict=True):
        axes.text(end + 2.5, place, f"{value:.0f}", va="center", fontsize=SMALL, color=RED)
    _finish_percent_axes(axes, "error (%)", 2)


def _draw_measures(
    axes: Axes, places: Sequence[int], measures: dict[str, tuple[NDArray[Any], str, str]]
) -> None:
    offsets = np.linspace(-0.25, 0.25, len(measures))  # equal numbers are all to be seen
    for offset, (name, (values, color, marker)) in zip(offsets, measures.items(), strict=True):
        axes.plot(values, np.add(places, offset), marker, color=color, markersize=4, label=name)
    axes.tick_params(left=False, labelleft=False)
    _finish_percent_axes(axes, "precision, recall and F1 (%)", 3)


def _finish_percent_axes(axes: Axes, name: str, columns: int) -> None:
    axes.set_xlim(-2, 109)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel(name)
    axes.grid(axis="x", color="#e5e9ee", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns)
