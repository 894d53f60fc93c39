"""Locally connected layers: convolutions that share nothing (the 2012 code's "local")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.kernels.runtime.backends import has_kernel
from alexnet.nets.layers import Weights, keep_variance, side_after


class Local(Weights):
    """A convolution with filters and biases of its own at every place, stride 1.

    N C `side` `side` → N M H W, where M is `maps`. `weight` is HKW M KC: for each row of places,
    each row of the K × K window, each place and each map, what it multiplies: K pixels of C maps.
    """

    def __init__(
        self, inputs: int, maps: int, side: int, kernel: int = 3, padding: int = 1
    ) -> None:
        super().__init__()
        self.kernel, self.padding, self.maps = kernel, padding, maps
        self.side = side_after(side, kernel, 1, padding)
        self.fan_in = kernel * kernel * inputs
        places = self.side**2
        # torch.channels_last is for 4 dimensions, and biases are told from weights by having 1
        self.weight = nn.Parameter(torch.empty(places * kernel, maps, kernel * inputs))
        self.bias = nn.Parameter(torch.empty(places * maps))
        keep_variance([self])

    def forward(self, x: Tensor) -> Tensor:
        """N C H' W' → N M H W."""
        side, x = self.side, F.pad(x, (self.padding,) * 4)
        weight = self.weight.view(side, self.kernel, side, self.maps, -1)  # H K W M KC
        bias = self.bias.view(side, side, 1, self.maps)
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight, bias = x.to(dtype), weight.to(dtype), bias.to(dtype)
        traced = torch.compiler.is_exporting()
        if x.device.type == "cpu" and has_kernel(x.device, x.dtype) and not traced:
            return RowByRow.apply(x, weight, bias)
        return local_formula(x, weight, bias)

    def extra_repr(self) -> str:
        return f"{self.fan_in} → {self.maps} at {self.side}² places, padding={self.padding}"


def local_formula(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Every place's windows gathered as a matrix, times its filters. N C H' W' → N M H W."""
    height, k, width, maps, _ = weight.shape
    windows = x.unfold(2, k, 1).unfold(3, k, 1)  # N C H W K K
    rows = windows.permute(2, 3, 0, 4, 5, 1).reshape(height * width, x.shape[0], -1)  # HW N KKC
    filters = weight.permute(0, 2, 1, 4, 3).reshape(height * width, -1, maps)  # HW KKC M
    y = torch.baddbmm(bias.reshape(height * width, 1, maps), rows, filters)
    return y.view(height, width, x.shape[0], maps).permute(2, 3, 0, 1)


class RowByRow(torch.autograd.Function):
    """What `local_formula` computes, for a CPU: nothing is gathered.

    Where a pixel's maps lie side by side, so do K pixels of a row. The rows of windows that one row
    of places reads are therefore a batch of matrices that overlap in memory, as they stand.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """N C H' W' → N M H W; weight H K W M KC, bias H W 1 M."""
        x = x.permute(0, 2, 3, 1).contiguous()  # N H' W' C
        ctx.save_for_backward(x, weight)
        height, k, width, _, _ = weight.shape
        y = bias.repeat(1, 1, len(x), 1)  # H W N M
        for row, i, pixels in rows_of_windows(x, height, k, width):
            y[row].baddbmm_(pixels, weight[row, i].transpose(1, 2))
        return y.permute(2, 3, 0, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        """The gradients of the input, the weights and the biases."""
        x, weight = ctx.saved_tensors
        height, k, width, _, _ = weight.shape
        y = gradient.permute(2, 3, 0, 1).contiguous()  # H W N M
        to_x, to_weight = torch.zeros_like(x), torch.empty_like(weight)
        for row, i, pixels in rows_of_windows(x, height, k, width):
            torch.bmm(y[row].transpose(1, 2), pixels, out=to_weight[row, i])
            back = torch.bmm(y[row], weight[row, i]).view(width, len(x), k, x.shape[3])
            for j in range(k):
                to_x[:, row + i, j : j + width] += back[:, :, j].transpose(0, 1)
        return to_x.permute(0, 3, 1, 2), to_weight, y.sum(2, keepdim=True)


def rows_of_windows(
    x: Tensor, height: int, k: int, width: int
) -> Iterator[tuple[int, int, Tensor]]:
    """For each row of places, row i of its windows: (row, i, W N KC), views of x, N H' W' C."""
    n, rows, columns, c = x.shape
    for row in range(height):
        for i in range(k):
            start = x.storage_offset() + (row + i) * columns * c
            yield row, i, x.as_strided((width, n, k * c), (c, rows * columns * c, 1), start)
