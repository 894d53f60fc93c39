"""Images above bars of their most probable labels, like the left half of the paper's Figure 4.

The right label's bar is green and has a ✓; an image whose most probable label is another one has an
orange title with a ✗. `alexnet predict`, `demo` and `figures` call this module; the most confident
mistakes of a network are drawn by it, too. It draws what it is given, and runs no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.show.style import (
    BLACK,
    GRAY,
    OTHER,
    RIGHT_MARK,
    SMALL,
    WIDTH,
    WRONG,
    WRONG_MARK,
    Images,
    add_title,
    fit_label,
    hide_axes,
    name_class,
    new_figure,
    show_image,
    with_style,
)
from alexnet.terminal import format_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from alexnet.predict import Prediction

COLUMNS = 4
"""Images per row: with four, letters of 8 points are legible 900 pixels wide."""
BAR = 0.2
"""Height of a bar in inches, with its share of the space between bars."""
NUMBER = 0.5
"""Inches at the right of the bars that are kept free for the numbers, up to "< 0.1 %"."""
GREEN_BAR = "#7fd1b9"
"""`RIGHT`, lighter, so that black letters on it are easy to read."""


@with_style
def draw_predictions(
    images: Images,
    predictions: Sequence[Prediction],
    *,
    truths: Sequence[str] | None = None,
    columns: int = COLUMNS,
    total: int | None = None,
    title: str | None = None,
) -> Figure:
    """Draw images above bars of their most probable labels, with the probabilities as numbers.

    Args:
        images: N images, uint8 (height, width, 3).
        predictions: the prediction of each, with labels in order of probability.
        truths: the right label of each image.
        columns: images per row, at most.
        total: how many images there were; if it is more than N, a line below says so.
        title: the title of the figure.

    Returns a figure; `show.save_figure` writes it. Raises ValueError if there are no images, or not
    as many predictions or truths.
    """
    if not len(images):
        raise ValueError("there are no images to draw")
    if len(predictions) != len(images) or (truths is not None and len(truths) != len(images)):
        raise ValueError(f"{len(images)} images need as many predictions, and as many truths")
    columns = min(columns, len(images))
    column = (WIDTH - 0.1) / max(columns, COLUMNS)
    most = max(1, *(len(x.labels) for x in predictions))
    bars = BAR * most
    rows = -(-len(images) // columns)
    total = len(images) if total is None else total
    shown_less = total > len(images)
    height = rows * (column + bars + 0.3) + 0.35 * bool(title) + 0.3 * shown_less
    figure = new_figure(column * columns + 0.1, height, title)
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[column, bars] * rows)
    for axes in grid.flat:
        hide_axes(axes)
    for k, (image, prediction) in enumerate(zip(images, predictions, strict=True)):
        row, place = 2 * (k // columns), k % columns
        truth = truths[k] if truths is not None else None
        show_image(grid[row][place], image, column)
        _add_name(grid[row][place], prediction, truth, column)
        _draw_bars(grid[row + 1][place], prediction, truth, column - 0.12)
        grid[row + 1][place].set_ylim(most - 0.4, -0.6)
    if shown_less:
        figure.supxlabel(
            f"the first {len(images)} of {format_count(total, 'image')}", fontsize=SMALL, color=GRAY
        )
    return figure


def _add_name(axes: Axes, prediction: Prediction, truth: str | None, width: float) -> None:
    """Write the right label above an image, with a mark; without one, the name of the file."""
    if truth is None:
        add_title(axes, Path(prediction.name).name, width)
        return
    right = bool(prediction.labels) and prediction.labels[0] == truth
    mark = RIGHT_MARK if right else WRONG_MARK
    add_title(axes, f"{mark} {name_class(truth)}", width, BLACK if right else WRONG)


def _draw_bars(axes: Axes, prediction: Prediction, truth: str | None, width: float) -> None:
    """Draw the bars in axes `width` inches wide: a label on each bar, its number right of all."""
    if prediction.unsure is not None:
        text = f"unsure: at most {format_share(prediction.unsure)}"
        axes.text(0.015, 0, text, color=BLACK, va="center_baseline", fontsize=SMALL)
        axes.set_xlim(0, 1)
        return
    rows = range(len(prediction.labels))
    colors = [GREEN_BAR if label == truth else OTHER for label in prediction.labels]
    axes.barh(rows, prediction.probabilities, color=colors, height=0.86)
    axes.set_xlim(0, width / (width - NUMBER))
    for row, (label, p) in enumerate(zip(prediction.labels, prediction.probabilities, strict=True)):
        right = label == truth
        room = width - NUMBER - 0.1
        name = f"{RIGHT_MARK} {name_class(label)}" if right else name_class(label)
        options: dict[str, Any] = {"va": "center_baseline", "fontsize": SMALL, "parse_math": False}
        axes.text(0.015, row, fit_label(name, room), color=BLACK, **options)
        end = axes.get_xlim()[1]
        axes.text(end, row, format_share(p), ha="right", color=BLACK, **options)


def format_share(share: float) -> str:
    """Return a share of 1 in percent, with a digit after the point below ten."""
    percent = 100 * share
    if 0 < percent < 0.05:
        return "< 0.1 %"
    return f"{percent:.0f} %" if percent >= 9.95 else f"{percent:.1f} %"
