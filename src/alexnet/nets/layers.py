"""The layers that the networks are made of and torch.nn does not have, and their first weights.

    windows          round_up, side_after       sizes round up, as in the 2012 code
                     round_down                 sizes round down, as in torch.nn
    convolutions     Convolution, Strided       the same results as nn.Conv2d, computed faster
    pooling          max_pool, avg_pool         section 3.4
    low resolution   blur, subsample            the second path of some networks of 2012
    dropout          Dropout, InvertedDropout   section 4.2; masks that repeat from a key
    towers           TowerLinear                section 3.2
    first weights    draw_gaussian, draw_keeping_variance

"Section" is one of Krizhevsky, Sutskever & Hinton (2012). Every file of networks imports this one;
it knows nothing of recipes, data or training. Response norm and ReLU with pooling are in
`alexnet.kernels`.
"""

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
"""A function that a network calls with the name and the output of each layer; what it returns goes
on to the next layer."""

UNITS: dict[str, Callable[[], nn.Module]] = {
    "relu": partial(nn.ReLU, inplace=True),
    "tanh": nn.Tanh,
}
"""The nonlinearities that a network can have, by name (section 3.1)."""


def pass_through(name: str, x: Tensor) -> Tensor:
    """Return x as it is: the hook that does nothing."""
    return x


def round_up(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Pad zeros at the right and below, so that strided windows cover every pixel.

    (N, C, H, W) → (N, C, H', W'). The 2012 code rounds the number of windows up and reads zeros,
    which are the mean, beyond the edge. So 224 pixels become 227, and conv1, with windows of 11
    pixels at stride 4, has the 55×55 outputs of Figure 2. A side that fits stays as it is.
    """
    below, right = (-(side - kernel) % stride for side in x.shape[-2:])
    return F.pad(x, (0, right, 0, below)) if below or right else x


def round_down(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Drop pixels at the right and below that no whole window covers.

    (N, C, H, W) → (N, C, H', W'). torch.nn and Caffe's convolutions round the number of windows
    down: they never read these pixels. After this, the layers of this file, which round up, have
    the sizes of those programs. A side that fits stays as it is.
    """
    height, width = (side - (side - kernel) % stride for side in x.shape[-2:])
    return x if (height, width) == tuple(x.shape[-2:]) else x[..., :height, :width]


class Convolution(nn.Conv2d):
    """A convolution of stride 1: nn.Conv2d, computed by the fastest kernel for its size.

    `maps` is the number of output channels, as the paper calls them; `groups` is the number of
    towers that do not see each other's maps (section 3.2).
    """

    def __init__(
        self, inputs: int, maps: int, kernel: int, *, padding: int = 0, groups: int = 1
    ) -> None:
        super().__init__(inputs, maps, kernel, padding=padding, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, maps, H', W')."""
        padding = cast(int, self.padding[0])
        return convolve(x, self.weight, self.bias, padding=padding, groups=self.groups)


class Strided(nn.Conv2d):
    """A strided convolution, whose number of windows is rounded up (`round_up`).

    In half precision it is computed with `convolve_space_to_depth` if `prepare` was called for that
    type. Instructions for half precision multiply several channels at once: 2 (AVX512-BF16, Arm), 8
    (tensor cores) or 32 (AMX). The 3 channels of an image leave part of them unused; the 48 of
    space to depth fill them.
    """

    uses_space_to_depth = False
    """Set by `prepare`; depends on the type of the input only, so it is the same on all devices."""

    def __init__(
        self, inputs: int, maps: int, kernel: int, *, stride: int, bias: bool = True
    ) -> None:
        super().__init__(inputs, maps, kernel, stride, bias=bias)

    def prepare(self, dtype: torch.dtype) -> None:
        """Choose how to compute, for inputs of this type: before training or evaluation begins."""
        self.uses_space_to_depth = dtype.itemsize < 4

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, maps, H', W')."""
        if not self.uses_space_to_depth:
            return super().forward(round_up(x, self.kernel_size[0], self.stride[0]))
        device = x.device.type
        if device in ("cpu", "cuda") and torch.is_autocast_enabled(device):
            x = x.to(torch.get_autocast_dtype(device))
        return convolve_space_to_depth(x, self.weight, self.bias, self.stride[0])


def convolve_space_to_depth(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """A strided convolution, computed as one of stride 1 on an image of fewer, deeper pixels.

    (N, C, H, W) → (N, maps, H', W'). Each block of stride × stride pixels becomes one pixel. With
    stride 4, an image of 3 channels becomes one of 4·4·3 = 48, and a filter of 11×11 becomes one of
    3×3 on these, after both are padded with zeros to whole blocks:

        ┌────┬────┬────┐
        │a b │c d │    │      ┌──┬──┬──┐     pixel 0 has the channels a, b, e, f,
        │e f │g h │ …  │  →   │0 │1 │… │     pixel 1 has c, d, g, h;
        ├────┼────┼────┤      └──┴──┴──┘     here, stride is 2
        └────┴────┴────┘

    In bf16 with AMX this takes half the time of the plain convolution (`benchmarks/kernels.py`).
    """
    kernel = weight.shape[-1]
    blocks = -(-kernel // stride)  # of a filter, rounded up
    below, right = (
        (side_after(side, kernel, stride) + blocks - 1) * stride - side for side in x.shape[-2:]
    )
    missing = -kernel % stride
    x = _move_space_to_depth(F.pad(x, (0, right, 0, below)), stride)
    weight = _move_space_to_depth(F.pad(weight, (0, missing, 0, missing)), stride)
    return F.conv2d(x, weight, bias)


def _move_space_to_depth(x: Tensor, block: int) -> Tensor:
    """Put the pixels of each block into the channels of one pixel.

    (N, C, H, W) → (N, block²·C, H/block, W/block), channels_last.
    """
    n, maps, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(n, height // block, block, width // block, block * maps)
    blocks = rows.transpose(2, 3).reshape(n, height // block, width // block, -1)
    return blocks.permute(0, 3, 1, 2)


def side_after(side: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
    """Return the side of a layer's output: 1 + ⌈(side + 2·padding − kernel) / stride⌉.

    torch.nn rounds down instead. Raises ValueError if the input is smaller than one window.
    """
    if side + 2 * padding < kernel:
        raise ValueError(f"a {kernel}×{kernel} window does not fit {side}×{side} pixels")
    return 1 + math.ceil((side + 2 * padding - kernel) / stride)


def max_pool(x: Tensor, size: int = 3, stride: int = 2) -> Tensor:
    """The maximum of each window; sizes round up (`side_after`). (N, C, H, W) → (N, C, H', W').

    The defaults are the overlapping pooling of section 3.4. A window at the edge has fewer pixels.
    """
    return F.max_pool2d(x, size, stride, ceil_mode=True)


def avg_pool(x: Tensor, size: int = 3, stride: int = 2) -> Tensor:
    """The mean of the pixels of each window that are inside the image; sizes round up.

    (N, C, H, W) → (N, C, H', W').
    """
    return F.avg_pool2d(x, size, stride, ceil_mode=True, count_include_pad=False)


def blur(x: Tensor, std: float, taps: int) -> Tensor:
    """Convolve each channel with a Gaussian of taps × taps pixels that sums to one.

    (N, C, H, W) → (N, C, H, W), with zeros beyond the edge. The Gaussian is separable: the rows are
    filtered first, then the columns, with weights proportional to exp(−d² / 2·std²).
    """
    distance = torch.arange(taps, device=x.device) - taps // 2
    line = torch.softmax(-(distance / std).square() / 2, 0).to(x.dtype)
    across = line.expand(x.shape[1], 1, 1, taps)
    x = F.conv2d(x, across, padding=(0, taps // 2), groups=x.shape[1])
    return F.conv2d(x, across.transpose(2, 3), padding=(taps // 2, 0), groups=x.shape[1])


def subsample(x: Tensor, stride: int) -> Tensor:
    """Keep one pixel of every stride × stride block, on a centered grid.

    (N, C, H, W) → (N, C, ⌈H/stride⌉, ⌈W/stride⌉). cuda-convnet calls it a bed of nails.
    """
    top, left = (((side - 1) % stride + 1) // 2 for side in x.shape[-2:])
    return x[:, :, top::stride, left::stride]


class Dropout(nn.Module):
    """Set each unit to zero with probability p in training; multiply all by 1 − p in evaluation.

    This is dropout as the paper has it (section 4.2): nothing is rescaled in training, and "at test
    time, we use all the neurons but multiply their outputs by 0.5". `torch.nn.Dropout` rescales in
    training instead; see `InvertedDropout`.

    The mask is a function of the key that `set_key` wrote, of `layer` and of a unit's place in the
    batch, so it is the same in every precision and on every device. Without a key, each forward
    pass draws one from torch's default generator. The layers of a network need different values of
    `layer`, or their masks are alike.
    """

    draw: Tensor
    """Two int64: the key, and the index of this process's first row in the batch of all."""

    def __init__(self, p: float = 0.5, layer: int = 0) -> None:
        """Raises ValueError if p is no probability."""
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p is {p}, and must be a probability, from 0 to 1")
        self.p, self.layer, self.has_key = p, layer, False
        # A network that is made on `meta` gets its weights later, but no key: so it is made here.
        draw = torch.zeros(2, dtype=torch.int64, device="cpu")
        self.register_buffer("draw", draw, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) → (N, …)."""
        return x * self.mask(x) if self.training else x * (1 - self.p)

    def mask(self, x: Tensor) -> Tensor:
        """Return which units this forward pass keeps: (N, …) → (N, …) of bool."""
        self.draw_key()
        units = math.prod(x.shape[1:])
        return keep_mask(self.draw, len(x), units, layer=self.layer, p=self.p).view(x.shape)

    def draw_key(self) -> None:
        """Draw a key from torch's default generator, unless `set_key` has set one."""
        if not self.has_key:
            self.draw.random_(2**62)

    def extra_repr(self) -> str:
        return f"p={self.p}, layer={self.layer}"


class InvertedDropout(Dropout):
    """Dropout as `torch.nn.Dropout`: scaled by 1 / (1 − p) in training, nothing in evaluation.

    The masks are those of `Dropout`. With p = 0 it does nothing.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) → (N, …)."""
        if not self.training or self.p == 0:
            return x
        kept = x * self.mask(x)
        return kept / (1 - self.p) if self.p < 1 else kept


def find_dropouts(network: nn.Module) -> list[Dropout]:
    """Return the dropout layers of a network."""
    return [module for module in network.modules() if isinstance(module, Dropout)]


def set_key(network: nn.Module, key: int, first_row: int = 0) -> None:
    """Set the key that the dropout masks of a network follow from; call it before every step.

    The key has at most 63 bits. `first_row` is the index of this process's first row in the batch
    of all processes. Both are written into tensors on the device, which CUDA graphs and compiled
    steps read.
    """
    for dropout in find_dropouts(network):
        dropout.has_key = True
        dropout.draw[0].fill_(key)
        dropout.draw[1].fill_(first_row)


class CustomLayer(nn.Module):
    """A layer with weights and biases that torch.nn does not have.

    `bias` has to have one dimension and `weight` more: that is how `training.sgd` tells them apart.
    """

    weight: nn.Parameter
    bias: nn.Parameter
    fan_in: int
    """The number of inputs of one unit."""


class TowerLinear(CustomLayer):
    """A fully connected layer in towers: each reads its own part of the inputs only.

    `weight` is (outputs, inputs / towers): the first rows belong to the first tower.
    """

    def __init__(self, inputs: int, outputs: int, towers: int = 2) -> None:
        super().__init__()
        self.towers, self.fan_in = towers, inputs // towers
        self.weight = nn.Parameter(torch.empty(outputs, self.fan_in))
        self.bias = nn.Parameter(torch.empty(outputs))
        draw_keeping_variance([self])

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) → (N, outputs), the first tower's units first."""
        weights, biases = self.weight.chunk(self.towers), self.bias.chunk(self.towers)
        parts = zip(x.chunk(self.towers, 1), weights, biases, strict=True)
        return torch.cat([F.linear(*part) for part in parts], 1)

    def extra_repr(self) -> str:
        return f"{self.fan_in * self.towers} → {len(self.weight)}, towers={self.towers}"


Weighted = nn.Conv2d | nn.Linear | CustomLayer
"""The layers that have weights."""


def get_fan_in(layer: Weighted) -> int:
    """Return the number of inputs of one unit of a layer: C·K·K for a convolution of K×K."""
    return layer.fan_in if isinstance(layer, CustomLayer) else layer.weight[0].numel()


def draw_gaussian(layer: Weighted, std: float, bias: float = 0.0) -> None:
    """Draw weights from a Gaussian with mean 0; set the biases to one value (section 5)."""
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.constant_(layer.bias, bias)


def draw_keeping_variance(layers: Sequence[Weighted], gain: float = 2.0) -> None:
    """Draw weights with which each layer keeps the variance of its inputs; biases are zero.

    The weights are Gaussian with a standard deviation of √(gain / fan-in), and of √(1 / fan-in) for
    the last layer, which no nonlinearity follows. A ReLU halves the mean square, which a gain of 2
    makes up for (arXiv 1502.01852, section 2.2); tanh is close to the identity for small inputs, so
    its gain is 1.
    """
    for layer in layers:
        std = math.sqrt((1.0 if layer is layers[-1] else gain) / get_fan_in(layer))
        draw_gaussian(layer, std)
