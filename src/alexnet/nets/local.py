"""Locally connected layers: convolutions whose filters differ from place to place ("local").

    y[n, m, i, j] = bias[m, i, j] + Σ weight[m, i, j, c, u, v] · x[n, c, i + u, j + v]

where the sum is over the input maps c and the places u, v of the window. The two networks of
section 3.3 on CIFAR-10 have such layers (`nets.cifar`). `local_reference` is that sum in plain
PyTorch, `LocallyConnected` a faster one for CPUs; `Local` chooses. The comments name the axes: N
images, C input maps, M output maps, H × W places, K × K the window.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.kernels.runtime.backends import has_kernel
from alexnet.nets.layers import CustomLayer, draw_keeping_variance, side_after


class Local(CustomLayer):
    """A convolution of stride 1 with filters and biases of its own at every place.

    (N, inputs, side, side) → (N, maps, H, W).

    `weight` is (H·K·W, maps, K·inputs): for each row of places, each row of the window, each place
    in the row and each map, the weights of K neighboring pixels. `bias` is (H·W·maps).
    """

    def __init__(
        self, inputs: int, maps: int, side: int, kernel: int = 3, padding: int = 1
    ) -> None:
        super().__init__()
        self.kernel, self.padding, self.maps = kernel, padding, maps
        self.side = side_after(side, kernel, 1, padding)
        self.fan_in = kernel * kernel * inputs
        places = self.side**2
        # Not 4 dimensions, which `.to(memory_format=torch.channels_last)` would permute; and the
        # biases need 1 dimension (`CustomLayer`).
        self.weight = nn.Parameter(torch.empty(places * kernel, maps, kernel * inputs))
        self.bias = nn.Parameter(torch.empty(places * maps))
        draw_keeping_variance([self])

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, side, side) → (N, maps, H, W)."""
        side, x = self.side, F.pad(x, (self.padding,) * 4)
        weight = self.weight.view(side, self.kernel, side, self.maps, -1)  # H K W M KC
        bias = self.bias.view(side, side, 1, self.maps)
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight, bias = x.to(dtype), weight.to(dtype), bias.to(dtype)
        exporting = torch.compiler.is_exporting()  # exported files can contain PyTorch's own only
        if x.device.type == "cpu" and has_kernel(x.device, x.dtype) and not exporting:
            return LocallyConnected.apply(x, weight, bias)
        return local_reference(x, weight, bias)

    def extra_repr(self) -> str:
        return f"{self.fan_in} → {self.maps} at {self.side}² places, padding={self.padding}"


def local_reference(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Copy the windows of every place into a matrix (N, K·K·C), and multiply it by its filters.

    x is (N, C, H + K − 1, W + K − 1), weight (H, K, W, M, K·C), bias (H, W, 1, M). Returns
    (N, M, H, W).
    """
    height, k, width, maps, _ = weight.shape
    windows = x.unfold(2, k, 1).unfold(3, k, 1)  # N C H W K K
    rows = windows.permute(2, 3, 0, 4, 5, 1).reshape(height * width, x.shape[0], -1)  # HW N KKC
    filters = weight.permute(0, 2, 1, 4, 3).reshape(height * width, -1, maps)  # HW KKC M
    y = torch.baddbmm(bias.reshape(height * width, 1, maps), rows, filters)
    return y.view(height, width, x.shape[0], maps).permute(2, 3, 0, 1)


class LocallyConnected(torch.autograd.Function):
    """What `local_reference` computes, for a CPU, without copying windows.

    In channels_last memory the C maps of a pixel are adjacent, and so are the K pixels of one row
    of a window. So for one row of places, row i of all their windows is a view of x, (W, N, K·C),
    whose rows overlap in memory, and a batched matrix product can read it as it is:

        one row of x, K = 3    p0 p1 p2 p3 p4 …      (each pixel has C numbers)
        place 0                ├──────┤
        place 1                   ├──────┤
        place 2                      ├──────┤

    The K views of a row of places are summed.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Take and return what `local_reference` does."""
        x = x.permute(0, 2, 3, 1).contiguous()  # N H' W' C
        ctx.save_for_backward(x, weight)
        height, k, width, _, _ = weight.shape
        y = bias.repeat(1, 1, len(x), 1)  # H W N M
        for row, i, pixels in iterate_window_rows(x, height, k, width):
            y[row].baddbmm_(pixels, weight[row, i].transpose(1, 2))
        return y.permute(2, 3, 0, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        """The gradients of the input, the weights and the biases."""
        x, weight = ctx.saved_tensors
        height, k, width, _, _ = weight.shape
        y = gradient.permute(2, 3, 0, 1).contiguous()  # H W N M
        grad_x, grad_weight = torch.zeros_like(x), torch.empty_like(weight)
        for row, i, pixels in iterate_window_rows(x, height, k, width):
            torch.bmm(y[row].transpose(1, 2), pixels, out=grad_weight[row, i])
            back = torch.bmm(y[row], weight[row, i]).view(width, len(x), k, x.shape[3])
            for j in range(k):
                grad_x[:, row + i, j : j + width] += back[:, :, j].transpose(0, 1)
        return grad_x.permute(0, 3, 1, 2), grad_weight, y.sum(2, keepdim=True)


def iterate_window_rows(
    x: Tensor, height: int, k: int, width: int
) -> Iterator[tuple[int, int, Tensor]]:
    """For each row of places and each i, yield row i of all their windows.

    x is (N, H + K − 1, W + K − 1, C). Yields (row, i, a view of x of shape (W, N, K·C)).
    """
    n, rows, columns, c = x.shape
    for row in range(height):
        for i in range(k):
            start = x.storage_offset() + (row + i) * columns * c
            yield row, i, x.as_strided((width, n, k * c), (c, rows * columns * c, 1), start)
