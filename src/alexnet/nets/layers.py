"""What the networks are made of, beyond what torch.nn has."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.kernels import convolve
from alexnet.kernels.dropout.operator import keep_mask

Hook = Callable[[str, Tensor], Tensor]
"""Called with every layer's name and output; what it returns goes on to the next layer."""


UNITS: dict[str, Callable[[], nn.Module]] = {
    "relu": partial(nn.ReLU, inplace=True),
    "tanh": nn.Tanh,
}
"""The units a network can be made of, by name."""


def pass_through(name: str, x: Tensor) -> Tensor:
    """Look at nothing: the `See` of a plain forward pass."""
    return x


def round_up(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Zeros right and below, so that strided windows cover every pixel: N C H W → N C H' W'.

    The 2012 code counts windows with ceil and reads zeros (the mean) past the edge: 224 pixels
    become 227, and conv1 has the 55×55 outputs of Figure 2. A side that fits stays as it is.
    """
    down, right = (-(side - kernel) % stride for side in x.shape[-2:])
    return F.pad(x, (0, right, 0, down)) if down or right else x


class Convolution(nn.Conv2d):
    """A convolution of stride 1, by the fastest way there is."""

    def __init__(
        self, inputs: int, maps: int, kernel: int, *, padding: int = 0, groups: int = 1
    ) -> None:
        super().__init__(inputs, maps, kernel, padding=padding, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W → N M H' W'."""
        padding = cast(int, self.padding[0])
        return convolve(x, self.weight, self.bias, padding=padding, groups=self.groups)


class Strided(nn.Conv2d):
    """A convolution without padding whose windows are counted as `round_up` counts them.

    In half precision by space to depth, once `prepare` has been told so. Units for half precision
    multiply several maps at once, pairs (AVX512-BF16, Arm), 8 (tensor cores) or 32 (AMX): 3 maps
    leave a part of them empty, the 48 of space to depth fill them.
    """

    deep = False
    """Whether it is computed by space to depth: by the type of its input, on every device."""

    def __init__(
        self, inputs: int, maps: int, kernel: int, *, stride: int, bias: bool = True
    ) -> None:
        super().__init__(inputs, maps, kernel, stride, bias=bias)

    def prepare(self, dtype: torch.dtype) -> None:
        """Choose how to compute, once, for inputs of this type."""
        self.deep = dtype.itemsize < 4

    def forward(self, x: Tensor) -> Tensor:
        """N C H W → N M H' W'."""
        if not self.deep:
            return super().forward(round_up(x, self.kernel_size[0], self.stride[0]))
        device = x.device.type
        if device in ("cpu", "cuda") and torch.is_autocast_enabled(device):
            x = x.to(torch.get_autocast_dtype(device))
        return by_depth(x, self.weight, self.bias, self.stride[0])


def by_depth(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """A strided convolution as one of stride 1 on fewer, deeper pixels. N C H W → N M H' W'.

    Each block of stride × stride pixels becomes one pixel: 3 maps become 48, and a filter of 11×11
    one of 3×3. Image and filter are filled up with zeros to whole blocks. In bf16 on AMX it takes
    half the time (`benchmarks/kernels.py`).
    """
    kernel = weight.shape[-1]
    deep = -(-kernel // stride)
    down, right = (
        (side_after(side, kernel, stride) + deep - 1) * stride - side for side in x.shape[-2:]
    )
    grown = -kernel % stride
    x = _deepened(F.pad(x, (0, right, 0, down)), stride)
    weight = _deepened(F.pad(weight, (0, grown, 0, grown)), stride)
    return F.conv2d(x, weight, bias)


def _deepened(x: Tensor, block: int) -> Tensor:
    """N C H W → N block²·C H/block W/block, channels_last: the pixels of each block, in a row."""
    n, maps, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(n, height // block, block, width // block, block * maps)
    blocks = rows.transpose(2, 3).reshape(n, height // block, width // block, -1)
    return blocks.permute(0, 3, 1, 2)


def side_after(side: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
    """The side of a layer's output, windows counted as `round_up` counts them.

    Raises ValueError where the input is smaller than one window.
    """
    if side + 2 * padding < kernel:
        raise ValueError(f"a {kernel}×{kernel} window does not fit {side}×{side} pixels")
    return 1 + math.ceil((side + 2 * padding - kernel) / stride)


def max_pool(x: Tensor, size: int = 3, stride: int = 2) -> Tensor:
    """The largest of each window, windows counted as `round_up` does. N C H W → N C H' W'."""
    return F.max_pool2d(x, size, stride, ceil_mode=True)


def avg_pool(x: Tensor, size: int = 3, stride: int = 2) -> Tensor:
    """The mean of those pixels of each window that are inside. N C H W → N C H' W'."""
    return F.avg_pool2d(x, size, stride, ceil_mode=True, count_include_pad=False)


def blur(x: Tensor, std: float, taps: int) -> Tensor:
    """A Gaussian of so many taps that add up to one, zeros outside. N C H W → N C H W."""
    distance = torch.arange(taps, device=x.device) - taps // 2
    line = torch.softmax(-(distance / std).square() / 2, 0).to(x.dtype)
    across = line.expand(x.shape[1], 1, 1, taps)
    x = F.conv2d(x, across, padding=(0, taps // 2), groups=x.shape[1])
    return F.conv2d(x, across.transpose(2, 3), padding=(taps // 2, 0), groups=x.shape[1])


def nail_bed(x: Tensor, stride: int) -> Tensor:
    """One pixel of every stride × stride, from the middle: N C H W → N C H/stride W/stride, up."""
    top, left = (((side - 1) % stride + 1) // 2 for side in x.shape[-2:])
    return x[:, :, top::stride, left::stride]


class Dropout(nn.Module):
    """Silence each unit with probability p while training; scale all by 1 − p afterwards.

    As the paper prints it (section 4.2): nothing is rescaled in training, and the outputs are
    multiplied at test time, where `torch.nn.Dropout` does it the other way round.

    Which units are kept follows from the key that `set_key` has written, the `layer` and a unit's
    place in the batch, the same in every precision, on every device. Without a key each forward
    pass draws one from torch's default generator. The layers of a network need numbers of their
    own, or their masks are alike.
    """

    draw: Tensor
    """2 int64: the key, and where the first row stands in the whole batch."""

    def __init__(self, p: float = 0.5, layer: int = 0) -> None:
        """Raises ValueError where p is no probability."""
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p is {p}, and must be a probability, from 0 to 1")
        self.p, self.layer, self.has_key = p, layer, False
        # On the CPU even in a network on `meta`, which gets its weights later, but no key.
        draw = torch.zeros(2, dtype=torch.int64, device="cpu")
        self.register_buffer("draw", draw, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """N … → N …"""
        return x * self.mask(x) if self.training else x * (1 - self.p)

    def mask(self, x: Tensor) -> Tensor:
        """Which units are kept this time: N … → N … bool."""
        self.draw_key()
        units = math.prod(x.shape[1:])
        return keep_mask(self.draw, len(x), units, layer=self.layer, p=self.p).view(x.shape)

    def draw_key(self) -> None:
        """Write a key drawn by torch's default generator, unless one has been set."""
        if not self.has_key:
            self.draw.random_(2**62)

    def extra_repr(self) -> str:
        return f"p={self.p}, layer={self.layer}"


class InvertedDropout(Dropout):
    """Dropout scaled as `torch.nn.Dropout` scales it: by 1 / (1 − p) in training, not afterwards.

    With p = 0 it does nothing.
    """

    def forward(self, x: Tensor) -> Tensor:
        """N … → N …"""
        if not self.training or self.p == 0:
            return x
        kept = x * self.mask(x)
        return kept / (1 - self.p) if self.p < 1 else kept


def dropouts(network: nn.Module) -> list[Dropout]:
    """The dropout layers of a network."""
    return [module for module in network.modules() if isinstance(module, Dropout)]


def set_key(network: nn.Module, key: int, first_row: int = 0) -> None:
    """Let dropout keep what this key says, from now on: call it before every training step.

    The key has up to 63 bits. `first_row` is where the first row that this process sees stands in
    the batch of all processes. Both are written into tensors on the device, where recorded graphs
    and compiled steps read them.
    """
    for dropout in dropouts(network):
        dropout.has_key = True
        dropout.draw[0].fill_(key)
        dropout.draw[1].fill_(first_row)


class Weights(nn.Module):
    """A layer of ours with weights and biases, which a training tells by their one dimension."""

    weight: nn.Parameter
    bias: nn.Parameter
    fan_in: int
    """How many numbers a unit reads."""


class TowerLinear(Weights):
    """A fully connected layer whose towers do not meet: each reads its own part of the inputs."""

    def __init__(self, inputs: int, outputs: int, towers: int = 2) -> None:
        super().__init__()
        self.towers, self.fan_in = towers, inputs // towers
        self.weight = nn.Parameter(torch.empty(outputs, self.fan_in))
        self.bias = nn.Parameter(torch.empty(outputs))
        keep_variance([self])

    def forward(self, x: Tensor) -> Tensor:
        """N D → N D', the first tower's units first."""
        weights, biases = self.weight.chunk(self.towers), self.bias.chunk(self.towers)
        parts = zip(x.chunk(self.towers, 1), weights, biases, strict=True)
        return torch.cat([F.linear(*part) for part in parts], 1)

    def extra_repr(self) -> str:
        return f"{self.fan_in * self.towers} → {len(self.weight)}, towers={self.towers}"


Weighted = nn.Conv2d | nn.Linear | Weights


def fan_in(layer: Weighted) -> int:
    """How many numbers a unit of the layer reads."""
    return layer.fan_in if isinstance(layer, Weights) else layer.weight[0].numel()


def gaussian(layer: Weighted, std: float, bias: float = 0.0) -> None:
    """Draw the weights from a zero-mean Gaussian and set the biases to one value (section 5)."""
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.constant_(layer.bias, bias)


def keep_variance(layers: Sequence[Weighted], gain: float = 2.0) -> None:
    """Draw weights so that layers keep the variance of what they get; biases zero.

    The standard deviation is √(gain / inputs of a unit), and √(1 / inputs) for the last layer,
    which nothing follows. A gain of 2 makes up for what a ReLU halves (arXiv 1502.01852, section
    2.2); a tanh of small numbers halves nothing.
    """
    for layer in layers:
        gaussian(layer, std=math.sqrt((1.0 if layer is layers[-1] else gain) / fan_in(layer)))
