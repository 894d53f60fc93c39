"""The networks for CIFAR-10 that came with the 2012 code and its successor of 2014.

Their names are those of the 2012 code: the time of their training or their test error on CIFAR-10.
Sizes, units, norms and initial weights are those of their definition files. The order of
ReLU and max pooling does not matter, since max(relu(x)) = relu(max(x)). `Cifar` is also the network
of the paper's Figure 1, and the last two are those of section 3.3. This module imports no other
network.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.kernels import norm_pool, relu_pool, response_norm
from alexnet.kernels.within_channel.operator import within_channel_norm
from alexnet.nets.drawing import Drawn
from alexnet.nets.layers import (
    UNITS,
    Convolution,
    Hook,
    InvertedDropout,
    Weighted,
    avg_pool,
    draw_gaussian,
    draw_keeping_variance,
    max_pool,
    pass_through,
    side_after,
)
from alexnet.nets.local import Local


class CifarNetwork(Drawn):
    """A network that draws its first weights with a standard deviation for each layer."""

    stds: ClassVar[dict[str, float]]
    """Layer → standard deviation of its first weights; biases begin at 0."""
    gain = 2.0
    """The gain of the nonlinearity, for `draw_keeping_variance`."""

    def initialize(self, initialization: str) -> None:
        """Draw new weights: as the 2012 code (`printed`), or with `draw_keeping_variance`."""
        layers = {n: m for n, m in self.named_children() if isinstance(m, Weighted)}
        if initialization == "variance":
            draw_keeping_variance(list(layers.values()), self.gain)
            return
        for name, layer in layers.items():
            draw_gaussian(layer, std=self.stds[name])


class Cifar(CifarNetwork):
    """`19pct`: images minus the mean → logits. 89,578 parameters for ten classes.

    (N, 3, size, size) → (N, classes). `unit` is relu or tanh: the two networks of the paper's
    Figure 1, as far as they can be reconstructed. The paper says only that they have four layers.
    """

    stds: ClassVar = {"conv1": 0.0001, "conv2": 0.01, "conv3": 0.01, "fc4": 0.01}

    def __init__(
        self, classes: int = 10, size: int = 32, dropout: float = 0.0, *, unit: str = "relu"
    ) -> None:
        """Raises ValueError for a unit that is neither relu nor tanh."""
        super().__init__()
        if unit not in UNITS:
            raise ValueError(f"unit is {unit!r}; it has to be {' or '.join(UNITS)}")
        side = compute_pooled_side(size, 3)  # 32 → 16 → 8 → 4
        self.conv1 = Convolution(3, 32, 5, padding=2)
        self.conv2 = Convolution(32, 32, 5, padding=2)
        self.conv3 = Convolution(32, 64, 5, padding=2)
        self.fc4 = nn.Linear(64 * side * side, classes)
        self.dropout = InvertedDropout(dropout)
        self.unit, self.gain = unit, 2.0 if unit == "relu" else 1.0

    def forward(self, x: Tensor, hook: Hook = pass_through) -> Tensor:
        """(N, 3, H, W) → (N, classes); calls `hook` for each layer."""          # N  3 32 32
        x = hook("conv1", self.conv1(x))                                         # N 32 32 32
        x = hook("pool1", self.pool(x, "max"))                                   # N 32 16 16
        x = hook("conv2", self.conv2(x))                                         # N 32 16 16
        x = hook("pool2", self.pool(x, "avg"))                                   # N 32  8  8
        x = hook("conv3", self.conv3(x))                                         # N 64  8  8
        x = hook("pool3", self.pool(x, "avg"))                                   # N 64  4  4
        return hook("fc4", self.fc4(self.dropout(x.contiguous().flatten(1))))    # N classes

    def pool(self, x: Tensor, kind: Literal["max", "avg"]) -> Tensor:
        """Nonlinearity, then pooling with 3×3 windows at stride 2: sides W → ⌊W/2⌋."""
        if self.unit == "relu":
            return relu_pool(x, kind=kind)
        return max_pool(F.tanh(x)) if kind == "max" else avg_pool(F.tanh(x))


class Cifar80sec(CifarNetwork):
    """`80sec`: 26 % test error after 80 seconds of training on a GPU of 2012.

    (N, 3, size, size) → (N, classes).
    """

    stds: ClassVar = {"conv1": 0.0001, "conv2": 0.01, "conv3": 0.01, "fc4": 0.1, "fc5": 0.1}

    def __init__(self, classes: int = 10, size: int = 32, dropout: float = 0.0) -> None:
        super().__init__()
        side = compute_pooled_side(size, 3)  # 32 → 16 → 8 → 4
        self.conv1 = Convolution(3, 32, 5, padding=2)
        self.conv2 = Convolution(32, 32, 5, padding=2)
        self.conv3 = Convolution(32, 64, 5, padding=2)
        self.fc4 = nn.Linear(64 * side * side, 64)
        self.fc5 = nn.Linear(64, classes)
        self.dropout = InvertedDropout(dropout)

    def forward(self, x: Tensor, hook: Hook = pass_through) -> Tensor:
        """(N, 3, H, W) → (N, classes); calls `hook` for each layer."""      # N  3 32 32
        x = hook("conv1", self.conv1(x))                                     # N 32 32 32
        x = hook("pool1", relu_pool(x, kind="max"))                          # N 32 16 16
        x = hook("conv2", self.conv2(x))                                     # N 32 16 16
        x = hook("pool2", relu_pool(x, kind="avg"))                          # N 32  8  8
        x = hook("conv3", self.conv3(x))                                     # N 64  8  8
        x = hook("pool3", relu_pool(x, kind="avg"))                          # N 64  4  4
        x = hook("fc4", F.relu(self.fc4(x.contiguous().flatten(1))))         # N 64
        return hook("fc5", self.fc5(self.dropout(x)))                        # N classes


class Cifar18pct(CifarNetwork):
    """`18pct`: `19pct` with norms within maps. (N, 3, size, size) → (N, classes)."""

    stds: ClassVar = Cifar.stds

    def __init__(self, classes: int = 10, size: int = 32, dropout: float = 0.0) -> None:
        super().__init__()
        side = compute_pooled_side(size, 3)  # 32 → 16 → 8 → 4
        self.conv1 = Convolution(3, 32, 5, padding=2)
        self.conv2 = Convolution(32, 32, 5, padding=2)
        self.conv3 = Convolution(32, 64, 5, padding=2)
        self.fc4 = nn.Linear(64 * side * side, classes)
        self.dropout = InvertedDropout(dropout)

    def forward(self, x: Tensor, hook: Hook = pass_through) -> Tensor:
        """(N, 3, H, W) → (N, classes); calls `hook` for each layer."""          # N  3 32 32
        x = hook("conv1", self.conv1(x))                                         # N 32 32 32
        x = hook("pool1", relu_pool(x, kind="max"))                              # N 32 16 16
        x = hook("norm1", within_channel_norm(x, n=3, alpha=5e-5))               # N 32 16 16
        x = hook("conv2", self.conv2(x))                                         # N 32 16 16
        x = hook("pool2", relu_pool(x, kind="avg"))                              # N 32  8  8
        x = hook("norm2", within_channel_norm(x, n=3, alpha=5e-5))               # N 32  8  8
        x = hook("conv3", self.conv3(x))                                         # N 64  8  8
        x = hook("pool3", relu_pool(x, kind="avg"))                              # N 64  4  4
        return hook("fc4", self.fc4(self.dropout(x.contiguous().flatten(1))))    # N classes


class Cifar13pct(CifarNetwork):
    """`conv-local-13pct`: two convolutions and two local layers.

    (N, 3, size, size) → (N, classes). The network of section 3.3 without response norm. That its
    images are crops of 24×24 is inferred from the default border of the 2012 code.
    """

    stds: ClassVar = {"conv1": 0.0001, "conv2": 0.01, "local3": 0.04, "local4": 0.04, "fc5": 0.01}

    def __init__(self, classes: int = 10, size: int = 24, dropout: float = 0.0) -> None:
        super().__init__()
        side = compute_pooled_side(size, 2)  # 24 → 12 → 6
        self.conv1 = Convolution(3, 64, 5, padding=2)
        self.conv2 = Convolution(64, 64, 5, padding=2)
        self.local3 = Local(64, 32, side)
        self.local4 = Local(32, 32, side)
        self.fc5 = nn.Linear(32 * side * side, classes)
        self.dropout = InvertedDropout(dropout)

    def forward(self, x: Tensor, hook: Hook = pass_through) -> Tensor:
        """(N, 3, H, W) → (N, classes); calls `hook` for each layer."""          # N  3 24 24
        x = hook("conv1", self.conv1(x))                                         # N 64 24 24
        x = hook("pool1", relu_pool(x))                                          # N 64 12 12
        x = hook("conv2", self.conv2(x))                                         # N 64 12 12
        x = hook("pool2", relu_pool(x))                                          # N 64  6  6
        x = hook("local3", F.relu(self.local3(x)))                               # N 32  6  6
        x = hook("local4", F.relu(self.local4(x)))                               # N 32  6  6
        return hook("fc5", self.fc5(self.dropout(x.contiguous().flatten(1))))    # N classes


class Cifar11pct(CifarNetwork):
    """`cifar10-11pct`: `conv-local-13pct` with response norms over 9 maps and a wider local3.

    (N, 3, size, size) → (N, classes). The network of section 3.3 with response norm. The first norm
    follows the pooling of its layer, the second precedes it.
    """

    stds: ClassVar = Cifar13pct.stds

    def __init__(self, classes: int = 10, size: int = 24, dropout: float = 0.0) -> None:
        super().__init__()
        side = compute_pooled_side(size, 2)  # 24 → 12 → 6
        self.conv1 = Convolution(3, 64, 5, padding=2)
        self.conv2 = Convolution(64, 64, 5, padding=2)
        self.local3 = Local(64, 64, side)
        self.local4 = Local(64, 32, side)
        self.fc5 = nn.Linear(32 * side * side, classes)
        self.dropout = InvertedDropout(dropout)

    def forward(self, x: Tensor, hook: Hook = pass_through) -> Tensor:
        """(N, 3, H, W) → (N, classes); calls `hook` for each layer."""          # N  3 24 24
        x = hook("conv1", self.conv1(x))                                         # N 64 24 24
        x = hook("pool1", relu_pool(x))                                          # N 64 12 12
        x = hook("norm1", response_norm(x, n=9, alpha=1e-3, k=1, over_n=True))   # N 64 12 12
        x = hook("conv2", self.conv2(x))                                         # N 64 12 12
        x = hook("pool2", norm_pool(x, n=9, alpha=1e-3, k=1, over_n=True))       # N 64  6  6
        x = hook("local3", F.relu(self.local3(x)))                               # N 64  6  6
        x = hook("local4", F.relu(self.local4(x)))                               # N 32  6  6
        return hook("fc5", self.fc5(self.dropout(x.contiguous().flatten(1))))    # N classes


def compute_pooled_side(side: int, times: int) -> int:
    """Return the side after `times` poolings with 3×3 windows at stride 2."""
    for _ in range(times):
        side = side_after(side, 3, 2)
    return side
