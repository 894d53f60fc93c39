"""ReLU and pooling on CUDA. Memory is channels_last, N H W C; sums are float32.

A program takes a tile of pixels × maps, maps along the threads, so that loads and stores are
coalesced. Each kernel states the bytes that it must move: s is the size of a float in `x`.
"""

# mypy: disable-error-code="no-untyped-def"

import triton
import triton.language as tl

from alexnet.kernels.runtime.triton_launch import launch, pixel_offset

TILE = 1024
"""Numbers of a tile, eight for each thread: more would not fit its registers."""


def max_forward(x, out, positions, pool, stride):
    """Maxima and positions from x. Moves s N H W C + (s + 1) N H' W' C bytes."""
    tile, grid = _tiles(out)
    launch(_max_forward, grid, out, x, out, positions, *_sizes(x, out), pool, stride, *tile)


def max_backward(gradient, positions, out, pool, stride):
    """The gradient of the input. Moves (s + 1) N H' W' C + s N H W C bytes."""
    tile, grid = _tiles(out)
    arrays, sizes = (gradient, positions, out), _sizes(out, gradient)
    launch(_max_backward, grid, out, *arrays, *sizes, pool, stride, *tile)


def avg_forward(x, out, pool, stride, relu_first):
    """Averages of x. Moves s N H W C + s N H' W' C bytes."""
    tile, grid = _tiles(out)
    launch(_avg_forward, grid, out, x, out, *_sizes(x, out), pool, stride, relu_first, *tile)


def avg_backward(gradient, kept, out, pool, stride, relu_first):
    """The gradient of the input. Moves s N H' W' C + s N H W C bytes, and those of `kept`."""
    tile, grid = _tiles(out)
    arrays, sizes = (gradient, kept, out), _sizes(out, gradient)
    launch(_avg_backward, grid, out, *arrays, *sizes, pool, stride, relu_first, *tile)


def _tiles(written):
    """Pixels and maps of a tile, and how many tiles cover what is written."""
    maps = min(128, triton.next_power_of_2(written.shape[1]))
    pixels = TILE // maps
    grid = triton.cdiv(written[:, 0].numel(), pixels), triton.cdiv(written.shape[1], maps)
    return (pixels, maps), grid


def _sizes(large, small):
    """Images, maps, and the sizes of maps before and after pooling."""
    return *large.shape, *small.shape[2:]


@triton.jit
def _max_forward(
    x, out, positions, images, maps, height, width, high, wide,
    POOL: tl.constexpr, STRIDE: tl.constexpr, PIXELS: tl.constexpr, MAPS: tl.constexpr,
):  # fmt: skip
    image, i, j, pixels = pixel_tile(images, high, wide, PIXELS)
    c, inside = map_tile(maps, MAPS)
    mask = pixels[:, None] & inside
    best = tl.full((PIXELS, MAPS), float("-inf"), tl.float32)
    won = tl.zeros((PIXELS, MAPS), tl.int32)
    for here in tl.static_range(POOL * POOL):
        source = x + pixel_of_window(image, i, j, here, height, width, maps, POOL, STRIDE)
        value = tl.load(source[:, None] + c, mask, 0.0).to(tl.float32)
        within = is_within(i, j, here, height, width, POOL, STRIDE)[:, None]
        best, won = larger(best, won, value, here, within)
    target = pixel_offset(image, i, j, high, wide, maps)[:, None] + c
    tl.store(out + target, rectified(best), mask)
    tl.store(positions + target, dead(won, best, POOL), mask)


@triton.jit
def _max_backward(
    gradient, positions, out, images, maps, height, width, high, wide,
    POOL: tl.constexpr, STRIDE: tl.constexpr, PIXELS: tl.constexpr, MAPS: tl.constexpr,
):  # fmt: skip
    image, y, x, pixels = pixel_tile(images, height, width, PIXELS)
    c, inside = map_tile(maps, MAPS)
    mask = pixels[:, None] & inside
    won = unpooled(gradient, positions, image, y, x, c, mask, high, wide, maps, POOL, STRIDE)
    tl.store(out + pixel_offset(image, y, x, height, width, maps)[:, None] + c, won, mask)


@triton.jit
def _avg_forward(
    x, out, images, maps, height, width, high, wide,
    POOL: tl.constexpr, STRIDE: tl.constexpr, RELU_FIRST: tl.constexpr,
    PIXELS: tl.constexpr, MAPS: tl.constexpr,
):  # fmt: skip
    image, i, j, pixels = pixel_tile(images, high, wide, PIXELS)
    c, inside = map_tile(maps, MAPS)
    total = tl.zeros((PIXELS, MAPS), tl.float32)
    for here in tl.static_range(POOL * POOL):
        y, x_ = i * STRIDE + here // POOL, j * STRIDE + here % POOL
        valid = (pixels & (y < height) & (x_ < width))[:, None] & inside
        source = x + pixel_offset(image, y, x_, height, width, maps)[:, None] + c
        value = tl.load(source, valid, 0.0).to(tl.float32)
        total += rectified(value) if RELU_FIRST else value
    mean = total / inside_window(i, j, height, width, POOL, STRIDE)[:, None]
    mean = mean if RELU_FIRST else rectified(mean)
    tl.store(
        out + pixel_offset(image, i, j, high, wide, maps)[:, None] + c,
        mean,
        pixels[:, None] & inside,
    )


@triton.jit
def _avg_backward(
    gradient, kept, out, images, maps, height, width, high, wide,
    POOL: tl.constexpr, STRIDE: tl.constexpr, RELU_FIRST: tl.constexpr,
    PIXELS: tl.constexpr, MAPS: tl.constexpr,
):  # fmt: skip
    image, y, x, pixels = pixel_tile(images, height, width, PIXELS)
    c, inside = map_tile(maps, MAPS)
    mask = pixels[:, None] & inside
    total = tl.zeros((PIXELS, MAPS), tl.float32)
    COVER: tl.constexpr = (POOL + STRIDE - 1) // STRIDE
    for window in tl.static_range(COVER * COVER):
        i, j = y // STRIDE - window // COVER, x // STRIDE - window % COVER
        valid = covers(i, j, y, x, high, wide, POOL, STRIDE)[:, None] & mask
        source = pixel_offset(image, i, j, high, wide, maps)[:, None] + c
        share = tl.load(gradient + source, valid, 0.0).to(tl.float32)
        share = share / inside_window(i, j, height, width, POOL, STRIDE)[:, None]
        if not RELU_FIRST:
            share = tl.where(tl.load(kept + source, valid, 0.0) <= 0, 0.0, share)
        total += tl.where(valid, share, 0.0)
    target = pixel_offset(image, y, x, height, width, maps)[:, None] + c
    if RELU_FIRST:
        total = tl.where(tl.load(kept + target, mask, 0.0) <= 0, 0.0, total)
    tl.store(out + target, total, mask)


# What the kernels here and those of the norm are made of.


@triton.jit
def pixel_tile(images, height, width, PIXELS: tl.constexpr):
    """Image, row and column of each pixel of this program's tile, and whether it exists."""
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    row = pixel // width
    return row // height, row % height, pixel % width, row < images * height


@triton.jit
def map_tile(maps, MAPS: tl.constexpr):
    """The maps of this program's tile as a row, and whether each exists."""
    c = (tl.program_id(1) * MAPS + tl.arange(0, MAPS))[None, :]
    return c, c < maps


@triton.jit
def pixel_of_window(
    image, i, j, here, height, width, maps, POOL: tl.constexpr, STRIDE: tl.constexpr
):
    """Where position `here` of each window is in memory: the last row or column for those outside.

    So every load is from memory of the image; `is_within` tells which of them count.
    """
    y = tl.minimum(i * STRIDE + here // POOL, height - 1)
    x = tl.minimum(j * STRIDE + here % POOL, width - 1)
    return pixel_offset(image, y, x, height, width, maps)


@triton.jit
def is_within(i, j, here, height, width, POOL: tl.constexpr, STRIDE: tl.constexpr):
    """Whether position `here` of each window lies inside the image."""
    return (i * STRIDE + here // POOL < height) & (j * STRIDE + here % POOL < width)


@triton.jit
def rectified(x):
    """ReLU. A NaN stays one, which tl.maximum does not promise."""
    return tl.where(x <= 0, 0.0, x)


@triton.jit
def larger(best, won, value, here, within):
    """The larger of `best` and `value` and its position, where `value` is `within` the image.

    A NaN wins and stays, and of several NaNs the last one is the winner, as in PyTorch.
    """
    wins = within & ((value > best) | (value != value))
    return tl.where(wins, value, best), tl.where(wins, here, won)


@triton.jit
def dead(won, best, POOL: tl.constexpr):
    """The positions; where ReLU blocks the gradient, one that no window has."""
    return tl.where(best <= 0, POOL * POOL, won)


@triton.jit
def covers(i, j, y, x, high, wide, POOL: tl.constexpr, STRIDE: tl.constexpr):
    """Whether there is a window i, j and it holds the pixel y, x. (It begins before them.)"""
    exists = (i >= 0) & (j >= 0) & (i < high) & (j < wide)
    return exists & (y - i * STRIDE < POOL) & (x - j * STRIDE < POOL)


@triton.jit
def inside_window(i, j, height, width, POOL: tl.constexpr, STRIDE: tl.constexpr):
    """How many pixels of each window lie inside the image."""
    rows = tl.minimum(height - i * STRIDE, POOL)
    return (rows * tl.minimum(width - j * STRIDE, POOL)).to(tl.float32)


@triton.jit
def unpooled(
    gradient, positions, image, y, x, c, mask, high, wide, maps,
    POOL: tl.constexpr, STRIDE: tl.constexpr,
):  # fmt: skip
    """The gradient of a tile of pixels, gathered from the maxima of the windows over it."""
    total = tl.zeros(mask.shape, tl.float32)
    COVER: tl.constexpr = (POOL + STRIDE - 1) // STRIDE
    for window in tl.static_range(COVER * COVER):
        i, j = y // STRIDE - window // COVER, x // STRIDE - window % COVER
        valid = covers(i, j, y, x, high, wide, POOL, STRIDE)[:, None] & mask
        source = pixel_offset(image, i, j, high, wide, maps)[:, None] + c
        here = ((y - i * STRIDE) * POOL + x - j * STRIDE)[:, None]
        won = tl.load(positions + source, valid, 0) == here
        total += tl.where(won, tl.load(gradient + source, valid, 0.0).to(tl.float32), 0.0)
    return total
