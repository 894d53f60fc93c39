"""The kernels of a network's first layer, read from the weights of a checkpoint.

`show.kernels` draws them. No network is run.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def read_first_kernels(weights: Mapping[str, Tensor]) -> tuple[NDArray[np.float32], int]:
    """Return the kernels of the first layer and the number of its towers.

    The first layer is the first convolution of an image with 3 channels: float32 (kernels, 3,
    height, width). There are as many towers as the next convolution has groups: its kernels then
    have fewer channels than the first layer has kernels (section 3.2: conv2 of the paper reads 48
    of 96). Raises ValueError if no layer reads an image.
    """
    convolutions = [x for name, x in weights.items() if name.endswith("weight") and x.ndim == 4]
    for k, kernels in enumerate(convolutions):
        if kernels.shape[1] == 3:
            following = convolutions[k + 1] if k + 1 < len(convolutions) else None
            return kernels.detach().float().cpu().numpy(), _count_towers(len(kernels), following)
    raise ValueError("the network has no convolution that reads an image with 3 channels")


def _count_towers(kernels: int, following: Tensor | None) -> int:
    """How many times the channels of the next convolution's kernels go into those of this one."""
    if following is None or kernels % following.shape[1]:
        return 1
    return kernels // int(following.shape[1])
