"""Figures of the paper, drawn from one's own results with matplotlib into PNG files.

`plot_training_errors` draws Figure 1 and `plot_predictions` the left part of Figure 4. Only
commands and `docs/pictures.py` import this module, because matplotlib is optional.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from alexnet.terminal import escape_unprintable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from alexnet.predict import Prediction

RIGHT, WRONG, OTHER = "#2f7d5b", "#b5493c", "#c9d3df"
LINE_STYLES = "-", "--", "-.", ":"


def plot_training_errors(
    curves: Mapping[str, Sequence[Sequence[float]]],
    path: Path,
    *,
    finish: float,
    start: float,
    title: str,
) -> None:
    """Plot training error over epochs, like Figure 1 of the paper, into a PNG file.

    Args:
        curves: for each name, one curve per seed: the errors after epochs 1, 2, …, from 0 to 1.
        path: the file to write.
        finish: the target error, drawn as a horizontal line.
        start: the error before training, where every curve begins.
        title: the title of the figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.2), dpi=130, layout="constrained")
    axes = figure.subplots()
    for (name, seeds), style in zip(curves.items(), LINE_STYLES, strict=False):
        for number, curve in enumerate(seeds):
            label = name if number == 0 else None
            axes.plot(range(len(curve) + 1), [start, *curve], style, color="black", label=label)
    axes.axhline(finish, color="#b5493c", linewidth=0.8)
    axes.set_xlabel("epochs")
    axes.set_ylabel("training error")
    axes.set_xlim(left=0)
    axes.set_ylim(0, start)
    axes.set_title(title, fontsize=9)
    axes.legend(frameon=False)
    figure.savefig(path)


def plot_predictions(
    shown: Sequence[tuple[Any, Prediction]],
    path: Path,
    *,
    truths: Sequence[str] | None = None,
    columns: int = 6,
) -> None:
    """Plot images above bars of their most probable labels, like Figure 4 (left), into a PNG file.

    Args:
        shown: pairs of an image, as a path or as pixels (height, width, 3), and its prediction.
        path: the file to write.
        truths: the right label of each image. Its bar is green, and the title of an image is red if
            the most probable label is another one.
        columns: images per row.
    """
    from matplotlib.figure import Figure

    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(2.2 * columns, 3.1 * rows), dpi=110, layout="constrained")
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[2, 1.1] * rows)
    for axes in grid.flat:
        axes.set_axis_off()
    for k, (image, prediction) in enumerate(shown):
        row, column = 2 * (k // columns), k % columns
        truth = truths[k] if truths is not None else None
        _plot_image(grid[row][column], image, prediction, truth)
        _plot_bars(grid[row + 1][column], prediction, truth)
    figure.savefig(path)


def _plot_image(axes: Axes, image: Any, prediction: Prediction, truth: str | None) -> None:
    pixels = image if isinstance(image, np.ndarray) else _load_square(Path(image))
    axes.imshow(pixels, interpolation="nearest" if len(pixels) < 64 else None)
    right = truth is None or (prediction.labels and prediction.labels[0] == truth)
    axes.set_title(
        _shorten(truth or Path(prediction.name).name),
        fontsize=9,
        color="black" if right else WRONG,
        parse_math=False,
    )


def _plot_bars(axes: Axes, prediction: Prediction, truth: str | None) -> None:
    rows = range(len(prediction.labels))
    colors = [RIGHT if label == truth else OTHER for label in prediction.labels]
    axes.barh(rows, prediction.probabilities, color=colors, height=0.86)
    for row, label in zip(rows, prediction.labels, strict=True):
        axes.text(0.02, row, _shorten(label), va="center", fontsize=8, parse_math=False)
    axes.set_xlim(0, 1)
    axes.set_ylim(max(len(prediction.labels), 5) - 0.4, -0.6)


def _load_square(path: Path) -> Any:
    """Load the central square of an image, rotated as its EXIF orientation says: (256, 256, 3)."""
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
        return np.asarray(ImageOps.fit(upright, (256, 256)))


def _shorten(label: str, width: int = 24) -> str:
    """Return the first of a label's comma-separated names, cut to `width` characters."""
    first = escape_unprintable(label.split(",")[0])
    return first if len(first) <= width else first[: width - 1] + "…"
