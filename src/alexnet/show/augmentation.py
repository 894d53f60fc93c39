"""What the augmentation of section 4.1 does to an image: random crops, and the ten views.

`alexnet figures` calls this module with images that `explaining.augmented` makes exactly as the
training does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from alexnet.show.style import (
    NORMAL,
    ORANGE,
    WIDTH,
    Image,
    Images,
    add_title,
    hide_axes,
    new_figure,
    show_image,
    with_style,
)
from alexnet.terminal import format_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PER_ROW = 5
VIEW_NAMES = "top left", "top right", "center", "bottom left", "bottom right"
"""The views in the order of `batches.views`; five mirrored ones follow."""


@with_style
def draw_augmented(
    original: Image,
    augmented: Images,
    views: Images,
    *,
    crop: int | None = None,
    title: str | None = None,
) -> Figure:
    """Draw an image, what training made of it, and the views that evaluation averages over.

    Args:
        original: the image as packed, uint8 (side, side, 3).
        augmented: the image as a training saw it in so many epochs, uint8 (crop, crop, 3) each.
        views: the ten views of section 4.1, or the five that are not mirrored.
        crop: the side of a crop; the central one is then outlined in the original.
        title: the title of the figure.

    Raises ValueError if there is nothing to draw beside the original.
    """
    if not len(augmented) or not len(views):
        raise ValueError("there are no augmented images, or no views, to draw")
    rows = -(-len(augmented) // PER_ROW), -(-len(views) // PER_ROW)
    cell = (WIDTH - 0.3) / (PER_ROW + 2)
    heights = rows[0] * cell + 0.3, rows[1] * (cell + 0.2) + 0.3
    figure = new_figure(WIDTH, sum(heights) + 0.35 * bool(title), title)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[2, PER_ROW])[0]
    _draw_original(left, original, crop, 2 * cell)
    above, below = right.subfigures(
        2, 1, squeeze=False, height_ratios=[cell * rows[0] + 0.3, (cell + 0.2) * rows[1] + 0.3]
    )[:, 0]
    _draw_group(
        above, f"in training: its first {format_count(len(augmented), 'epoch')}", augmented, cell
    )
    _draw_group(
        below, f"in evaluation: the {format_count(len(views), 'view')}", views, cell, VIEW_NAMES
    )
    return figure


def _draw_original(part: Any, original: Image, crop: int | None, width: float) -> None:
    """The original image with the outline of its central crop."""
    from matplotlib.patches import Rectangle

    part.suptitle("as packed", fontsize=NORMAL)
    axes = part.subplots()
    show_image(axes, original, width)
    axes.set_anchor("N")
    if crop is None:
        return
    start = (len(original) - crop) // 2 - 0.5
    axes.add_patch(Rectangle((start, start), crop, crop, fill=False, color=ORANGE, linewidth=1.5))
    axes.set_xlabel(f"{len(original)}×{len(original)} pixels,\noutlined: central {crop}×{crop}")
    axes.xaxis.label.set_fontsize(8)


def _draw_group(
    part: Any, name: str, images: Images, width: float, names: Sequence[str] = ()
) -> None:
    """A row of images after the other, with a heading; `names` repeat in every row."""
    part.suptitle(name, fontsize=NORMAL)
    rows = -(-len(images) // PER_ROW)
    grid = part.subplots(rows, PER_ROW, squeeze=False)
    for axes in grid.flat:
        hide_axes(axes)
    for k, image in enumerate(images):
        axes = grid[k // PER_ROW][k % PER_ROW]
        show_image(axes, image, width)
        if names:
            mirrored = "↔ " if k >= PER_ROW else ""
            add_title(axes, mirrored + names[k % PER_ROW], width)
