"""Queries and the images most similar to them, drawn like the right part of Figure 4 of the paper.

`alexnet similar --figure` calls `plot_similar` with pixels and captions: nothing is read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from alexnet.terminal import escape_unprintable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES = 1.35
"""Width of an image in the figure."""
CAPTION = 20
"""Characters of a line of a caption, at most."""


@dataclass(frozen=True, eq=False)
class SimilarRow:
    """One row of the figure."""

    name: str
    """The caption of the query."""
    query: NDArray[Any]
    """Its pixels: uint8 (height, width, 3)."""
    similar: Sequence[NDArray[Any]]
    """The pixels of the similar images, the nearest first."""
    captions: Sequence[str]
    """What stands below each of them; may have several lines."""


def plot_similar(rows: Sequence[SimilarRow], path: Path) -> None:
    """Draw one row per query, the query to the left of a gap and the similar images to the right.

    `path` is the PNG file to write. Raises OSError if it cannot be written.
    """
    from matplotlib.figure import Figure

    columns = 1 + max(len(row.similar) for row in rows)
    size = INCHES * (columns + 0.25), 1.3 * INCHES * len(rows)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    # An empty column of a quarter of an image's width separates the queries from the others.
    widths = [1, 0.2, *[1] * (columns - 1)]
    grid = figure.subplots(len(rows), columns + 1, squeeze=False, width_ratios=widths)
    for axes in grid.flat:
        axes.set_axis_off()
    for line, row in zip(grid, rows, strict=True):
        _plot_captioned(line[0], row.query, row.name)
        for axes, pixels, caption in zip(line[2:], row.similar, row.captions, strict=False):
            _plot_captioned(axes, pixels, caption)
    figure.savefig(path, format="png")


def _plot_captioned(axes: Axes, pixels: NDArray[Any], caption: str) -> None:
    """Draw an image with its caption below it."""
    axes.imshow(pixels, interpolation="nearest" if len(pixels) < 64 else None)
    text = "\n".join(_shorten(line) for line in caption.split("\n"))
    axes.text(
        *(0.5, -0.04, text),
        ha="center",
        va="top",
        fontsize=7,
        transform=axes.transAxes,
        parse_math=False,
    )


def _shorten(text: str) -> str:
    """Return one line of a caption, escaped, and cut to the width of an image."""
    text = escape_unprintable(text)
    return text if len(text) <= CAPTION else text[: CAPTION - 1] + "…"
