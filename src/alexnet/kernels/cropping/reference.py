"""Cropping in plain PyTorch: the reference for the kernels on CPU and CUDA.

    record (side × side)                    crop (size × size)

    ┌──────────────────────┐                mirrored: column x of the crop is column
    │        left          │                          size - 1 - x of the window
    │         │            │
    │ top ── ┌┴───────┐    │                ┌────────┐
    │        │ window │    │      ───►      │        │  (window - mean + shift) * scale
    │        └────────┘    │                └────────┘
    └──────────────────────┘

The mean has the size of a record. Its window may have the same offsets or different ones: the 2012
code subtracts the center of the mean from every crop.

The operator and the kernels import this module; it imports only the coefficients of `colors`.
"""

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from alexnet.colors import BLUE_OF_U, GREEN_OF_U, GREEN_OF_V, RED_OF_V

Pixels = Literal["rgb", "yuv420"]
"""How a record stores its pixels; `to_rgb` gives the shapes."""


class Crops(NamedTuple):
    """The sources and parameters of N crops; all tensors on one device."""

    indices: Tensor
    """int64 (N,): the record of each crop."""
    offsets: Tensor
    """int64 (N, 4): top and left of the window in the record, top and left in the mean."""
    flips: Tensor
    """bool (N,): whether the crop is mirrored."""
    shifts: Tensor
    """float32 (N, 3): the shifts that are added to red, green and blue, in gray levels."""
    mean: Tensor
    """float32 (side, side, 3): the mean image that is subtracted, in gray levels."""


def crop_reference(
    records: np.ndarray | Tensor, crops: Crops, scale: float, size: int, pixels: str
) -> Tensor:
    """Return what `operator.crop` computes, as float32 (N, 3, size, size)."""
    images = to_rgb(_select_records(records, crops.indices), len(crops.mean), pixels)
    along = torch.arange(size, device=images.device)
    across = torch.where(crops.flips[:, None], size - 1 - along, along)  # (N, size)
    tops, lefts, mean_tops, mean_lefts = crops.offsets.T[:, :, None]  # (N, 1) each
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    window = images[batch, (tops + along)[:, :, None], (lefts + across)[:, None, :]]
    mean = crops.mean[(mean_tops + along)[:, :, None], (mean_lefts + across)[:, None, :]]
    return ((window - mean + crops.shifts[:, None, None, :]) * scale).permute(0, 3, 1, 2)


def to_rgb(records: Tensor, side: int, pixels: str) -> Tensor:
    """Return the colors of uint8 records, neither rounded nor clipped: float32 (N, side, side, 3).

    "rgb" records are (N, side, side, 3). "yuv420" records are (N, side² · 3/2): the Y plane, then
    U and V at half the size, each sample of which belongs to a block of 2×2 pixels:

        Y: side × side      U: side/2 × side/2      V: side/2 × side/2
    """
    if pixels == "rgb":
        return records.float()
    area, half = side * side, side // 2
    y = records[:, :area].float().view(-1, side, side)
    u, v = (records[:, area:].float() - 128).view(-1, 2, half, half).unbind(1)
    u, v = (plane.repeat_interleave(2, 1).repeat_interleave(2, 2) for plane in (u, v))
    colors = y + RED_OF_V * v, y + GREEN_OF_U * u + GREEN_OF_V * v, y + BLUE_OF_U * u
    return torch.stack(colors, -1)


def _select_records(records: np.ndarray | Tensor, indices: Tensor) -> Tensor:
    if isinstance(records, np.ndarray):
        return torch.from_numpy(records[indices.numpy()])
    return records[indices]
