"""The network of the paper as printed: Krizhevsky, Sutskever & Hinton (2012), sections 3 to 5.

Five convolutional and three fully connected layers, 60,965,224 parameters for 1000 classes. Each of
the paper's two GPUs has one tower: conv2, conv4, conv5 and both response norms read the maps of
their own tower only, all other layers read both.

    layer    tower 1     tower 2     reads
    conv1     48×55×55    48×55×55   the image, 3×224×224
    conv2    128×27×27   128×27×27   its own tower
    conv3    192×13×13   192×13×13   both towers
    conv4    192×13×13   192×13×13   its own tower
    conv5    128×13×13   128×13×13   its own tower
    fc6      2048        2048        both towers
    fc7      2048        2048        both towers
    fc8            1000              both towers

The paper's own variations are arguments. This module imports layers and kernels, never another
network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.kernels import norm_pool, relu_pool, response_norm
from alexnet.nets.drawing import Drawn
from alexnet.nets.layers import (
    UNITS,
    Convolution,
    Dropout,
    Hook,
    Strided,
    Weighted,
    draw_gaussian,
    draw_keeping_variance,
    max_pool,
    pass_through,
    side_after,
)

LAYERS = "conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"
HIDDEN = LAYERS[1:-1]


class AlexNet(Drawn):
    """The network of Figure 2: images minus the mean → logits.

    (N, 3, size, size) → (N, classes).

    unit:     the nonlinearity, relu or tanh (section 3.1)
    towers:   2, or 1 with half the kernels (section 3.2)
    norm:     whether there are response norms (section 3.3)
    overlap:  pooling windows of 3×3 pixels at stride 2; if not, of 2×2 (section 3.4)
    dropout:  the probability that a unit is set to zero (section 4.2)
    without:  hidden layers to leave out (section 7); their pooling stays
    """

    def __init__(
        self,
        classes: int = 1000,
        size: int = 224,
        dropout: float = 0.5,
        *,
        unit: str = "relu",
        towers: int = 2,
        norm: bool = True,
        overlap: bool = True,
        without: Sequence[str] = (),
    ) -> None:
        """Raises ValueError for a variation that the paper does not have."""
        super().__init__()
        check_variations(unit, towers, without)
        side = side_after(size, 11, 4)  # 224 → 55
        for _ in range(3):
            side = side_after(side, 3, 2)  # 55 → 27 → 13 → 6
        self.conv1 = Strided(3, 48 * towers, 11, stride=4)
        self.conv2 = Convolution(48 * towers, 128 * towers, 5, padding=2, groups=towers)
        self.conv3 = Convolution(128 * towers, 192 * towers, 3, padding=1)
        self.conv4 = Convolution(192 * towers, 192 * towers, 3, padding=1, groups=towers)
        self.conv5 = Convolution(192 * towers, 256, 3, padding=1, groups=towers)
        self.fc6: nn.Module = nn.Linear(256 * side * side, 4096)
        self.fc7: nn.Module = nn.Linear(4096, 4096)
        self.fc8: nn.Module = nn.Linear(4096, classes)
        self.pool1 = Pool(unit, norm, overlap, towers)
        self.pool2 = Pool(unit, norm, overlap, towers)
        self.pool5 = Pool(unit, False, overlap)
        self.unit3, self.unit4, self.unit6, self.unit7 = (UNITS[unit]() for _ in range(4))
        self.dropout6: nn.Module = Dropout(dropout, 6)
        self.dropout7: nn.Module = Dropout(dropout, 7)
        for name in sorted(set(without)):
            leave_out(self, name)

    def initialize(self, initialization: str) -> None:
        """Draw new weights.

        `printed`: Gaussians of standard deviation 0.01, biases of 1 in conv2, conv4, conv5, fc6 and
        fc7, of 0 elsewhere (section 5). `variance`: `draw_keeping_variance`.
        """
        layers = {n: m for n, m in self.named_children() if isinstance(m, Weighted)}
        if initialization == "variance":
            gain = 2.0 if self.pool1.unit == "relu" else 1.0
            draw_keeping_variance(list(layers.values()), gain)
            return
        for name, layer in layers.items():
            draw_gaussian(layer, std=0.01, bias=float(name not in ("conv1", "conv3", "fc8")))

    def forward(self, x: Tensor, hook: Hook = pass_through) -> Tensor:
        """(N, 3, H, W) → (N, classes); calls `hook` for each layer."""
        return self.classify(self.extract(x, hook), hook)

    def extract(self, x: Tensor, hook: Hook = pass_through) -> Tensor:
        """The convolutional layers: (N, 3, H, W) → (N, 256·6·6).""" # N    3 224 224
        x = hook("conv1", self.conv1(x))                              # N   96  55  55
        x = hook("pool1", self.pool1(x))                              # N   96  27  27
        x = hook("conv2", self.conv2(x))                              # N  256  27  27
        x = hook("pool2", self.pool2(x))                              # N  256  13  13
        x = hook("conv3", self.unit3(self.conv3(x)))                  # N  384  13  13
        x = hook("conv4", self.unit4(self.conv4(x)))                  # N  384  13  13
        x = hook("conv5", self.conv5(x))                              # N  256  13  13
        x = hook("pool5", self.pool5(x))                              # N  256   6   6
        return x.contiguous().flatten(1)                              # N 9216

    def classify(self, x: Tensor, hook: Hook = pass_through) -> Tensor:
        """The fully connected layers: (N, 256·6·6) → (N, classes)."""
        x = hook("fc6", self.unit6(self.fc6(x)))                      # N 4096
        x = hook("fc7", self.unit7(self.fc7(self.dropout6(x))))       # N 4096
        return hook("fc8", self.fc8(self.dropout7(x)))                # N classes


class Pool(nn.Module):
    """The stages after conv1, conv2, conv5: nonlinearity, response norm (3.3), max pooling (3.4).

    Without overlap, windows of 2×2 ignore the last row and column if their number is odd, so that
    the sizes equal those of overlapping windows, 55 → 27 → 13 → 6.
    """

    def __init__(self, unit: str, norm: bool, overlap: bool, towers: int = 1) -> None:
        super().__init__()
        self.unit, self.norm, self.towers = unit, norm, towers
        self.size = 3 if overlap else 2

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H/2, W/2); one pass over memory if a kernel does all of it."""
        if self.size == 2:
            x = x[:, :, : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2]
        if self.unit == "relu" and self.norm:
            return norm_pool(x, n=5, alpha=1e-4, beta=0.75, k=2, towers=self.towers, pool=self.size)
        if self.unit == "relu":
            return relu_pool(x, pool=self.size)
        x = F.tanh(x) if self.unit == "tanh" else x
        if self.norm:
            x = response_norm(x, n=5, alpha=1e-4, beta=0.75, k=2, towers=self.towers)
        return max_pool(x, self.size)

    def extra_repr(self) -> str:
        """The stages in order, as `print(network)` shows them."""
        stages = [] if self.unit == "none" else [self.unit]
        if self.norm:
            stages.append("response norm (n=5, α=1e-4, β=0.75, k=2)")
        return ", ".join((*stages, f"max pooling {self.size}×{self.size} at stride 2"))


def check_variations(unit: str, towers: int, without: Sequence[str]) -> None:
    """Raise ValueError for a variation that the paper does not have."""
    if unit not in UNITS:
        raise ValueError(f"unit is {unit!r}; it has to be {' or '.join(UNITS)}")
    if towers not in (1, 2):
        raise ValueError(f"towers is {towers}; the paper has 2, or 1 with half the kernels")
    if unknown := [name for name in without if name not in HIDDEN]:
        raise ValueError(
            f"cannot leave out {', '.join(unknown)}; the hidden layers that can be left out are "
            f"{', '.join(HIDDEN)}"
        )


def leave_out(network: AlexNet, name: str) -> None:
    """Remove a hidden layer, its nonlinearity and its dropout; the next layer gets its inputs."""
    after = LAYERS[LAYERS.index(name) + 1]
    setattr(network, after, rebuild_after_removal(getattr(network, name), getattr(network, after)))
    if name in ("conv2", "conv5"):
        getattr(network, f"pool{name[-1]}").unit = "none"
    for part in (name, f"unit{name[-1]}", f"dropout{name[-1]}"):
        if hasattr(network, part):
            setattr(network, part, nn.Identity())


def rebuild_after_removal(
    gone: nn.Conv2d | nn.Linear, layer: nn.Conv2d | nn.Linear
) -> nn.Conv2d | nn.Linear:
    """Return a new layer with the inputs of `gone` and the outputs of `layer`, which follows it."""
    if isinstance(layer, nn.Conv2d):  # conv3, conv4 or conv5
        inputs = cast(nn.Conv2d, gone).in_channels
        return Convolution(inputs, layer.out_channels, 3, padding=1, groups=layer.groups)
    if isinstance(gone, nn.Conv2d):
        pixels = layer.in_features // gone.out_channels
        return nn.Linear(gone.in_channels * pixels, layer.out_features)
    return nn.Linear(gone.in_features, layer.out_features)
