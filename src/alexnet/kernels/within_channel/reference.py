"""Normalization within each channel in plain PyTorch: what the kernel must compute.

Also used for local contrast normalization, and on devices without a kernel. Called by `operator`;
must import neither it nor a kernel.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def sum_windows(x: Tensor, n: int) -> Tensor:
    """Add up the n × n pixels around each pixel, without those outside. (N, C, H, W) → the same.

    The window starts n // 2 pixels above and to the left, so an even window extends further there.

        n = 3   · · ·      n = 4   · · · ·      x: the pixel itself
                · x ·              · · · ·
                · · ·              · · x ·
                                   · · · ·
    """
    low = n // 2
    if n % 2:
        return F.avg_pool2d(x, n, 1, low, divisor_override=1)
    high = n - 1 - low
    return F.avg_pool2d(F.pad(x, (low, high, low, high)), n, 1, divisor_override=1)


def divide_by_windows(x: Tensor, d: Tensor, n: int, alpha: float, beta: float, k: float) -> Tensor:
    """x / (k + alpha * sum of d² over the window) ** beta, with float32 sums for half precision."""
    wide = torch.promote_types(x.dtype, torch.float32)
    base = k + alpha * sum_windows(d.to(wide).square(), n)
    return (x * base.pow(-beta)).to(x.dtype)


def subtract_window_means(x: Tensor, n: int) -> Tensor:
    """Subtract from each pixel the mean of the n × n pixels around it, of those that exist."""
    return x - sum_windows(x, n) / sum_windows(torch.ones_like(x[:1, :1]), n)
