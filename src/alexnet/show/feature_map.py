"""The features of many images as points of a plane: by principal components and by t-SNE.

`alexnet figures` calls this module with points that `explaining.projection` computes. Classes have
a color and a marker each, so that they can be told apart without color.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alexnet.show.style import (
    PALE,
    PALETTE,
    SMALL,
    WIDTH,
    fit_label,
    name_class,
    new_figure,
    use_style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CLASSES = 20
"""Classes with a color of their own; the images of all others are pale points."""
MARKERS = "o", "s", "^"
"""After eight classes the colors begin again with another marker."""
LEGEND_COLUMNS = 5


def draw_feature_map(
    points: Mapping[str, NDArray[Any]],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    *,
    title: str | None = None,
) -> Figure:
    """Draw the places of N images in a plane, colored by class, one panel for each method.

    Args:
        points: for the name of each method, the places (N, 2).
        labels: the class of each image, int64 (N,).
        classes: the names of the classes.
        title: the title of the figure.

    Of more than 20 classes, those with most images have colors. Raises ValueError if there are no
    points, or not as many as labels.
    """
    if not points or any(x.shape != (len(labels), 2) for x in points.values()) or not len(labels):
        raise ValueError("there must be two coordinates for each label, and at least one method")
    shown = _choose_classes(labels)
    legend_rows = -(-(len(shown) + 1) // LEGEND_COLUMNS)
    panel = WIDTH / max(2, len(points))
    figure = new_figure(WIDTH, panel + 0.2 * legend_rows + 0.2 + 0.35 * bool(title), title)
    with use_style():
        panels = figure.subplots(1, len(points), squeeze=False)[0]
    for axes, (name, places) in zip(panels, points.items(), strict=True):
        handles = _draw_points(axes, places, labels, shown)
        axes.set_title(name)
    names = [fit_label(name_class(classes[i]), WIDTH / LEGEND_COLUMNS - 0.45) for i in shown]
    if len(handles) > len(names):
        names.append(f"{len(np.unique(labels)) - len(shown):,} other classes")
    _add_figure_legend(figure, handles, names)
    return figure


def _choose_classes(labels: NDArray[np.int64]) -> list[int]:
    """The classes with most images, in the order of their numbers."""
    found, counts = np.unique(labels, return_counts=True)
    most = found[np.argsort(-counts, kind="stable")[:MOST_CLASSES]]
    return sorted(int(i) for i in most)


def _draw_points(
    axes: Axes, places: NDArray[Any], labels: NDArray[np.int64], shown: Sequence[int]
) -> list[Any]:
    """Draw one class after the other; return the handles for the legend."""
    handles = []
    size = 18 if len(labels) < 800 else 9
    for k, label in enumerate(shown):
        x, y = places[labels == label].T
        color = PALETTE[k % len(PALETTE)]
        marker = MARKERS[k // len(PALETTE) % len(MARKERS)]
        handles.append(
            axes.scatter(
                x, y, s=size, color=color, marker=marker, linewidths=0.3, edgecolors="white",
                zorder=2,
            )
        )  # fmt: skip
    others = ~np.isin(labels, shown)
    if others.any():
        x, y = places[others].T
        handles.append(axes.scatter(x, y, s=size / 2, color=PALE, zorder=1))
    axes.set_xticks([])
    axes.set_yticks([])
    return handles


def _add_figure_legend(figure: Figure, handles: Sequence[Any], names: Sequence[str]) -> None:
    """A legend below all panels, whose names may hold any characters."""
    legend = figure.legend(
        handles,
        [" "] * len(handles),
        loc="outside lower center",
        ncols=min(LEGEND_COLUMNS, len(handles)),
        frameon=False,
        fontsize=SMALL,
        handletextpad=0.2,
        markerscale=1.5,
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)
