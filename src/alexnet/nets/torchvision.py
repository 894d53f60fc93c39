"""The network that torchvision calls `alexnet`, whose weights `alexnet import` reads.

It is the network of Krizhevsky (2014), "One weird trick for parallelizing convolutional neural
networks" (arXiv 1404.5997), without its normalization. It differs from the paper of 2012:
* one tower, with 64, 192, 384, 256 and 256 maps, and no response norm;
* conv1 pads the image by two pixels on each side, and all sizes round down;
* the last maps are averaged to 6×6, so that images of any size fit fc6;
* dropout is before fc6 and fc7, and rescales in training.

The layers have the paper's names; `importing.layouts` knows torchvision's. This module imports
layers and kernels, never another network.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.kernels import relu_pool
from alexnet.nets.drawing import Drawn
from alexnet.nets.layers import (
    Convolution,
    Hook,
    InvertedDropout,
    Strided,
    draw_keeping_variance,
    pass_through,
    round_down,
)

SMALLEST = 63
"""The smallest side of an image, in pixels, that leaves one pixel after the last pooling."""


class TorchvisionAlexNet(Drawn):
    """torchvision's `alexnet`: images minus the mean, scaled → logits.

    (N, 3, size, size) → (N, classes). 61,100,840 parameters for 1000 classes. torchvision reports
    43.5 % top-1 and 20.9 % top-5 error on the validation images of ILSVRC-2012, center view.
    """

    def __init__(self, classes: int = 1000, size: int = 224, dropout: float = 0.5) -> None:
        """Raises ValueError for images smaller than 63×63 pixels."""
        super().__init__()
        if size < SMALLEST:
            raise ValueError(
                f"torchvision's alexnet needs images of {SMALLEST}×{SMALLEST} pixels or more: its "
                f"last window does not fit {size}×{size}"
            )
        self.conv1 = Strided(3, 64, 11, stride=4)
        self.conv2 = Convolution(64, 192, 5, padding=2)
        self.conv3 = Convolution(192, 384, 3, padding=1)
        self.conv4 = Convolution(384, 256, 3, padding=1)
        self.conv5 = Convolution(256, 256, 3, padding=1)
        self.fc6 = nn.Linear(256 * 6 * 6, 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, classes)
        self.dropout5, self.dropout6 = InvertedDropout(dropout, 5), InvertedDropout(dropout, 6)

    def initialize(self, initialization: str) -> None:
        """Draw new weights.

        `printed`: as torchvision does, with the defaults of torch.nn: weights and biases uniform
        within ±1/√fan-in. `variance`: `draw_keeping_variance`.
        """
        layers = [m for m in self.children() if isinstance(m, nn.Conv2d | nn.Linear)]
        if initialization == "variance":
            draw_keeping_variance(layers)
            return
        for layer in layers:
            layer.reset_parameters()

    def forward(self, x: Tensor, hook: Hook = pass_through) -> Tensor:
        """(N, 3, H, W) → (N, classes); calls `hook` for each layer."""      # N    3 224 224
        x = round_down(F.pad(x, (2, 2, 2, 2)), 11, 4)                        # N    3 227 227
        x = hook("conv1", self.conv1(x))                                     # N   64  55  55
        x = hook("pool1", relu_pool(round_down(x, 3, 2)))                    # N   64  27  27
        x = hook("conv2", self.conv2(x))                                     # N  192  27  27
        x = hook("pool2", relu_pool(round_down(x, 3, 2)))                    # N  192  13  13
        x = hook("conv3", F.relu(self.conv3(x), inplace=True))               # N  384  13  13
        x = hook("conv4", F.relu(self.conv4(x), inplace=True))               # N  256  13  13
        x = hook("conv5", self.conv5(x))                                     # N  256  13  13
        x = hook("pool5", relu_pool(round_down(x, 3, 2)))                    # N  256   6   6
        x = average_to_6x6(x).contiguous().flatten(1)                        # N 9216
        x = hook("fc6", F.relu(self.fc6(self.dropout5(x)), inplace=True))    # N 4096
        x = hook("fc7", F.relu(self.fc7(self.dropout6(x)), inplace=True))    # N 4096
        return hook("fc8", self.fc8(x))                                      # N classes


def average_to_6x6(x: Tensor) -> Tensor:
    """Average maps of any size to 6×6. (N, C, H, W) → (N, C, 6, 6); those of 6×6 stay as they are.

    With images of 224×224 nothing has to be computed, and exported files need no such operator.
    """
    return x if tuple(x.shape[-2:]) == (6, 6) else F.adaptive_avg_pool2d(x, 6)
