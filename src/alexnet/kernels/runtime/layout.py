"""The memory that the kernels read and write: channels_last, a pixel's maps side by side."""

import numpy as np
import torch
from torch import Tensor

VECTOR = 16
"""Numbers that are copied at once, and that maps come in where a kernel says so."""


def count_windows(size: int, pool: int, stride: int) -> int:
    """How many windows: enough to cover every pixel, none beginning outside. 55 → 27 → 13 → 6."""
    windows = 1 + -(-(size - pool) // stride)
    return windows - 1 if (windows - 1) * stride >= size else windows


def check_window(x: Tensor, pool: int, stride: int) -> None:
    """Raises ValueError unless x is N C H W floats with room for a window."""
    if x.dim() != 4 or not x.is_floating_point():
        raise ValueError(
            f"maps are {x.dtype} of shape {tuple(x.shape)}, and must be floats, N C H W"
        )
    if pool < 1 or stride < 1 or min(count_windows(size, pool, stride) for size in x.shape[2:]) < 1:
        raise ValueError(
            f"no {pool}×{pool} window at stride {stride} fits maps of {x.shape[2]}×{x.shape[3]}. "
            "Use larger images or a smaller window"
        )


def allocate_like(x: Tensor, height: int, width: int, dtype: torch.dtype | None = None) -> Tensor:
    """An empty tensor with x's batch, maps and device."""
    shape = *x.shape[:2], height, width
    layout = torch.channels_last
    return torch.empty(shape, dtype=dtype or x.dtype, device=x.device, memory_format=layout)


def allocate_pooled(
    x: Tensor, pool: int, stride: int, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """Empty maxima and the positions that won: a byte each, if a window's pixels count so far."""
    height, width = (count_windows(size, pool, stride) for size in x.shape[2:])
    position = torch.uint8 if pool * pool < 256 else torch.int32
    return allocate_like(x, height, width, dtype), allocate_like(x, height, width, position)


def to_channels_last(x: Tensor) -> Tensor:
    """The same values with a pixel's maps side by side."""
    return x.contiguous(memory_format=torch.channels_last)


def as_kernel_input(x: Tensor) -> Tensor:
    """The same, channels_last, as float32 if it was half precision, which most kernels lack."""
    return to_channels_last(x.float() if x.element_size() < 4 else x)


def as_array(x: Tensor) -> np.ndarray:
    """The memory of a channels_last tensor N C H W as an array N H W C; nothing is copied.

    bf16, which NumPy does not have, as uint16.
    """
    images = x.detach().permute(0, 2, 3, 1)
    if x.dtype == torch.bfloat16:
        return images.view(torch.int16).numpy().view(np.uint16)
    return images.numpy()
