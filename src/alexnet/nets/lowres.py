"""Four earlier networks of the 2012 code, with a second path for the image at low resolution.

    image ─┬─ conv1 ─ pool1 ─ conv2 ───────────────────┬─ sum ─ norm2 ─ map2 ─ pool2 ─ …
           └─ low1: blurred, every fourth pixel ─ low2 ─┘

conv1 has 32 filters in each tower, where net 145 of `nets.original` has 48. low1 is 56×56 pixels;
low2 convolves them, and its output is added to the maps of conv2. 60,870,376 parameters each.

The four networks differ in the norm within maps after conv2 (map2), in the constant k of the
response norms and in the order of operations in layer 1. Together with net 145 they are probably
the five networks that the paper averages as "5 CNNs". That the contrast norms have the alpha of net
145's norm within maps, 1e-3, is inferred. This module imports no other network.
"""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.kernels import norm_pool, relu_pool, response_norm
from alexnet.kernels.within_channel.operator import contrast_norm, within_channel_norm
from alexnet.nets.drawing import Drawn
from alexnet.nets.layers import (
    Convolution,
    Dropout,
    Hook,
    Strided,
    Weighted,
    blur,
    draw_gaussian,
    draw_keeping_variance,
    pass_through,
    side_after,
    subsample,
)

norm_2012 = partial(response_norm, n=5, alpha=1e-4, over_n=True, beta=0.75, towers=2)
norm_pool_2012 = partial(norm_pool, n=5, alpha=1e-4, over_n=True, beta=0.75, towers=2)
"""Response norm, and response norm with max pooling, with the constants of the 2012 code but k."""
norm_max_relu = partial(norm_pool_2012, order="norm-pool-relu")
"""Response norm, max pooling, ReLU."""
relu_norm = partial(norm_pool_2012, pool=1, stride=1)
"""ReLU, response norm. Pooling over single pixels changes nothing."""


class Net131(Drawn):
    """Contrast norm in map2, k = 1: images minus the mean → logits.

    (N, 3, size, size) → (N, classes).

    ILSVRC-2012: 40.9 % top-1 and 18.6 % top-5 error, ten views, validation.
    """

    k = 1.0
    """The constant of the response norms."""

    def __init__(self, classes: int = 1000, size: int = 224, dropout: float = 0.5) -> None:
        """Raises ValueError for a size at which the maps of the two paths differ in size."""
        super().__init__()
        side = compute_last_side(size)
        self.conv1 = Strided(3, 64, 11, stride=4)
        self.conv2 = Convolution(64, 256, 5, padding=2, groups=2)
        self.low2 = Strided(3, 256, 5, stride=2, bias=False)  # the biases of conv2 are enough
        self.conv3 = Convolution(256, 384, 3, padding=1)
        self.conv4 = Convolution(384, 384, 3, padding=1, groups=2)
        self.conv5 = Convolution(384, 256, 3, padding=1, groups=2)
        self.fc6 = nn.Linear(256 * side * side, 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, classes)
        self.dropout6, self.dropout7 = Dropout(dropout, 6), Dropout(dropout, 7)

    def initialize(self, initialization: str) -> None:
        """Draw new weights: as the 2012 code (`printed`), or with `draw_keeping_variance`."""
        layers = {n: m for n, m in self.named_children() if isinstance(m, Weighted)}
        if initialization == "variance":
            draw_keeping_variance(list(layers.values()))
            return
        for name, layer in layers.items():
            std = 0.03 if name in ("conv3", "conv4", "conv5") else 0.01
            draw_gaussian(layer, std, bias=float(name not in ("conv1", "conv3", "fc8")))

    def forward(self, x: Tensor, hook: Hook = pass_through) -> Tensor:
        """(N, 3, H, W) → (N, classes); calls `hook` for each layer."""       # N    3 224 224
        low = hook("low1", subsample(blur(x, std=4, taps=9), 4))              # N    3  56  56
        low = hook("low2", self.low2(low))                                   # N  256  27  27
        x = hook("conv1", self.conv1(x))                                     # N   64  55  55
        x = hook("pool1", self.pool1(x))                                     # N   64  27  27
        x = hook("conv2", self.conv2(x) + low)                               # N  256  27  27
        x = hook("norm2", relu_norm(x, k=self.k))                            # N  256  27  27
        x = hook("map2", self.map2(x))                                       # N  256  27  27
        x = hook("pool2", relu_pool(x))                                      # N  256  13  13
        x = hook("conv3", F.relu(self.conv3(x), inplace=True))               # N  384  13  13
        x = hook("conv4", F.relu(self.conv4(x), inplace=True))               # N  384  13  13
        x = hook("conv5", self.conv5(x))                                     # N  256  13  13
        x = hook("pool5", relu_pool(x))                                      # N  256   6   6
        x = x.contiguous().flatten(1)                                        # N 9216
        x = hook("fc6", F.relu(self.fc6(x), inplace=True))                   # N 4096
        x = hook("fc7", F.relu(self.fc7(self.dropout6(x)), inplace=True))    # N 4096
        return hook("fc8", self.fc8(self.dropout7(x)))                       # N classes

    def pool1(self, x: Tensor) -> Tensor:
        """Response norm, max pooling, ReLU: (N, C, H, W) → (N, C, ⌊H/2⌋, ⌊W/2⌋)."""
        return norm_max_relu(x, k=self.k)

    def map2(self, x: Tensor) -> Tensor:
        """The second norm of layer 2: (N, C, H, W) → (N, C, H, W)."""
        return contrast_norm(x, n=5, alpha=1e-3)


class Net120(Net131):
    """Net 131 with layer 1 in the order max pooling, ReLU, response norm.

    ILSVRC-2012: 41.0 % and 18.7 %, ten views.
    """

    def pool1(self, x: Tensor) -> Tensor:
        """Max pooling, ReLU, response norm: (N, C, H, W) → (N, C, ⌊H/2⌋, ⌊W/2⌋)."""
        return norm_2012(relu_pool(x), k=self.k)


class Net135(Net131):
    """Net 131 with k = 2. ILSVRC-2012: 41.1 % and 18.4 %, ten views."""

    k = 2.0


class Net137(Net135):
    """Net 135 with a response norm within the maps. ILSVRC-2012: 40.8 % and 18.3 %, ten views."""

    def map2(self, x: Tensor) -> Tensor:
        """The second norm of layer 2: N C H W → N C H W."""
        return within_channel_norm(x, n=5, alpha=1e-3)


def compute_last_side(size: int) -> int:
    """Return the side of the maps that fc6 reads.

    Raises ValueError if the maps of conv2 and low2, which are added, would differ in size.
    """
    high = side_after(side_after(size, 11, 4), 3, 2)   # 224 → 55 → 27
    low = side_after(-(-size // 4), 5, 2)              # 224 → 56 → 27
    if high != low:
        raise ValueError(
            f"images of {size}×{size} give maps of {high}×{high}, and {low}×{low} at low "
            f"resolution, which cannot be added. Use 224×224 pixels"
        )
    return side_after(side_after(high, 3, 2), 3, 2)    # 27 → 13 → 6
