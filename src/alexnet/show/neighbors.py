"""Images beside those most similar to them, like the right half of the paper's Figure 4.

Each row has an image and, to its right, the images whose features are nearest to its own; in the
paper, six training images each. `alexnet similar` and `alexnet figures` call this module. It draws
what it is given, and knows neither networks nor indexes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from alexnet.show.style import (
    BLACK,
    GRAY,
    RIGHT_MARK,
    WIDTH,
    WRONG,
    WRONG_MARK,
    Images,
    add_title,
    hide_axes,
    name_class,
    new_figure,
    show_image,
    with_style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN = 1.25
"""Width of an image in inches; seven of them fill the width of a figure."""
LINE = 0.22
"""Height of the line of text above an image, in inches."""


@with_style
def draw_neighbors(
    queries: Images,
    neighbors: Sequence[Images],
    *,
    query_labels: Sequence[str | None] | None = None,
    query_names: Sequence[str] | None = None,
    neighbor_labels: Sequence[Sequence[str | None]] | None = None,
    neighbor_names: Sequence[Sequence[str]] | None = None,
    distances: Sequence[Sequence[float]] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw each query image with its nearest images to its right, the nearest first.

    Args:
        queries: N images, uint8 (height, width, 3) or (height, width).
        neighbors: for each query the images next to it; usually six. Rows may differ in length.
        query_labels: the class of each query, written above it; None where it is unknown.
        query_names: a text above each query in place of its class.
        neighbor_labels: a text above each neighbor, usually its class. One that differs from the
            class of the query is marked with ✗, the same one with ✓.
        neighbor_names: a text above each neighbor that has no label, such as the name of its file.
        distances: a number below each neighbor.
        title: the title of the figure.

    Returns a figure; `show.save_figure` writes it. Raises ValueError if there are no queries, or
    not as many rows of neighbors, labels or distances as queries.
    """
    rows = neighbors, query_labels, query_names, neighbor_labels, neighbor_names, distances
    _check_lengths(queries, *rows)
    most = max(1, *(len(row) for row in neighbors))
    column = min(COLUMN, (WIDTH - 0.2) / (most + 1.15))
    row_height = column + LINE + (0.17 if distances is not None else 0.0)
    figure = new_figure(
        max(column * (most + 1.15) + 0.2, 3.0), row_height * len(queries) + 0.4, title
    )
    grid = figure.subplots(
        len(queries), most + 2, squeeze=False, width_ratios=[1, 0.08, *[1] * most]
    )
    for axes in grid.flat:
        hide_axes(axes)
    for row, query in enumerate(queries):
        label = query_labels[row] if query_labels is not None else None
        show_image(grid[row][0], query, column)
        name = query_names[row] if query_names is not None else name_class(label or "")
        add_title(grid[row][0], name, column)
        for place, image in enumerate(neighbors[row]):
            axes = grid[row][place + 2]
            show_image(axes, image, column)
            found = neighbor_labels[row][place] if neighbor_labels is not None else None
            if found is not None:
                _mark_label(axes, found, label, column)
            elif neighbor_names is not None:
                add_title(axes, neighbor_names[row][place], column)
            if distances is not None:
                text = format_distance(distances[row][place])
                axes.set_xlabel(text, fontsize=8, color=GRAY, labelpad=2)
    return figure


def format_distance(distance: float) -> str:
    """Return a distance with three digits, without an exponent unless it is tiny or huge."""
    return f"{distance:.3g}" if not 1000 <= distance < 1e6 else f"{distance:,.0f}"


def _mark_label(axes: Axes, label: str, wanted: str | None, width: float) -> None:
    """Write a neighbor's label above it, marked if the query has a label to compare with."""
    if wanted is None:
        add_title(axes, name_class(label), width)
        return
    same = label == wanted
    mark = RIGHT_MARK if same else WRONG_MARK
    add_title(axes, f"{mark} {name_class(label)}", width, BLACK if same else WRONG)


def _check_lengths(queries: Images, *rows: Sequence[object] | None) -> None:
    """Raise ValueError unless there are queries, and as many of everything else that is given."""
    if not len(queries):
        raise ValueError("there are no images to draw neighbors of")
    for row in rows:
        if row is not None and len(row) != len(queries):
            raise ValueError(f"{len(row)} rows were given for {len(queries)} images")
