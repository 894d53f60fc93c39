"""Pictures for people, drawn from files and from what was measured. Only commands import this."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from alexnet.predict import Prediction
from alexnet.terminal import escape_unprintable

RIGHT, WRONG, OTHER = "#2f7d5b", "#b5493c", "#c9d3df"


def predictions(
    shown: Sequence[tuple[Any, Prediction]],
    path: Path,
    *,
    truths: Sequence[str] | None = None,
    columns: int = 6,
) -> None:
    """Draw images with their five labels, like Figure 4 of the paper (left), into a PNG file.

    `shown` holds (path or pixels, prediction); with `truths`, the right label is green where it is
    among the five and the title red where the first is wrong.
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
        _image(grid[row][column], image, prediction, truth)
        _bars(grid[row + 1][column], prediction, truth)
    figure.savefig(path)


def _image(axes: Axes, image: Any, prediction: Prediction, truth: str | None) -> None:
    pixels = image if isinstance(image, np.ndarray) else _opened(Path(image))
    axes.imshow(pixels, interpolation="nearest" if len(pixels) < 64 else None)
    right = truth is None or (prediction.labels and prediction.labels[0] == truth)
    axes.set_title(
        _short(truth or Path(prediction.name).name),
        fontsize=9,
        color="black" if right else WRONG,
        parse_math=False,
    )


def _bars(axes: Axes, prediction: Prediction, truth: str | None) -> None:
    places = range(len(prediction.labels))
    colors = [RIGHT if label == truth else OTHER for label in prediction.labels]
    axes.barh(places, prediction.probabilities, color=colors, height=0.86)
    for place, label in zip(places, prediction.labels, strict=True):
        axes.text(0.02, place, _short(label), va="center", fontsize=8, parse_math=False)
    axes.set_xlim(0, 1)
    axes.set_ylim(max(len(prediction.labels), 5) - 0.4, -0.6)


def _opened(path: Path) -> Any:
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
        return np.asarray(ImageOps.fit(upright, (256, 256)))


def _short(label: str, width: int = 24) -> str:
    first = escape_unprintable(label.split(",")[0])
    return first if len(first) <= width else first[: width - 1] + "…"
