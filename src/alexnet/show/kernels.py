"""The kernels of a network's first layer as small images, like the paper's Figure 3.

One block of kernels for each tower: the paper's first tower learned colorless kernels and its
second one colored ones. `alexnet figures` calls this module with weights that `explaining.kernels`
reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alexnet.show.style import NORMAL, WIDTH, hide_axes, new_figure, use_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 16
"""Kernels per row, as in Figure 3."""


def draw_kernels(weights: NDArray[Any], towers: int = 1, *, title: str | None = None) -> Figure:
    """Draw the kernels of the first layer, one block for each tower.

    Args:
        weights: (kernels, 3, height, width) for RGB, or (kernels, 1, height, width).
        towers: in how many equal parts the kernels come, the first tower's first.
        title: the title of the figure.

    Each kernel has its own contrast: a weight of zero is mid-gray, the weight of the kernel that is
    farthest from zero is black or full color. Raises ValueError for weights of other shapes, and if
    the kernels cannot be divided among the towers.
    """
    if weights.ndim != 4 or weights.shape[1] not in (1, 3) or not weights.size:
        raise ValueError(
            f"weights are {weights.shape}, but kernels that can be seen are (kernels, 3, height, "
            "width) or (kernels, 1, height, width)"
        )
    if towers < 1 or len(weights) % towers:
        raise ValueError(f"{len(weights)} kernels cannot be divided among {towers} towers")
    blocks = [tile_kernels(part) for part in np.split(scale_kernels(weights), towers)]
    heights = [WIDTH * block.shape[0] / block.shape[1] for block in blocks]
    figure = new_figure(WIDTH, sum(heights) + 0.28 * towers + 0.35 * bool(title), title)
    with use_style():
        grid = figure.subplots(towers, 1, squeeze=False, height_ratios=heights)
    for tower, (axes, block) in enumerate(zip(grid.flat, blocks, strict=True), 1):
        axes.imshow(block, interpolation="nearest")
        hide_axes(axes)
        size = "×".join(map(str, (*weights.shape[2:], weights.shape[1])))
        name = f"tower {tower}: " if towers > 1 else ""
        axes.set_title(
            f"{name}{len(weights) // towers} kernels of {size}", fontsize=NORMAL, loc="left", pad=4
        )
    return figure


def scale_kernels(weights: NDArray[Any]) -> NDArray[np.float32]:
    """Scale each kernel to 0 … 1, with zero at 0.5: (N, 3, H, W) → float32 (N, H, W, 3)."""
    kernels = np.nan_to_num(np.asarray(weights, np.float32)).transpose(0, 2, 3, 1)
    largest = np.abs(kernels).max((1, 2, 3), keepdims=True)
    scaled = (0.5 + kernels / np.where(largest > 0, 2 * largest, 1)).astype(np.float32)
    return np.repeat(scaled, 3, axis=3) if scaled.shape[3] == 1 else scaled


def tile_kernels(kernels: NDArray[np.float32], columns: int = COLUMNS) -> NDArray[np.float32]:
    """Put kernels (N, H, W, 3) into rows, one pixel of white between them: (rows, columns, 3)."""
    n, height, width, _ = kernels.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    image = np.ones((rows * (height + 1) - 1, columns * (width + 1) - 1, 3), np.float32)
    for k, kernel in enumerate(kernels):
        top, left = k // columns * (height + 1), k % columns * (width + 1)
        image[top : top + height, left : left + width] = kernel
    return image
