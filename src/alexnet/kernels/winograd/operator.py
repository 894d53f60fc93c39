"""Convolutions of stride 1 by Winograd's method, in a quarter to a sixth of the multiplications.

    y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ d B)] A        d: a tile of pixels, w: a filter, y: 4×4 outputs

Summed over maps, ⊙ is a matrix product for each place of the transformed tiles (Lavin & Gray,
arXiv 1509.09308). The matrices are those of `cook_toom`.
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

from alexnet.kernels.runtime.backends import has_kernel
from alexnet.kernels.runtime.layout import VECTOR, allocate_like, as_array, to_channels_last
from alexnet.kernels.winograd.cook_toom import OUTPUTS, POINTS, transforms

FEWEST_TILES = 128
FEWEST_MAPS = 64
"""With fewer of either, the products are too thin to be worth the way there and back."""

BYTES_AT_ONCE = 18e6
"""For each thread: as many images are transformed at once as stay in a cache shared by the cores.
The best on two cores of a Xeon with 2 MB of their own, like the limits above."""

BYTES_OF_AN_IMAGE = 100e6
"""More than that is left to the library, which needs no memory of its own."""


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, padding: int = 0, groups: int = 1
) -> Tensor:
    """A convolution of stride 1, as `F.conv2d` has it. N C H W, M C/groups k k, M → N M H' W'.

    In float32 on a CPU, with filters of 3×3 or 5×5 and enough images and maps, by Winograd's
    method. The result is channels_last there, its gradient can be taken backward and once, and a
    number that is not finite spoils all outputs of the tiles that read it. Otherwise it is
    `F.conv2d`.
    """
    if bias is not None and is_faster(x, weight, bias, padding, groups):
        return winograd(x, weight, bias, padding, groups)
    return F.conv2d(x, weight, bias, padding=padding, groups=groups)


def is_faster(x: Tensor, weight: Tensor, bias: Tensor, padding: int, groups: int) -> bool:
    """Whether `winograd` computes this, and faster than the library (`benchmarks/kernels.py`)."""
    if x.device.type != "cpu" or torch.is_autocast_enabled("cpu") or torch.compiler.is_exporting():
        return False
    if not _fits(x, weight, bias, groups):
        return False
    tiles = math.prod(_tiles(x, weight.shape[3], padding))
    enough = len(x) * tiles >= FEWEST_TILES and min(x.shape[1], len(weight)) >= FEWEST_MAPS
    small = _planes_bytes(tiles, x, weight) <= BYTES_OF_AN_IMAGE
    return enough and small and has_kernel(x.device, x.dtype)


def _fits(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> bool:
    """Whether this is a convolution that `winograd` can compute: float32, square filters, …"""
    if x.dim() != 4 or weight.dim() != 4 or weight.shape[2] != weight.shape[3]:
        return False
    maps, dtypes = (x.shape[1], len(weight)), {x.dtype, weight.dtype, bias.dtype}
    whole = all(m % (groups * VECTOR) == 0 for m in maps) and weight.shape[1] * groups == maps[0]
    same = dtypes == {torch.float32} and bias.shape == (maps[1],)
    return whole and same and weight.shape[3] in POINTS


def _tiles(x: Tensor, kernel: int, padding: int) -> tuple[int, int]:
    """How many tiles cover the outputs, down and across; none if the filter does not fit."""
    down, across = (max(0, side + 2 * padding - kernel + 1) for side in x.shape[2:])
    return -(-down // OUTPUTS), -(-across // OUTPUTS)


@torch.library.custom_op("alexnet::winograd", mutates_args=(), device_types="cpu")
def winograd(x: Tensor, weight: Tensor, bias: Tensor, padding: int, groups: int) -> Tensor:
    """The convolution. N C H W, M C/groups k k, M → N M H' W'.

    Raises ValueError for what is not float32, has filters of other sizes, or groups of maps that
    are no multiple of VECTOR.
    """
    from alexnet.kernels.runtime.cpu_threads import run_on_batch
    from alexnet.kernels.winograd import cpu

    if not _fits(x, weight, bias, groups):
        shapes = ", ".join(f"{t.dtype} {tuple(t.shape)}" for t in (x, weight, bias))
        raise ValueError(
            f"{shapes} in {groups} groups is no convolution for this; `convolve` takes any"
        )
    x = to_channels_last(x)
    out = _new_outputs(x, weight, padding)
    filters = _transformed(weight, groups).transpose(1, 2)  # P·G C/G M/G
    images, outputs, biases = as_array(x), as_array(out), bias.detach().numpy()
    for here, count, tiles, read, products in _parts(x, out, weight, padding, groups):
        run_on_batch(cpu.read, count, images[here], read.numpy(), tiles, padding)
        torch.bmm(read.flatten(0, 1), filters, out=products.flatten(0, 1))
        run_on_batch(cpu.write, count, products.numpy(), outputs[here], tiles, biases)
    return out


@torch.library.custom_op("alexnet::winograd_backward", mutates_args=(), device_types="cpu")
def winograd_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    padding: int,
    groups: int,
    to_x: bool,
    to_weight: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, N C H W, unless `to_x` is false; of the weights, M C/groups k k, and the
    biases, M, unless `to_weight` is. What nobody wants is empty."""
    from alexnet.kernels.runtime.cpu_threads import run_on_batch
    from alexnet.kernels.winograd import cpu

    x, gradient, kernel = to_channels_last(x), to_channels_last(gradient), weight.shape[-1]
    filters = _transformed(weight, groups)  # P·G M/G C/G
    of_x = allocate_like(x, *x.shape[2:]) if to_x else x.new_empty(0)
    of_filters, of_bias = torch.zeros_like(filters), torch.zeros_like(gradient[0, :, 0, 0])
    images, gradients = as_array(x), as_array(gradient)
    for here, count, tiles, read, products in _parts(x, gradient, weight, padding, groups):
        inputs, outputs = read.flatten(0, 1), products.flatten(0, 1)
        run_on_batch(cpu.unwrite, count, gradients[here], products.numpy(), tiles)
        if to_weight:
            run_on_batch(cpu.read, count, images[here], read.numpy(), tiles, padding)
            of_filters.baddbmm_(outputs.transpose(1, 2), inputs)
            of_bias += products[_sums(kernel)].sum(1).flatten()
        if to_x:
            torch.bmm(outputs, filters, out=inputs)
            run_on_batch(cpu.unread, count, read.numpy(), as_array(of_x)[here], tiles, padding)
    if not to_weight:
        return of_x, weight.new_empty(0), weight.new_empty(0)
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


def _parts(x: Tensor, out: Tensor, weight: Tensor, padding: int, groups: int) -> Iterator[Part]:
    """All images, so many at once as BYTES_AT_ONCE allow; they share the room."""
    kernel = weight.shape[3]
    tiles = _tiles(x, kernel, padding)
    each, places = tiles[0] * tiles[1], (OUTPUTS + kernel - 1) ** 2
    room_wanted = len(x) * _planes_bytes(each, x, weight)
    parts = max(1, math.ceil(room_wanted / (BYTES_AT_ONCE * torch.get_num_threads())))
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


def _planes_bytes(tiles: int, x: Tensor, weight: Tensor) -> int:
    """What an image of so many tiles takes, in and out."""
    places = (OUTPUTS + weight.shape[3] - 1) ** 2
    return places * tiles * (x.shape[1] + len(weight)) * x.element_size()


def _transformed(weight: Tensor, groups: int) -> Tensor:
    """G w Gᵀ of every filter: M C/G k k → P·G M/G C/G."""
    maps, inputs, kernel, _ = weight.shape
    flat = weight.detach().permute(2, 3, 0, 1).reshape(kernel * kernel, maps * inputs)
    return (_both_sides(kernel) @ flat).view(-1, maps // groups, inputs)


def _untransformed(gradient: Tensor, weight: Tensor) -> Tensor:
    """The gradient of the filters from that of the transformed ones: P·G M/G C/G → M C/G k k.

    It is laid out like the filters, or the optimizer would have to.
    """
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
    """An empty N M H' W', channels_last."""
    height, width = (side + 2 * padding - weight.shape[-1] + 1 for side in x.shape[2:])
    shape = len(x), len(weight), height, width
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


@winograd.register_fake
def _(x, weight, bias, padding, groups):
    return _new_outputs(x, weight, padding)


@winograd_backward.register_fake
def _(gradient, x, weight, padding, groups, to_x, to_weight):
    of_x = allocate_like(x, *x.shape[2:]) if to_x else x.new_empty(0)
    of_weight = torch.empty_like(weight) if to_weight else weight.new_empty(0)
    return of_x, of_weight, weight.new_empty(len(weight) if to_weight else 0)


def _keep(ctx, inputs, output):
    x, weight, _, ctx.padding, ctx.groups = inputs
    ctx.save_for_backward(x, weight)


def _gradient(ctx, gradient):
    x, weight = ctx.saved_tensors
    to_x, to_weight, to_bias, _, _ = ctx.needs_input_grad
    wanted = to_x, to_weight or to_bias
    with torch.autocast("cpu", enabled=False):  # as the forward pass
        of_x, of_weight, of_bias = winograd_backward(
            gradient, x, weight, ctx.padding, ctx.groups, *wanted
        )
    gradients = zip((of_x, of_weight, of_bias), (to_x, to_weight, to_bias), strict=True)
    return *(g if wanted else None for g, wanted in gradients), None, None


winograd.register_autograd(_gradient, setup_context=_keep)
