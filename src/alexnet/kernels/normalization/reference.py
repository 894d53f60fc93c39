"""Response normalization, ReLU and max pooling in plain PyTorch: what the kernels must compute.

Also used on devices without a kernel. Called by `operator`; must import neither it nor a kernel.
The symbols are those of the paper, section 3.3.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class NormPoolParameters(NamedTuple):
    """The parameters of the fused operation."""

    n: int
    """Number of channels in the window of a channel."""
    alpha: float
    """Factor of the sum of squares (not of the mean)."""
    beta: float
    """Exponent of the denominator."""
    k: float
    """Constant of the denominator."""
    towers: int
    """Number of groups of neighboring channels; a window lies within one group."""
    pool: int
    """Height and width of a pooling window."""
    stride: int
    """Distance between pooling windows."""
    relu: str
    """Where ReLU is: "first", "last" (after the pooling) or "none"."""


def norm_pool_reference(x: Tensor, parameters: NormPoolParameters) -> Tensor:
    """ReLU, response normalization and max pooling. (N, C, H, W) → (N, C, H', W')."""
    n, alpha, beta, k, towers, pool, stride, relu = parameters
    x = F.relu(x) if relu == "first" else x
    x = response_norm_reference(x, n=n, alpha=alpha, beta=beta, k=k, towers=towers)
    x = F.max_pool2d(x, pool, stride, ceil_mode=True)
    return F.relu(x) if relu == "last" else x


def response_norm_reference(
    x: Tensor, *, n: int, alpha: float, beta: float, k: float, towers: int
) -> Tensor:
    """Response normalization: b = a / (k + alpha * sum of a² over the window) ** beta.

    The window of channel i consists of the channels i - n // 2 … i - n // 2 + n - 1 that exist in
    its tower; if n is even, it has one more channel below i than above. The sums are a 1×1
    convolution with a banded matrix of zeros and ones, computed in float32 for half precision.
    """
    with _disable_autocast(x.device.type):
        a = x.float() if x.element_size() < 4 else x
        sums = F.conv2d(a.square(), _make_band(a, n, towers), groups=towers)
        return (a * (k + alpha * sums).pow(-beta)).to(x.dtype)


def _make_band(x: Tensor, n: int, towers: int) -> Tensor:
    """1×1 filters (C, C / towers, 1, 1) that add up the n channels of each window.

    6 channels, 2 towers, n = 3       j = 0 1 2
                         channel 0        1 1 0
                         channel 1        1 1 1
                         channel 2        0 1 1
                         channels 3 … 5   the same, of the second tower
    """
    channels = torch.arange(x.shape[1] // towers, device=x.device)
    position = channels[None, :] - (channels[:, None] - n // 2)  # of channel j in the window of i
    inside = (position >= 0) & (position < n)
    return inside.to(x.dtype).repeat(towers, 1)[:, :, None, None]


def _disable_autocast(device: str) -> AbstractContextManager[object]:
    available = torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if available else nullcontext()
