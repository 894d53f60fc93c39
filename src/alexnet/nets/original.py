"""The networks that the 2012 code ran for the paper's tables, by the numbers of its lab notes.

They differ from the paper as printed (`nets.alexnet`) as follows:
* Layer 1 is convolution → response norm → max pooling → ReLU, so its norm reads signed values.
* A second norm, within each map, follows the response norm of layer 2.
* Both norms divide alpha by the number of values in their window.
* conv3, conv4, conv5 (and conv6) begin with a standard deviation of 0.03 instead of 0.01.

As in `nets.alexnet`, sizes round up, dropout rescales at test time, and response norms read the
maps of one tower. This file has net 145 and the networks that were made by changing it. Each
`forward` is written out, so that every network reads like its figure. It imports no other network.
"""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.kernels import norm_pool, relu_pool
from alexnet.kernels.within_channel.operator import within_channel_norm
from alexnet.nets.drawing import Drawn
from alexnet.nets.layers import (
    Convolution,
    Dropout,
    Hook,
    Strided,
    TowerLinear,
    Weighted,
    draw_gaussian,
    draw_keeping_variance,
    pass_through,
    side_after,
)

norm_pool_2012 = partial(norm_pool, n=5, alpha=1e-4, over_n=True, beta=0.75, k=2)
"""Response norm and max pooling with the constants of the 2012 code."""
norm_max_relu = partial(norm_pool_2012, order="norm-pool-relu")
"""What follows conv1: response norm, max pooling, ReLU."""
relu_norm = partial(norm_pool_2012, pool=1, stride=1)
"""What follows conv2: ReLU, response norm. Pooling over single pixels changes nothing."""


class Net145(Drawn):
    """The network of the paper's tables: images minus the mean → logits.

    (N, 3, size, size) → (N, classes). 60,965,224 parameters.

    ILSVRC-2010: 37.5 % top-1 and 17.0 % top-5 error, ten views, test.
    ILSVRC-2012: 40.7 % and 18.2 %, ten views, validation.
    """

    towers = 2
    """One for each GPU of 2012."""

    def __init__(self, classes: int = 1000, size: int = 224, dropout: float = 0.5) -> None:
        super().__init__()
        towers, side = self.towers, self.compute_last_side(size)
        self.conv1 = Strided(3, 48 * towers, 11, stride=4)
        self.conv2 = Convolution(48 * towers, 128 * towers, 5, padding=2, groups=towers)
        self.conv3 = Convolution(128 * towers, 192 * towers, 3, padding=1)
        self.conv4 = Convolution(192 * towers, 192 * towers, 3, padding=1, groups=towers)
        self.conv5 = Convolution(192 * towers, 256, 3, padding=1, groups=towers)
        self.fc6: nn.Module = nn.Linear(256 * side * side, 4096)
        self.fc7: nn.Module = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, classes)
        self.dropout6, self.dropout7 = Dropout(dropout, 6), Dropout(dropout, 7)

    def compute_last_side(self, size: int) -> int:
        """Return the side of the maps that fc6 reads."""
        side = side_after(size, 11, 4)  # 224 → 55
        for _ in range(3):
            side = side_after(side, 3, 2)  # 55 → 27 → 13 → 6
        return side

    def initialize(self, initialization: str) -> None:
        """Draw new weights: as the 2012 code (`printed`), or with `draw_keeping_variance`."""
        layers = {n: m for n, m in self.named_children() if isinstance(m, Weighted)}
        if initialization == "variance":
            classifier = layers.pop("fc8")  # last, also if subclasses added layers after it
            draw_keeping_variance([*layers.values(), classifier])
            return
        for name, layer in layers.items():
            std = 0.03 if name in ("conv3", "conv4", "conv5", "conv6") else 0.01
            draw_gaussian(layer, std, bias=float(name not in ("conv1", "conv3", "linear8", "fc8")))

    def forward(self, x: Tensor, hook: Hook = pass_through) -> Tensor:
        """(N, 3, H, W) → (N, classes); calls `hook` for each layer."""      # N    3 224 224
        x = hook("conv1", self.conv1(x))                                     # N   96  55  55
        x = hook("pool1", norm_max_relu(x, towers=self.towers))              # N   96  27  27
        x = hook("conv2", self.conv2(x))                                     # N  256  27  27
        x = hook("norm2", relu_norm(x, towers=self.towers))                  # N  256  27  27
        x = hook("map2", within_channel_norm(x, n=5, alpha=1e-3))            # N  256  27  27
        x = hook("pool2", relu_pool(x))                                      # N  256  13  13
        x = hook("conv3", F.relu(self.conv3(x), inplace=True))               # N  384  13  13
        x = hook("conv4", F.relu(self.conv4(x), inplace=True))               # N  384  13  13
        x = hook("conv5", self.conv5(x))                                     # N  256  13  13
        x = hook("pool5", relu_pool(x))                                      # N  256   6   6
        return self.classify(x, hook)

    def classify(self, x: Tensor, hook: Hook) -> Tensor:
        """The fully connected layers: (N, 256, 6, 6) → (N, classes)."""
        x = x.contiguous().flatten(1)                                        # N 9216
        x = hook("fc6", F.relu(self.fc6(x), inplace=True))                   # N 4096
        x = hook("fc7", F.relu(self.fc7(self.dropout6(x)), inplace=True))    # N 4096
        return hook("fc8", self.fc8(self.dropout7(x)))                       # N classes


class Net145Half(Net145):
    """One tower of net 145, but with its conv5, fc6 and fc7 at full width: 59,798,312 parameters.

    The paper compares the two towers with it. ILSVRC-2010: 39.2 % and 18.2 %, ten views, test.
    """

    towers = 1


class Net147(Net145):
    """Net 145 with pooling windows of 2×2; the paper compares overlapping pooling with it.

    Sizes round up, so these pools leave larger maps. conv2 is padded by one pixel instead of two
    and conv5 by none, which gives the last maps and the parameters of net 145.

    ILSVRC-2012: 41.1 % and 18.5 %, ten views.
    """

    def __init__(self, classes: int = 1000, size: int = 224, dropout: float = 0.5) -> None:
        super().__init__(classes, size, dropout)
        self.conv2 = Convolution(96, 256, 5, padding=1, groups=2)
        self.conv5 = Convolution(384, 256, 3, padding=0, groups=2)

    def compute_last_side(self, size: int) -> int:
        """Return the side of the maps that fc6 reads."""
        side = side_after(side_after(size, 11, 4), 2, 2)      # 224 → 55 → 28
        side = side_after(side_after(side, 5, 1, 1), 2, 2)    # 28 → 26 → 13
        return side_after(side_after(side, 3), 2, 2)          # 13 → 11 → 6

    def forward(self, x: Tensor, hook: Hook = pass_through) -> Tensor:
        """(N, 3, H, W) → (N, classes); calls `hook` for each layer."""      # N    3 224 224
        x = hook("conv1", self.conv1(x))                                     # N   96  55  55
        x = hook("pool1", norm_max_relu(x, towers=2, pool=2))                # N   96  28  28
        x = hook("conv2", self.conv2(x))                                     # N  256  26  26
        x = hook("norm2", relu_norm(x, towers=self.towers))                  # N  256  26  26
        x = hook("map2", within_channel_norm(x, n=5, alpha=1e-3))            # N  256  26  26
        x = hook("pool2", relu_pool(x, pool=2))                              # N  256  13  13
        x = hook("conv3", F.relu(self.conv3(x), inplace=True))               # N  384  13  13
        x = hook("conv4", F.relu(self.conv4(x), inplace=True))               # N  384  13  13
        x = hook("conv5", self.conv5(x))                                     # N  256  11  11
        x = hook("pool5", relu_pool(x, pool=2))                              # N  256   6   6
        return self.classify(x, hook)


class Net148(Net145):
    """Net 145 without any norm; the paper compares response norm with it.

    The norm within maps is missing too, so the paper's gain of 1.4 % and 1.2 % is that of three
    norms together. ILSVRC-2012: 42.0 % and 19.4 %, ten views.
    """

    def forward(self, x: Tensor, hook: Hook = pass_through) -> Tensor:
        """(N, 3, H, W) → (N, classes); calls `hook` for each layer."""      # N    3 224 224
        x = hook("conv1", self.conv1(x))                                     # N   96  55  55
        x = hook("pool1", relu_pool(x))                                      # N   96  27  27
        x = hook("conv2", self.conv2(x))                                     # N  256  27  27
        x = hook("pool2", relu_pool(x))                                      # N  256  13  13
        x = hook("conv3", F.relu(self.conv3(x), inplace=True))               # N  384  13  13
        x = hook("conv4", F.relu(self.conv4(x), inplace=True))               # N  384  13  13
        x = hook("conv5", self.conv5(x))                                     # N  256  13  13
        x = hook("pool5", relu_pool(x))                                      # N  256   6   6
        return self.classify(x, hook)


class Net150(Net145):
    """Net 145 with towers that are connected in fc8 only: 33,259,880 parameters.

    ILSVRC-2012: 41.8 % and 19.3 %, ten views.
    """

    def __init__(self, classes: int = 1000, size: int = 224, dropout: float = 0.5) -> None:
        super().__init__(classes, size, dropout)
        side = self.compute_last_side(size)
        self.conv3 = Convolution(256, 384, 3, padding=1, groups=2)
        self.fc6 = TowerLinear(256 * side * side, 4096)
        self.fc7 = TowerLinear(4096, 4096)


class Net167(Net145):
    """Net 145 without the two norms of layer 2: its error is slightly lower.

    ILSVRC-2012: 40.5 % and 18.1 %, ten views.
    """

    def forward(self, x: Tensor, hook: Hook = pass_through) -> Tensor:
        """(N, 3, H, W) → (N, classes); calls `hook` for each layer."""      # N    3 224 224
        x = hook("conv1", self.conv1(x))                                     # N   96  55  55
        x = hook("pool1", norm_max_relu(x, towers=self.towers))              # N   96  27  27
        x = hook("conv2", self.conv2(x))                                     # N  256  27  27
        x = hook("pool2", relu_pool(x))                                      # N  256  13  13
        x = hook("conv3", F.relu(self.conv3(x), inplace=True))               # N  384  13  13
        x = hook("conv4", F.relu(self.conv4(x), inplace=True))               # N  384  13  13
        x = hook("conv5", self.conv5(x))                                     # N  256  13  13
        x = hook("pool5", relu_pool(x))                                      # N  256   6   6
        return self.classify(x, hook)


class Net146(Net145):
    """Net 145 with a sixth convolution before fc6, which reads both towers.

    The pre-trained networks of the paper's tables. 61,555,304 parameters for 1000 classes,
    99,182,152 for the 10,184 of ImageNet Fall 2009. ILSVRC-2012 after pre-training: 39.0 % and
    16.6 %, ten views.
    """

    def __init__(self, classes: int = 1000, size: int = 224, dropout: float = 0.5) -> None:
        super().__init__(classes, size, dropout)
        self.conv6 = Convolution(256, 256, 3, padding=1)

    def forward(self, x: Tensor, hook: Hook = pass_through) -> Tensor:
        """(N, 3, H, W) → (N, classes); calls `hook` for each layer."""      # N    3 224 224
        x = hook("conv1", self.conv1(x))                                     # N   96  55  55
        x = hook("pool1", norm_max_relu(x, towers=self.towers))              # N   96  27  27
        x = hook("conv2", self.conv2(x))                                     # N  256  27  27
        x = hook("norm2", relu_norm(x, towers=self.towers))                  # N  256  27  27
        x = hook("map2", within_channel_norm(x, n=5, alpha=1e-3))            # N  256  27  27
        x = hook("pool2", relu_pool(x))                                      # N  256  13  13
        x = hook("conv3", F.relu(self.conv3(x), inplace=True))               # N  384  13  13
        x = hook("conv4", F.relu(self.conv4(x), inplace=True))               # N  384  13  13
        x = hook("conv5", self.conv5(x))                                     # N  256  13  13
        x = hook("pool5", relu_pool(x))                                      # N  256   6   6
        x = hook("conv6", F.relu(self.conv6(x), inplace=True))               # N  256   6   6
        return self.classify(x, hook)


class Net146Wide(Net146):
    """Net 146 for the 21,843 classes of ImageNet Fall 2011, with 2048 linear units before fc8.

    110,605,267 parameters. The linear units make fc8 half as large. Their first weights, with a
    standard deviation of 0.01 and biases of 0, are inferred from the other networks.
    """

    def __init__(self, classes: int = 21_843, size: int = 224, dropout: float = 0.5) -> None:
        super().__init__(classes, size, dropout)
        self.linear8 = nn.Linear(4096, 2048)
        self.fc8 = nn.Linear(2048, classes)

    def classify(self, x: Tensor, hook: Hook) -> Tensor:
        """The fully connected layers: (N, 256, 6, 6) → (N, classes)."""
        x = x.contiguous().flatten(1)                                        # N 9216
        x = hook("fc6", F.relu(self.fc6(x), inplace=True))                   # N 4096
        x = hook("fc7", F.relu(self.fc7(self.dropout6(x)), inplace=True))    # N 4096
        x = hook("linear8", self.linear8(self.dropout7(x)))                  # N 2048
        return hook("fc8", self.fc8(x))                                      # N classes
