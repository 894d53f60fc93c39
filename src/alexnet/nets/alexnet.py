"""The network of the paper as printed: Krizhevsky, Sutskever & Hinton (2012), sections 3 to 5.

Five convolutional and three fully connected layers; 60,965,224 parameters for 1000 classes. Two
towers, one for each of the paper's GPUs: conv2, conv4, conv5 and both response norms see the maps
of their own half alone, everything else sees both.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.kernels import norm_pool, relu_pool
from alexnet.nets.layers import (
    Dropout,
    See,
    gaussian,
    keep_variance,
    round_up,
    side_after,
    unseen,
)


class AlexNet(nn.Module):
    """Images N 3 `size` `size`, mean-subtracted, → logits N `classes` (Figure 2)."""

    def __init__(self, classes: int = 1000, size: int = 224, dropout: float = 0.5) -> None:
        super().__init__()
        side = side_after(size, 11, 4)  # 224 → 55
        for _ in range(3):
            side = side_after(side, 3, 2)  # 55 → 27 → 13 → 6
        self.conv1 = nn.Conv2d(3, 96, 11, stride=4)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)
        self.fc6 = nn.Linear(256 * side * side, 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, classes)
        self.dropout = Dropout(dropout)

    def initialize(self, how: str) -> None:
        """Draw new weights: `printed` as section 5 says, or `variance` (`layers.keep_variance`)."""
        layers = [self.conv1, self.conv2, self.conv3, self.conv4, self.conv5, self.fc6, self.fc7, self.fc8]
        if how == "variance":
            return keep_variance(layers)
        for layer in layers:
            ones = layer not in (self.conv1, self.conv3, self.fc8)
            gaussian(layer, std=0.01, bias=float(ones))

    def forward(self, x: Tensor, see: See = unseen) -> Tensor:
        """N 3 H W → N classes; `see` is shown every named layer."""                # N    3 224 224
        x = see("conv1", self.conv1(round_up(x, 11, 4)))                           # N   96  55  55
        x = see("pool1", norm_pool(x, n=5, alpha=1e-4, beta=0.75, k=2, towers=2))  # N   96  27  27
        x = see("conv2", self.conv2(x))                                            # N  256  27  27
        x = see("pool2", norm_pool(x, n=5, alpha=1e-4, beta=0.75, k=2, towers=2))  # N  256  13  13
        x = see("conv3", F.relu(self.conv3(x), inplace=True))                      # N  384  13  13
        x = see("conv4", F.relu(self.conv4(x), inplace=True))                      # N  384  13  13
        x = see("conv5", self.conv5(x))                                            # N  256  13  13
        x = see("pool5", relu_pool(x))                                             # N  256   6   6
        x = x.contiguous().flatten(1)                                              # N 9216
        x = see("fc6", F.relu(self.fc6(x), inplace=True))                          # N 4096
        x = see("fc7", F.relu(self.fc7(self.dropout(x)), inplace=True))            # N 4096
        return see("fc8", self.fc8(self.dropout(x)))                               # N classes
