"""Norms within a map, which the 2012 code has and the paper does not mention.

    response:  y = x / (k + alpha/n² · Σ x²)^beta
    contrast:  y = x / (k + alpha/n² · Σ d²)^beta,   d = x − the mean of the n × n pixels around it

Σ runs over the n × n pixels around each pixel, those inside the map. A window of even n is one
longer above and on the left.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def map_norm(x: Tensor, n: int, alpha: float, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Response norm within each map. N C H W → N C H W."""
    return Divide.apply(x, x, n, alpha / n**2, beta, k)


def contrast_norm(x: Tensor, n: int, alpha: float, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Contrast norm within each map. N C H W → N C H W.

    Each pixel has a mean of its own, and x itself is divided, as the 2012 code does it. That code
    took the means for constants on the way back; this is the whole gradient.
    """
    low, high = n // 2, n - 1 - n // 2
    inside = F.pad(torch.ones_like(x[:1, :1]), (low, high, low, high))
    mean = window_sums(x, n) / F.avg_pool2d(inside, n, 1, divisor_override=1)
    return Divide.apply(x, x - mean, n, alpha / n**2, beta, k)


def window_sums(x: Tensor, n: int, reach: int | None = None) -> Tensor:
    """The sum of the n × n pixels around each pixel, `reach` (n // 2) of them above and left."""
    low = n // 2 if reach is None else reach
    if n % 2:
        return F.avg_pool2d(x, n, 1, low, divisor_override=1)
    high = n - 1 - low
    return F.avg_pool2d(F.pad(x, (low, high, low, high)), n, 1, divisor_override=1)


def divide_formula(x: Tensor, d: Tensor, n: int, alpha: float, beta: float, k: float) -> Tensor:
    """x / (k + alpha · Σ d²)^beta, in float32 for half precision."""
    wide = torch.promote_types(x.dtype, torch.float32)
    base = k + alpha * window_sums(d.to(wide).square(), n)
    return (x * base.pow(-beta)).to(x.dtype)


class Divide(torch.autograd.Function):
    """What `divide_formula` computes, with roots for powers and little kept for the way back."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, d: Tensor, n: int, alpha: float, beta: float, k: float
    ) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        base = window_sums(d.to(wide).square(), n).mul_(alpha).add_(k)
        ctx.save_for_backward(x, d, base)
        ctx.n, ctx.alpha, ctx.beta = n, alpha, beta
        return inverse_power(base, beta).mul_(x).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Through x alone, and through d by way of every window that holds it."""
        x, d, base = ctx.saved_tensors
        to_x = inverse_power(base, ctx.beta).mul_(gradient)
        across = (to_x * x).div_(base)
        to_d = window_sums(across, ctx.n, reach=ctx.n - 1 - ctx.n // 2).mul_(d)
        to_d *= -2 * ctx.alpha * ctx.beta
        return to_x.to(x.dtype), to_d.to(d.dtype), None, None, None, None


def inverse_power(base: Tensor, beta: float) -> Tensor:
    """base^−beta in memory of its own. Powers are slow, roots are not."""
    if beta != 0.75:
        return base.pow(-beta)
    root = base.rsqrt()
    return root.sqrt().mul_(root)
