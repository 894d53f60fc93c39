"""What decided: heat maps over images, by Grad-CAM and by occlusion.

`alexnet figures` and the page call this module with maps that `explaining.heat_maps` computes:
Grad-CAM (Selvaraju et al., arXiv 1610.02391) and the loss of probability where a part of the image
is covered (Zeiler & Fergus, arXiv 1311.2901).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alexnet.show.style import (
    BLACK,
    GRAY,
    MAP,
    SMALL,
    WIDTH,
    WRONG,
    WRONG_MARK,
    Image,
    Images,
    add_title,
    fit_label,
    hide_axes,
    name_class,
    new_figure,
    show_image,
    with_style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEADS = "image", "Grad-CAM", "occlusion"
Maps = Sequence[NDArray[Any]] | NDArray[Any]
"""Heat maps in order, or an array of them: (N, height, width)."""
STRENGTH = 0.6
"""Opacity of a heat map over its image."""


@with_style
def draw_heat_maps(
    images: Images,
    labels: Sequence[str],
    gradient_maps: Maps,
    occlusion_maps: Maps,
    *,
    probabilities: Sequence[float] | None = None,
    truths: Sequence[str] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw each image beside what spoke for its label: Grad-CAM, and occlusion.

    Args:
        images: N images as the network saw them, uint8 (crop, crop, 3).
        labels: the label that the maps explain, one per image.
        gradient_maps: N Grad-CAM maps of any size, ≥ 0: where evidence for the label is.
        occlusion_maps: N maps of any size: how much probability of the label is lost when that
            place is covered. Negative values, where covering helped, are drawn as zero.
        probabilities: of the labels.
        truths: the right labels; an image with another one is marked.
        title: the title of the figure.

    Each map has its own scale, from 0 to its largest value. Raises ValueError if there are no
    images, or not as many of everything else.
    """
    given = labels, gradient_maps, occlusion_maps, probabilities, truths
    if not len(images) or any(x is not None and len(x) != len(images) for x in given):
        raise ValueError("there must be images, and as many labels and maps as images")
    per_row = 1 if len(images) == 1 else 2
    rows = -(-len(images) // per_row)
    cell = (WIDTH - 0.4) / (3 * per_row + 0.15)
    cell = min(cell, 2.2)
    width = cell * (3 * per_row + 0.15 * (per_row - 1)) + 0.3
    figure = new_figure(width, rows * (cell + 0.4) + 0.4 + 0.35 * bool(title), title)
    ratios = [1, 1, 1, 0.15, 1, 1, 1] if per_row == 2 else [1, 1, 1]
    grid = figure.subplots(rows, len(ratios), squeeze=False, width_ratios=ratios)
    for axes in grid.flat:
        hide_axes(axes)
    for k, image in enumerate(images):
        row, first = k // per_row, 4 * (k % per_row)
        parts = grid[row][first : first + 3]
        show_image(parts[0], image, cell)
        overlay_map(parts[1], image, gradient_maps[k], cell)
        overlay_map(parts[2], image, occlusion_maps[k], cell)
        for axes, head in zip(parts, HEADS, strict=True):
            add_title(axes, head, cell, GRAY)
        _write_label(
            parts[1],
            labels[k],
            None if probabilities is None else probabilities[k],
            None if truths is None else truths[k],
            3 * cell - 0.2,
        )
    figure.supxlabel(
        "yellow: what spoke most for the label; dark: what did not matter",
        fontsize=SMALL,
        color=GRAY,
    )
    return figure


def _write_label(
    axes: Axes, label: str, probability: float | None, truth: str | None, width: float
) -> None:
    """Write the label below the middle one of three axes, with the right one if it differs."""
    text = name_class(label)
    if probability is not None:
        text += f", {100 * probability:.0f} %"
    wrong = truth is not None and truth != label
    if wrong and truth is not None:
        text = f"{WRONG_MARK} {text}; right: {name_class(truth)}"
    axes.set_xlabel(
        fit_label(text, width),
        fontsize=SMALL,
        color=WRONG if wrong else BLACK,
        parse_math=False,
        labelpad=2,
    )


def overlay_map(axes: Axes, image: Image, heat: NDArray[Any], size: float = 2.0) -> None:
    """Show an image, in gray, under a heat map of any size that covers all of it."""
    gray = np.asarray(image, np.float32).reshape(*image.shape[:2], -1).mean(2)
    show_image(axes, gray.astype(np.uint8), size)
    height, width = image.shape[:2]
    axes.imshow(
        scale_map(heat),
        cmap=MAP,
        vmin=0,
        vmax=1,
        alpha=STRENGTH,
        interpolation="bilinear",
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
    )


def scale_map(heat: NDArray[Any]) -> NDArray[np.float32]:
    """Scale a map to 0 … 1, its largest value being 1; negative and undefined values become 0."""
    positive = np.nan_to_num(np.asarray(heat, np.float32), posinf=0, neginf=0).clip(min=0)
    largest = float(positive.max(initial=0))
    return (positive / largest if largest > 0 else positive).astype(np.float32)
