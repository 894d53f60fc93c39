"""The tensors that kernels read and write: channels_last in memory, with sizes for pooling.

Every kernel expects images (N, C, H, W) in the memory format channels_last, which NumPy sees as a
contiguous array (N, H, W, C): the C numbers of a pixel lie side by side.

    logical     x[n, c, y, x]
    in memory   n ─ y ─ x ─ c      offset = ((n·H + y)·W + x)·C + c

Called by every `operator.py`; imports no operation and no compiler.
"""

import numpy as np
import torch
from torch import Tensor

VECTOR = 16
"""Number of elements that `cpu_intrinsics.copy_vector` copies at a time. A kernel that uses it
requires the number of channels to be a multiple of it."""


def count_windows(size: int, pool: int, stride: int) -> int:
    """Return how many windows of length `pool` cover `size` pixels: the size after pooling.

    Rounded up, so that every pixel is covered, but without a window that would start outside the
    image. It is the `ceil_mode=True` of PyTorch. With windows of 3 at stride 2: 55 → 27 → 13 → 6.

        size 6, pool 3, stride 2      pixels   0 1 2 3 4 5
                                      window 0 └───┘
                                      window 1     └───┘
                                      window 2         └───    clipped at the border
    """
    windows = 1 + -(-(size - pool) // stride)
    return windows - 1 if (windows - 1) * stride >= size else windows


def check_window(x: Tensor, pool: int, stride: int) -> None:
    """Check that x is a floating-point tensor (N, C, H, W) with room for one pooling window.

    Raises ValueError otherwise.
    """
    if x.dim() != 4 or not x.is_floating_point():
        raise ValueError(
            f"x must be a floating-point tensor (N, C, H, W), got {x.dtype} {tuple(x.shape)}"
        )
    if pool < 1 or stride < 1 or min(count_windows(size, pool, stride) for size in x.shape[2:]) < 1:
        raise ValueError(
            f"no {pool}×{pool} window at stride {stride} fits into {x.shape[2]}×{x.shape[3]} "
            "pixels. Use larger images or a smaller window"
        )


def allocate_like(x: Tensor, height: int, width: int, dtype: torch.dtype | None = None) -> Tensor:
    """Allocate (N, C, height, width), channels_last, with the batch, channels and device of x.

    `dtype` is that of x unless given. The values are not initialized.
    """
    shape = *x.shape[:2], height, width
    layout = torch.channels_last
    return torch.empty(shape, dtype=dtype or x.dtype, device=x.device, memory_format=layout)


def allocate_pooled(
    x: Tensor, pool: int, stride: int, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """Allocate the outputs of max pooling: maxima and their argmax indices, (N, C, H', W').

    An index counts the positions in a window (`pooling.cpu_windows` has a drawing): uint8 if
    pool * pool < 256, else int32. The maxima are of `dtype`, or of that of x.
    """
    height, width = (count_windows(size, pool, stride) for size in x.shape[2:])
    index = torch.uint8 if pool * pool < 256 else torch.int32
    return allocate_like(x, height, width, dtype), allocate_like(x, height, width, index)


def to_channels_last(x: Tensor) -> Tensor:
    """Return x itself if it is channels_last in memory, else a copy that is."""
    return x.contiguous(memory_format=torch.channels_last)


def as_kernel_input(x: Tensor) -> Tensor:
    """Return x channels_last, and as float32 if it was bf16 or float16.

    For CPU kernels: NumPy has no bf16, and most kernels compute in float32 or float64 only.
    """
    return to_channels_last(x.float() if x.element_size() < 4 else x)


def as_array(x: Tensor) -> np.ndarray:
    """View a channels_last tensor (N, C, H, W) as a contiguous array (N, H, W, C), without a copy.

    bf16, which NumPy does not have, is viewed as uint16.
    """
    images = x.detach().permute(0, 2, 3, 1)
    if x.dtype == torch.bfloat16:
        return images.view(torch.int16).numpy().view(np.uint16)
    return images.numpy()
