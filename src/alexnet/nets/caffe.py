"""The two networks that came with Caffe, whose weights `alexnet import` reads.

    bvlc-alexnet   models/bvlc_alexnet                convolution → ReLU → norm → pool
    caffenet       models/bvlc_reference_caffenet     convolution → ReLU → pool → norm

Both were trained on ILSVRC-2012, on images squashed to 256×256, in the order blue, green, red;
`importing.conversion` makes conv1 read red, green, blue. They differ from the paper of 2012:
* crops of 227×227 instead of 224×224 padded to 227×227;
* response norms have k = 1 instead of 2, alpha divided by n, and read the maps of both towers;
* dropout rescales in training, not in evaluation.

As in the paper, the pooling windows overlap and their number rounds up; the number of windows of
conv1 rounds down. This module imports layers and kernels, never another network.
"""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.kernels import norm_pool, relu_pool, response_norm
from alexnet.nets.drawing import Drawn
from alexnet.nets.layers import (
    Convolution,
    Hook,
    InvertedDropout,
    Strided,
    Weighted,
    draw_gaussian,
    draw_keeping_variance,
    pass_through,
    round_down,
    side_after,
)

relu_norm_max = partial(norm_pool, n=5, alpha=1e-4, over_n=True, beta=0.75, k=1)
"""ReLU, Caffe's LRN, max pooling: what follows conv1 and conv2 of bvlc_alexnet."""
norm = partial(response_norm, n=5, alpha=1e-4, over_n=True, beta=0.75, k=1)
"""Caffe's LRN: x / (1 + (alpha / 5) · Σ x²)^0.75 over 5 maps, of both towers."""


class BvlcAlexNet(Drawn):
    """Caffe's `bvlc_alexnet`: images minus the mean → logits.

    (N, 3, size, size) → (N, classes). 60,965,224 parameters for 1000 classes. Caffe's page reports
    42.9 % top-1 and 19.8 % top-5 error on the validation images of ILSVRC-2012, center view.
    """

    bias = 0.1
    """First value of the biases of conv2, conv4, conv5, fc6 and fc7."""

    def __init__(self, classes: int = 1000, size: int = 227, dropout: float = 0.5) -> None:
        """Raises ValueError for images that are smaller than the windows of a layer."""
        super().__init__()
        side = side_after(size - (size - 11) % 4, 11, 4)  # 227 → 55
        for _ in range(3):
            side = side_after(side, 3, 2)  # 55 → 27 → 13 → 6
        self.conv1 = Strided(3, 96, 11, stride=4)
        self.conv2 = Convolution(96, 256, 5, padding=2, groups=2)
        self.conv3 = Convolution(256, 384, 3, padding=1)
        self.conv4 = Convolution(384, 384, 3, padding=1, groups=2)
        self.conv5 = Convolution(384, 256, 3, padding=1, groups=2)
        self.fc6 = nn.Linear(256 * side * side, 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, classes)
        self.dropout6, self.dropout7 = InvertedDropout(dropout, 6), InvertedDropout(dropout, 7)

    def initialize(self, initialization: str) -> None:
        """Draw new weights.

        `printed`: as in Caffe's train_val.prototxt, Gaussians of standard deviation 0.005 in fc6
        and fc7 and of 0.01 elsewhere. `variance`: `draw_keeping_variance`.
        """
        layers = {n: m for n, m in self.named_children() if isinstance(m, Weighted)}
        if initialization == "variance":
            draw_keeping_variance(list(layers.values()))
            return
        for name, layer in layers.items():
            std = 0.005 if name in ("fc6", "fc7") else 0.01
            draw_gaussian(layer, std, 0.0 if name in ("conv1", "conv3", "fc8") else self.bias)

    def forward(self, x: Tensor, hook: Hook = pass_through) -> Tensor:
        """(N, 3, H, W) → (N, classes); calls `hook` for each layer."""      # N    3 227 227
        x = hook("conv1", self.conv1(round_down(x, 11, 4)))                  # N   96  55  55
        x = hook("pool1", relu_norm_max(x))                                  # N   96  27  27
        x = hook("conv2", self.conv2(x))                                     # N  256  27  27
        x = hook("pool2", relu_norm_max(x))                                  # N  256  13  13
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


class CaffeNet(BvlcAlexNet):
    """Caffe's `bvlc_reference_caffenet`: pooling comes before the norm, which is then cheaper.

    (N, 3, size, size) → (N, classes). 60,965,224 parameters for 1000 classes. Caffe's page reports
    42.6 % top-1 and 19.6 % top-5 error on the validation images of ILSVRC-2012, center view.
    """

    bias = 1.0
    """First value of the biases of conv2, conv4, conv5, fc6 and fc7."""

    def forward(self, x: Tensor, hook: Hook = pass_through) -> Tensor:
        """(N, 3, H, W) → (N, classes); calls `hook` for each layer."""      # N    3 227 227
        x = hook("conv1", self.conv1(round_down(x, 11, 4)))                  # N   96  55  55
        x = hook("pool1", relu_pool(x))                                      # N   96  27  27
        x = hook("norm1", norm(x))                                           # N   96  27  27
        x = hook("conv2", self.conv2(x))                                     # N  256  27  27
        x = hook("pool2", relu_pool(x))                                      # N  256  13  13
        x = hook("norm2", norm(x))                                           # N  256  13  13
        x = hook("conv3", F.relu(self.conv3(x), inplace=True))               # N  384  13  13
        x = hook("conv4", F.relu(self.conv4(x), inplace=True))               # N  384  13  13
        x = hook("conv5", self.conv5(x))                                     # N  256  13  13
        x = hook("pool5", relu_pool(x))                                      # N  256   6   6
        return self.classify(x, hook)
