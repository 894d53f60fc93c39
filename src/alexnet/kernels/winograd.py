"""Convolutions of stride 1 by Winograd's method, in a fifth to a third of the multiplications.

    y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ d B)] A        d: a tile of pixels, w: a filter, y: 4×4 outputs

Summed over maps, ⊙ is a matrix product for each place of the transformed tiles (Lavin & Gray,
arXiv 1509.09308). A, G and B belong to polynomials that are known at some points (Cook & Toom). The
points are those whose rounding errors are small: a few times those of the plain sums.
"""

# mypy: disable-error-code="no-untyped-def"

import math
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.kernels.backends import has_kernel
from alexnet.kernels.maps import VECTOR, as_array, channels_last, new_maps

OUTPUTS = 4
"""A tile has so many outputs a side."""

POINTS = {3: (0, 1, -1, 0.5, -2), 5: (0, 1, -1, 0.5, -0.5, 2, -2)}
"""Where the polynomials are known, besides infinity, for filters of 3×3 and 5×5."""

FEWEST_TILES = 128
FEWEST_MAPS = 64
"""With fewer of either, the products are too thin to be worth the way there and back."""

BYTES_AT_ONCE = 36e6
"""As many images are transformed at once as stay in a cache shared by the cores."""


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, padding: int = 0, groups: int = 1
) -> Tensor:
    """A convolution of stride 1, as `F.conv2d` has it. N C H W, M C/groups k k, M → N M H' W'.

    In float32 on a CPU, with filters of 3×3 or 5×5 and enough images and maps, by Winograd's
    method; the result is channels_last there. Otherwise it is `F.conv2d`.
    """
    if bias is not None and is_faster(x, weight, padding, groups):
        return winograd(x, weight, bias, padding, groups)
    return F.conv2d(x, weight, bias, padding=padding, groups=groups)


def is_faster(x: Tensor, weight: Tensor, padding: int, groups: int) -> bool:
    """Whether `winograd` computes this, and faster than the library (`benchmarks/kernels.py`)."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return False
    if torch.compiler.is_exporting() or not has_kernel(x.device, x.dtype):
        return False
    maps, (inputs, height, width) = (x.shape[1], len(weight)), weight.shape[1:]
    if height != width or width not in POINTS or inputs * groups != x.shape[1]:
        return False
    whole = all(m >= FEWEST_MAPS and m % (groups * VECTOR) == 0 for m in maps)
    down, across = _tiles(x, width, padding)
    return whole and len(x) * down * across >= FEWEST_TILES


def _tiles(x: Tensor, kernel: int, padding: int) -> tuple[int, int]:
    """How many tiles cover the outputs, down and across; none if the filter does not fit."""
    down, across = (max(0, side + 2 * padding - kernel + 1) for side in x.shape[2:])
    return -(-down // OUTPUTS), -(-across // OUTPUTS)


@cache
def transforms(kernel: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Aᵀ (4 × t), G (t × kernel) and Bᵀ (t × t), where t = kernel + 3, in float64.

    Row j of A holds the powers of point j; of G the same, divided by the product of the point's
    distances from the others; of Bᵀ the polynomial that is zero at the others. Powers of two are
    moved between the last two, so that both have numbers of like sizes.
    """
    points = np.array(POINTS[kernel])
    size = len(points) + 1
    a, g, b = np.zeros((size, OUTPUTS)), np.zeros((size, kernel)), np.zeros((size, size))
    for j, point in enumerate(points):
        others = np.delete(points, j)
        a[j], g[j] = point ** np.arange(OUTPUTS), point ** np.arange(kernel)
        g[j] /= np.prod(point - others)
        b[j, :-1] = np.poly(others)[::-1]
    a[-1, -1] = g[-1, -1] = 1  # the point at infinity
    b[-1] = np.poly(points)[::-1]
    scale = 2.0 ** np.round(np.log2(np.abs(b).max(1) / np.abs(g).max(1)) / 2)[:, None]
    return a.T, g * scale, b / scale


@torch.library.custom_op("alexnet::winograd", mutates_args=(), device_types="cpu")
def winograd(x: Tensor, weight: Tensor, bias: Tensor, padding: int, groups: int) -> Tensor:
    """The convolution. N C H W, M C/groups k k, M → N M H' W'."""
    from alexnet.kernels.cpu_threads import over_images
    from alexnet.kernels.cpu_winograd import KERNELS

    x, kernel = channels_last(x), weight.shape[-1]
    cpu, out = KERNELS[kernel], _new_outputs(x, weight, padding)
    filters = _transformed(weight, groups).transpose(1, 2)  # P·G C/G M/G
    images, outputs, biases = as_array(x), as_array(out), bias.detach().numpy()
    for here, count, tiles, read, products in _parts(x, out, kernel, padding, groups):
        over_images(cpu.read, count, images[here], read.numpy(), tiles, padding)
        torch.bmm(read.flatten(0, 1), filters, out=products.flatten(0, 1))
        over_images(cpu.write, count, products.numpy(), outputs[here], tiles, biases)
    return out


@torch.library.custom_op("alexnet::winograd_backward", mutates_args=(), device_types="cpu")
def winograd_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, padding: int, groups: int, to_x: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x (nothing, unless `to_x`), the weights and the biases."""
    from alexnet.kernels.cpu_threads import over_images
    from alexnet.kernels.cpu_winograd import KERNELS

    x, gradient, kernel = channels_last(x), channels_last(gradient), weight.shape[-1]
    cpu, filters = KERNELS[kernel], _transformed(weight, groups)  # P·G M/G C/G
    of_x = new_maps(x, *x.shape[2:]) if to_x else x.new_empty(0)
    of_filters, of_bias = torch.zeros_like(filters), torch.zeros_like(gradient[0, :, 0, 0])
    images, gradients = as_array(x), as_array(gradient)
    for here, count, tiles, read, products in _parts(x, gradient, kernel, padding, groups):
        over_images(cpu.read, count, images[here], read.numpy(), tiles, padding)
        over_images(cpu.unwrite, count, gradients[here], products.numpy(), tiles)
        of_bias += products[_sums(kernel)].sum(1).flatten()
        inputs, outputs = read.flatten(0, 1), products.flatten(0, 1)
        of_filters.baddbmm_(outputs.transpose(1, 2), inputs)
        if to_x:
            torch.bmm(outputs, filters, out=inputs)
            over_images(cpu.unread, count, read.numpy(), as_array(of_x)[here], tiles, padding)
    return of_x, _untransformed(of_filters, weight), of_bias


class Part(NamedTuple):
    """Some of the images, and room for planes of theirs: P G T C/G.

    That is places of a transformed tile, groups, tiles of all these images, maps.
    """

    images: slice
    number: int
    """Of images."""
    tiles: tuple[int, int]
    """Of an image, down and across."""
    read: Tensor
    """For transformed tiles, or their gradients."""
    products: Tensor
    """For what comes out of the products, or its gradients."""


def _parts(x: Tensor, out: Tensor, kernel: int, padding: int, groups: int) -> Iterator[Part]:
    """All images, so many at once as BYTES_AT_ONCE allow; they share the room."""
    tiles = _tiles(x, kernel, padding)
    each, places = tiles[0] * tiles[1], (OUTPUTS + kernel - 1) ** 2
    size = places * each * (x.shape[1] + out.shape[1]) * x.element_size()
    parts = max(1, math.ceil(len(x) * size / BYTES_AT_ONCE))
    step = math.ceil(len(x) / parts)
    room = [x.new_empty(step * places * each * maps.shape[1]) for maps in (x, out)]
    for first in range(0, len(x), step):
        count = min(step, len(x) - first)
        shape = places, groups, count * each
        read, products = (
            r[: r.numel() // step * count].view(*shape, maps.shape[1] // groups)
            for r, maps in zip(room, (x, out), strict=True)
        )
        yield Part(slice(first, first + count), count, tiles, read, products)


def _transformed(weight: Tensor, groups: int) -> Tensor:
    """G w Gᵀ of every filter: M C/G k k → P·G M/G C/G."""
    maps, inputs, kernel, _ = weight.shape
    flat = weight.detach().permute(2, 3, 0, 1).reshape(kernel * kernel, maps * inputs)
    return (_both_sides(kernel) @ flat).view(-1, maps // groups, inputs)


def _untransformed(gradient: Tensor, weight: Tensor) -> Tensor:
    """The gradient of the filters from that of the transformed ones, laid out like the filters."""
    maps, inputs, kernel, _ = weight.shape
    flat = _both_sides(kernel).t() @ gradient.view(-1, maps * inputs)
    filters = flat.view(kernel, kernel, maps, inputs).permute(2, 3, 0, 1)
    return torch.empty_like(weight).copy_(filters)


@cache
def _both_sides(kernel: int) -> Tensor:
    """G w Gᵀ as one matrix, places of the transformed filter × places of the filter."""
    g = transforms(kernel)[1]
    return torch.from_numpy(np.kron(g, g)).float()


def _sums(kernel: int) -> int:
    """The place of a transformed gradient that holds its tile's sum: the point 1, both ways."""
    one = POINTS[kernel].index(1)
    return one * (OUTPUTS + kernel - 1) + one


def _new_outputs(x: Tensor, weight: Tensor, padding: int) -> Tensor:
    height, width = (side + 2 * padding - weight.shape[-1] + 1 for side in x.shape[2:])
    shape = len(x), len(weight), height, width
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


@winograd.register_fake
def _(x, weight, bias, padding, groups):
    return _new_outputs(x, weight, padding)


@winograd_backward.register_fake
def _(gradient, x, weight, padding, groups, to_x):
    of_x = new_maps(x, *x.shape[2:]) if to_x else x.new_empty(0)
    return of_x, torch.empty_like(weight), weight.new_empty(len(weight))


def _keep(ctx, inputs, output):
    x, weight, _, ctx.padding, ctx.groups = inputs
    ctx.save_for_backward(x, weight)


def _gradient(ctx, gradient):
    x, weight = ctx.saved_tensors
    to_x = ctx.needs_input_grad[0]
    of_x, of_weight, of_bias = winograd_backward(gradient, x, weight, ctx.padding, ctx.groups, to_x)
    return of_x if to_x else None, of_weight, of_bias, None, None


winograd.register_autograd(_gradient, setup_context=_keep)
