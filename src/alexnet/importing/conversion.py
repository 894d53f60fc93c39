"""Weights and preprocessing of another program, turned into those of this package.

This package gives a network x' = (p − m) · s for each pixel p from 0 to 255, with the mean image m
and one scale s, red first. What the other programs do beyond that is put into the weights W of
conv1; the logits stay the same but for rounding.

torchvision: x = (p/255 − μ_c) / σ_c, with a standard deviation σ_c for each color c. Hence

    x = (p − 255 μ_c) / (255 σ_c) = x' · 1 / (255 σ_c s)       with m_c = 255 μ_c
    W x = W' x'                                                 with W'_c = W_c / (255 σ_c s)

The padding of conv1 is zero in x and in x', so it needs no change. s = 1 / (255 · mean of σ) keeps
the size of the weights, so that a learning rate and a weight decay mean what they meant there.

Caffe: x = p − m with the colors in the order blue, green, red: the input channels of W are
reversed, and the mean image is, too. fc6 reads maps in the order (map, row, column) in all three
programs, and so needs no change.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.batches.preprocessing import Preprocessing
from alexnet.images.resizing import Fit
from alexnet.importing.caffe_files import LARGEST_MEAN, read_binaryproto
from alexnet.importing.layouts import ForeignWeights
from alexnet.recipes.recipe import Recipe

SIDE = 256
"""Side to which all of these networks had images resized, in pixels."""
MEAN = 0.485, 0.456, 0.406
"""torchvision's mean of red, green and blue, from 0 to 1."""
DEVIATION = 0.229, 0.224, 0.225
"""torchvision's standard deviations."""
CAFFE_MEAN = 122.67891434, 116.66876762, 104.00698793
"""Red, green and blue of Caffe's mean image, averaged over its pixels, from 0 to 255."""

SCALE = 1 / (255 * sum(DEVIATION) / 3)
"""The factor s for torchvision: about 1/57.6."""

RECIPES = {
    "torchvision": Recipe(
        network="torchvision",
        batch_size=256,
        weight_decay=1e-4,
        decay_biases=True,
        schedule="steps",
        steps=("0.1@30", "0.01@60"),  # type: ignore[arg-type]  # a Recipe takes texts
        color_noise=0.0,
        pixel_scale=SCALE,
    ),
    **{
        name: Recipe(
            network=name,
            crop=227,
            batch_size=256,
            schedule="steps",
            steps=("0.1@20", "0.01@40", "0.001@60", "0.0001@80"),  # type: ignore[arg-type]
            bias_rate=2.0,
            color_noise=0.0,
        )
        for name in ("bvlc-alexnet", "caffenet")
    },
}
"""The trainings that the weights come from, as far as a recipe can describe them: torchvision also
cut crops of random sizes."""


@dataclass(frozen=True, eq=False)
class ConvertedNetwork:
    """A network that this package can run: what a checkpoint needs of it."""

    recipe: Recipe
    preprocessing: Preprocessing
    weights: dict[str, Tensor]


def convert(foreign: ForeignWeights, mean: Path | None = None) -> ConvertedNetwork:
    """Make weights and preprocessing with which this package computes the network's logits.

    `mean` is a mean image for Caffe's networks (.binaryproto or .npy). Without it, the mean color
    of Caffe's own is used. Raises ValueError for a mean that does not fit, and OSError if it cannot
    be read.
    """
    conv1 = foreign.weights["conv1.weight"]
    if foreign.network == "torchvision":
        if mean is not None:
            raise ValueError(
                "--mean is for networks of Caffe: torchvision's mean is the same for all its "
                "networks. Leave it out"
            )
        conv1, pixels = fold_deviations(conv1), _fill([255 * x for x in MEAN])
        fit: Fit = "crop"
    else:
        conv1 = reverse_colors(conv1)
        pixels = _fill(CAFFE_MEAN) if mean is None else read_caffe_mean(mean)
        fit = "squash"
    recipe = RECIPES[foreign.network]
    preprocessing = _make_preprocessing(recipe, fit, torch.from_numpy(pixels))
    return ConvertedNetwork(recipe, preprocessing, {**foreign.weights, "conv1.weight": conv1})


def fold_deviations(weight: Tensor) -> Tensor:
    """Divide the filters of each color by its standard deviation: W_c / (255 σ_c s).

    (maps, 3, height, width) → the same shape, float32.
    """
    factors = 1 / (255 * SCALE * torch.tensor(DEVIATION, dtype=torch.float64))
    return (weight.double() * factors[:, None, None]).float()


def reverse_colors(weight: Tensor) -> Tensor:
    """Make filters for blue, green, red read red, green, blue, or the reverse.

    (maps, 3, height, width) → the same shape.
    """
    return weight.flip(1).contiguous()


def read_caffe_mean(path: Path) -> NDArray[np.float32]:
    """Read a mean of Caffe's: float32 (256, 256, 3), red first, from 0 to 255.

    .binaryproto, or .npy of the shape (3, 256, 256) or (3,), blue first as Caffe has them. Raises
    ValueError for another file or shape, OSError if it cannot be read.
    """
    values = read_binaryproto(path) if path.suffix == ".binaryproto" else _read_npy(path)
    values = values[0] if values.ndim == 4 and len(values) == 1 else values
    if values.shape not in ((3,), (3, SIDE, SIDE)):
        raise ValueError(
            f"{path} has the shape {values.shape}, and a mean has (3, {SIDE}, {SIDE}), or (3,) for "
            "one color"
        )
    if not np.isfinite(values).all() or abs(values).max() > 255:
        raise ValueError(f"{path} is no mean of pixels: its values are not all from 0 to 255")
    colors_last = np.moveaxis(values, 0, -1)[..., ::-1]
    return np.ascontiguousarray(np.broadcast_to(colors_last, (SIDE, SIDE, 3)), np.float32)


def _read_npy(path: Path) -> NDArray[np.float32]:
    """Read an array of numbers, at most 64 MiB."""
    if path.stat().st_size > LARGEST_MEAN:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes: no mean image is so large")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        return np.array(array, np.float32)
    except (ValueError, TypeError, SyntaxError, EOFError, OverflowError, MemoryError) as error:
        raise ValueError(f"{path} is neither a .binaryproto nor an .npy of numbers") from error


def _fill(color: list[float] | tuple[float, ...]) -> NDArray[np.float32]:
    """Make a mean image of one color: float32 (256, 256, 3)."""
    return np.full((SIDE, SIDE, 3), color, np.float32)


def _make_preprocessing(recipe: Recipe, fit: Fit, mean: Tensor) -> Preprocessing:
    """Make the preprocessing; color noise was not used, so its components are left at nothing."""
    return Preprocessing(
        side=SIDE,
        crop=recipe.crop,
        fit=fit,
        pixels="rgb",
        pixel_scale=recipe.pixel_scale,
        mean=mean,
        components=torch.eye(3),
        deviations=torch.zeros(3),
        mean_at=recipe.mean_at,
        upright=True,
    )
