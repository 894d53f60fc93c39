"""The small network of 32×32 images that came with the 2012 code: three convolutions, one classifier.

89,578 parameters for ten classes. "19 %" was its test error on CIFAR-10 after twenty minutes.
"""

from __future__ import annotations

from torch import Tensor, nn

from alexnet.kernels import relu_pool
from alexnet.nets.layers import See, gaussian, keep_variance, side_after, unseen


class Cifar(nn.Module):
    """Images N 3 `size` `size`, mean-subtracted, → logits N `classes`."""

    def __init__(self, classes: int = 10, size: int = 32, dropout: float = 0.0) -> None:
        super().__init__()
        side = size
        for _ in range(3):
            side = side_after(side, 3, 2)  # 32 → 16 → 8 → 4
        self.conv1 = nn.Conv2d(3, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 32, 5, padding=2)
        self.conv3 = nn.Conv2d(32, 64, 5, padding=2)
        self.fc4 = nn.Linear(64 * side * side, classes)
        self.dropout = nn.Dropout(dropout)

    def initialize(self, how: str) -> None:
        """Draw new weights: `printed` as the 2012 definition, or `variance` (`layers.keep_variance`)."""
        if how == "variance":
            return keep_variance([self.conv1, self.conv2, self.conv3, self.fc4])
        gaussian(self.conv1, std=0.0001)
        for layer in (self.conv2, self.conv3, self.fc4):
            gaussian(layer, std=0.01)

    def forward(self, x: Tensor, see: See = unseen) -> Tensor:
        """N 3 H W → N classes; `see` is shown every named layer."""             # N  3 32 32
        x = see("conv1", self.conv1(x))                                         # N 32 32 32
        x = see("pool1", relu_pool(x, kind="max"))                              # N 32 16 16
        x = see("conv2", self.conv2(x))                                         # N 32 16 16
        x = see("pool2", relu_pool(x, kind="avg"))                              # N 32  8  8
        x = see("conv3", self.conv3(x))                                         # N 64  8  8
        x = see("pool3", relu_pool(x, kind="avg"))                              # N 64  4  4
        return see("fc4", self.fc4(self.dropout(x.contiguous().flatten(1))))    # N classes
