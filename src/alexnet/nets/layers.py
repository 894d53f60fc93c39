"""What the networks are made of, beyond what torch.nn has."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

See = Callable[[str, Tensor], Tensor]
"""Called with every layer's name and output; what it returns goes on to the next layer."""


def unseen(name: str, x: Tensor) -> Tensor:
    """Look at nothing: the `See` of a plain forward pass."""
    return x


def round_up(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Zeros right and below, so that strided windows cover every pixel: N C H W → N C H' W'.

    The 2012 code counts windows with ceil and reads zeros (the mean) past the edge: 224 pixels
    become 227, and conv1 has the 55×55 outputs of Figure 2. A side that fits stays as it is.
    """
    down, right = (-(side - kernel) % stride for side in x.shape[-2:])
    return F.pad(x, (0, right, 0, down)) if down or right else x


def side_after(side: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
    """The side of a layer's output, windows counted as `round_up` counts them.

    Raises ValueError where the input is smaller than one window.
    """
    if side + 2 * padding < kernel:
        raise ValueError(f"a {kernel}×{kernel} window does not fit {side}×{side} pixels")
    return 1 + math.ceil((side + 2 * padding - kernel) / stride)


class Dropout(nn.Module):
    """Silence each unit with probability p while training; scale all by 1 − p afterwards.

    As the paper prints it (section 4.2): nothing is rescaled in training, and the outputs are
    multiplied at test time, where `torch.nn.Dropout` does it the other way round.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """N D → N D."""
        if not self.training:
            return x * (1 - self.p)
        return x * (torch.rand_like(x) >= self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def gaussian(layer: nn.Conv2d | nn.Linear, std: float, bias: float = 0.0) -> None:
    """Draw the weights from a zero-mean Gaussian and set the biases to one value (section 5)."""
    nn.init.normal_(layer.weight, std=std)
    assert layer.bias is not None
    nn.init.constant_(layer.bias, bias)


def keep_variance(layers: list[nn.Conv2d | nn.Linear]) -> None:
    """Draw weights so that ReLU layers keep the variance of what they get; biases zero.

    The standard deviation is √(2 / inputs of a unit), and √(1 / inputs) for the last layer, which
    no ReLU follows (arXiv 1502.01852, section 2.2).
    """
    for layer in layers:
        gain = 1.0 if layer is layers[-1] else 2.0
        gaussian(layer, std=math.sqrt(gain / layer.weight[0].numel()))
