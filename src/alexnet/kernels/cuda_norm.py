"""ReLU, response norm and max pool on CUDA. Memory is channels_last, N H W C; sums are float32.

A program takes a tile of pixels × maps of one tower. The sum over neighboring maps is a product
with a banded matrix of zeros and ones, left to the matrix units: nothing is loaded twice for it. A
tower of more than 128 maps is cut into tiles that overlap by the maps that their windows need.
"""

# mypy: disable-error-code="no-untyped-def"

import torch
import triton
import triton.language as tl

from alexnet.kernels.cuda_pool import (
    at,
    larger,
    launch,
    pixel_tile,
    rectified,
    store_maxima,
    unpooled,
)

PIXELS = 32
"""Pixels of a tile."""


def forward(x, out, positions, n, alpha, beta, k, towers, pool, stride, relu):
    """Maxima and positions from x. Moves s N H W C + (s + 1) N H' W' C bytes, s that of a float."""
    tile, tiles = _tiles(x, n, towers, n // 2)
    grid = triton.cdiv(out[:, 0].numel(), PIXELS), tiles
    sizes, how = (*x.shape, *out.shape[2:]), (alpha, beta, k, n, pool, stride, relu)
    launch(_forward, grid, out, x, out, positions, *sizes, *how, *tile, _precision(x))


def backward(gradient, x, positions, out, n, alpha, beta, k, towers, pool, stride, relu):
    """The gradient of x. Moves 2 s N H W C + (s + 1) N H' W' C bytes."""
    tile, tiles = _tiles(x, n, towers, 2 * (n // 2))
    grid = triton.cdiv(x[:, 0].numel(), PIXELS), tiles
    arrays, sizes = (gradient, x, positions, out), (*x.shape, *gradient.shape[2:])
    how = alpha, beta, k, n, pool, stride, relu
    launch(_backward, grid, out, *arrays, *sizes, *how, *tile, _precision(x))


def _tiles(x, n, towers, reach):
    """(Pixels, maps loaded, maps of the tower, overlap) of a tile, and tiles over the maps."""
    tower = x.shape[1] // towers
    maps = min(128, max(16, triton.next_power_of_2(tower)))
    overlap = 0 if maps >= tower else reach
    return (PIXELS, maps, tower, overlap), towers * triton.cdiv(tower, maps - 2 * overlap)


def _precision(x):
    """Products of the sums: TF32 holds what the square of a half-precision number has to say."""
    return "tf32x3" if x.dtype == torch.float32 else "tf32"


@triton.jit
def _forward(
    x, out, positions, images, maps, height, width, high, wide, alpha, beta, k,
    N: tl.constexpr, POOL: tl.constexpr, STRIDE: tl.constexpr, RELU: tl.constexpr,
    PIXELS: tl.constexpr, MAPS: tl.constexpr, TOWER: tl.constexpr, OVERLAP: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    image, i, j, pixels = pixel_tile(images, high, wide, PIXELS)
    c, inside, mine = _tower_tile(MAPS, TOWER, OVERLAP)
    band = _band(N, MAPS)
    best = tl.full((PIXELS, MAPS), float("-inf"), tl.float32)
    won = tl.zeros((PIXELS, MAPS), tl.int32)
    for here in tl.static_range(POOL * POOL):
        y, x_ = i * STRIDE + here // POOL, j * STRIDE + here % POOL
        valid = (pixels & (y < height) & (x_ < width))[:, None] & inside
        value = tl.load(x + at(image, y, x_, height, width, maps) + c, valid, 0.0).to(tl.float32)
        if RELU == "first":
            value = rectified(value)
        base = k + alpha * tl.dot(value * value, band, input_precision=PRECISION)
        value *= tl.exp2(-beta * tl.log2(base))
        best, won = larger(best, won, value, here, valid)
    target = at(image, i, j, high, wide, maps) + c
    store_maxima(out, positions, target, best, won, pixels[:, None] & mine, POOL, RELU != "none")


@triton.jit
def _backward(
    gradient, x, positions, out, images, maps, height, width, high, wide, alpha, beta, k,
    N: tl.constexpr, POOL: tl.constexpr, STRIDE: tl.constexpr, RELU: tl.constexpr,
    PIXELS: tl.constexpr, MAPS: tl.constexpr, TOWER: tl.constexpr, OVERLAP: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    image, y, x_, pixels = pixel_tile(images, height, width, PIXELS)
    c, inside, mine = _tower_tile(MAPS, TOWER, OVERLAP)
    mask = pixels[:, None] & inside
    band = _band(N, MAPS)
    target = at(image, y, x_, height, width, maps) + c
    source = tl.load(x + target, mask, 0.0).to(tl.float32)
    value = rectified(source) if RELU == "first" else source
    power = tl.log2(k + alpha * tl.dot(value * value, band, input_precision=PRECISION))
    won = unpooled(gradient, positions, image, y, x_, c, mask, high, wide, maps, POOL, STRIDE)
    across = won * value * tl.exp2((-beta - 1) * power)
    sums = tl.dot(across, tl.trans(band), input_precision=PRECISION)
    result = won * tl.exp2(-beta * power) - 2 * alpha * beta * value * sums
    if RELU == "first":
        result = tl.where(source <= 0, 0.0, result)
    tl.store(out + target, result, pixels[:, None] & mine)


@triton.jit
def _tower_tile(MAPS: tl.constexpr, TOWER: tl.constexpr, OVERLAP: tl.constexpr):
    """The maps of this program's tile, whether each is of its tower, and whether it is stored."""
    STEP: tl.constexpr = MAPS - 2 * OVERLAP
    TILES: tl.constexpr = (TOWER + STEP - 1) // STEP
    lane = tl.arange(0, MAPS)[None, :]
    c = tl.program_id(1) % TILES * STEP - OVERLAP + lane
    inside = (c >= 0) & (c < TOWER)
    mine = inside & (lane >= OVERLAP) & (lane < OVERLAP + STEP)
    return tl.program_id(1) // TILES * TOWER + c, inside, mine


@triton.jit
def _band(N: tl.constexpr, MAPS: tl.constexpr):
    """MAPS MAPS: 1 where the row's map is in the window of the column's map."""
    lane = tl.arange(0, MAPS)
    offset = lane[:, None] - (lane[None, :] - N // 2)
    return tl.where((offset >= 0) & (offset < N), 1.0, 0.0)
