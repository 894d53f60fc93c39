"""ReLU and pooling on CUDA, in one pass over memory. Memory is channels_last; sums are float32.

A program computes a tile of PIXELS × CHANNELS numbers, neighboring channels in neighboring threads,
so that loads and stores are coalesced:

    program (0, 0)          program (0, 1)
    pixel 0  c0 … c127      pixel 0  c128 … c255       forward: pixels of the output
    …                       …                          backward: pixels of the input
    pixel 7  c0 … c127      pixel 7  c128 … c255

Forward, a program visits the POOL² positions of its windows one after the other; backward, the
windows that cover its pixels (gathering, as `cpu_windows` explains), so no atomic additions are
needed. Each function states the bytes that it must move; s is the size of an element of x in bytes.

Called by `operator`; imports Triton, so it must be imported inside functions only.
"""

# mypy: disable-error-code="no-untyped-def"

import triton
import triton.language as tl

from alexnet.kernels.pooling.cuda_windows import (
    is_covered,
    is_inside_image,
    mark_blocked,
    rectify,
    update_max,
    window_pixel_offset,
)
from alexnet.kernels.runtime.triton_launch import launch, pixel_offset

TILE = 1024
"""Elements of a tile, eight for each thread. A larger tile would not fit the registers."""


def max_forward(x, out, argmax, pool, stride):
    """Fill the maxima `out` and `argmax`. Moves s N H W C + (s + 1) N H' W' C bytes."""
    tile, grid = _choose_tiles(out)
    launch(_max_forward, grid, out, x, out, argmax, *_sizes(x, out), pool, stride, *tile)


def max_backward(grad_out, argmax, grad_x, pool, stride):
    """Fill the gradient of the input. Moves (s + 1) N H' W' C + s N H W C bytes."""
    tile, grid = _choose_tiles(grad_x)
    tensors, sizes = (grad_out, argmax, grad_x), _sizes(grad_x, grad_out)
    launch(_max_backward, grid, grad_x, *tensors, *sizes, pool, stride, *tile)


def avg_forward(x, out, pool, stride, relu_first):
    """Fill the averages `out`. Moves s N H W C + s N H' W' C bytes."""
    tile, grid = _choose_tiles(out)
    launch(_avg_forward, grid, out, x, out, *_sizes(x, out), pool, stride, relu_first, *tile)


def avg_backward(grad_out, kept, grad_x, pool, stride, relu_first):
    """Fill the gradient of the input; `kept` is x if ReLU came before the pooling, else the output.

    Moves s N H' W' C + s N H W C bytes, and those of `kept`.
    """
    tile, grid = _choose_tiles(grad_x)
    tensors, sizes = (grad_out, kept, grad_x), _sizes(grad_x, grad_out)
    launch(_avg_backward, grid, grad_x, *tensors, *sizes, pool, stride, relu_first, *tile)


def _choose_tiles(written):
    """Return (pixels, channels) of a tile, and the grid of tiles that covers `written`."""
    channels = min(128, triton.next_power_of_2(written.shape[1]))
    pixels = TILE // channels
    grid = triton.cdiv(written[:, 0].numel(), pixels), triton.cdiv(written.shape[1], channels)
    return (pixels, channels), grid


def _sizes(before, after):
    """Return images, channels, and height and width before and after the pooling."""
    return *before.shape, *after.shape[2:]


@triton.jit
def _max_forward(
    x, out, argmax, images, channels, height, width, out_height, out_width,
    POOL: tl.constexpr, STRIDE: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    image, i, j, pixels = _pixel_tile(images, out_height, out_width, PIXELS)
    c, exists = _channel_tile(channels, CHANNELS)
    mask = pixels[:, None] & exists
    best = tl.full((PIXELS, CHANNELS), float("-inf"), tl.float32)
    best_at = tl.zeros((PIXELS, CHANNELS), tl.int32)
    for position in tl.static_range(POOL * POOL):
        source = x + window_pixel_offset(
            image, i, j, position, height, width, channels, POOL, STRIDE
        )
        value = tl.load(source[:, None] + c, mask, 0.0).to(tl.float32)
        inside = is_inside_image(i, j, position, height, width, POOL, STRIDE)[:, None]
        best, best_at = update_max(best, best_at, value, position, inside)
    target = pixel_offset(image, i, j, out_height, out_width, channels)[:, None] + c
    tl.store(out + target, rectify(best), mask)
    tl.store(argmax + target, mark_blocked(best_at, best, POOL), mask)


@triton.jit
def _max_backward(
    grad_out, argmax, grad_x, images, channels, height, width, out_height, out_width,
    POOL: tl.constexpr, STRIDE: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    image, y, x, pixels = _pixel_tile(images, height, width, PIXELS)
    c, exists = _channel_tile(channels, CHANNELS)
    mask = pixels[:, None] & exists
    total = tl.zeros((PIXELS, CHANNELS), tl.float32)
    COVER: tl.constexpr = (POOL + STRIDE - 1) // STRIDE
    for window in tl.static_range(COVER * COVER):
        i, j = y // STRIDE - window // COVER, x // STRIDE - window % COVER
        valid = is_covered(i, j, y, x, out_height, out_width, POOL, STRIDE)[:, None] & mask
        source = pixel_offset(image, i, j, out_height, out_width, channels)[:, None] + c
        position = ((y - i * STRIDE) * POOL + x - j * STRIDE)[:, None]
        is_max = tl.load(argmax + source, valid, 0) == position
        total += tl.where(is_max, tl.load(grad_out + source, valid, 0.0).to(tl.float32), 0.0)
    tl.store(grad_x + pixel_offset(image, y, x, height, width, channels)[:, None] + c, total, mask)


@triton.jit
def _avg_forward(
    x, out, images, channels, height, width, out_height, out_width,
    POOL: tl.constexpr, STRIDE: tl.constexpr, RELU_FIRST: tl.constexpr,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    image, i, j, pixels = _pixel_tile(images, out_height, out_width, PIXELS)
    c, exists = _channel_tile(channels, CHANNELS)
    total = tl.zeros((PIXELS, CHANNELS), tl.float32)
    for position in tl.static_range(POOL * POOL):
        y, x_ = i * STRIDE + position // POOL, j * STRIDE + position % POOL
        valid = (pixels & (y < height) & (x_ < width))[:, None] & exists
        source = x + pixel_offset(image, y, x_, height, width, channels)[:, None] + c
        value = tl.load(source, valid, 0.0).to(tl.float32)
        total += rectify(value) if RELU_FIRST else value
    mean = total / _count_inside(i, j, height, width, POOL, STRIDE)[:, None]
    mean = mean if RELU_FIRST else rectify(mean)
    target = pixel_offset(image, i, j, out_height, out_width, channels)[:, None] + c
    tl.store(out + target, mean, pixels[:, None] & exists)


@triton.jit
def _avg_backward(
    grad_out, kept, grad_x, images, channels, height, width, out_height, out_width,
    POOL: tl.constexpr, STRIDE: tl.constexpr, RELU_FIRST: tl.constexpr,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    image, y, x, pixels = _pixel_tile(images, height, width, PIXELS)
    c, exists = _channel_tile(channels, CHANNELS)
    mask = pixels[:, None] & exists
    total = tl.zeros((PIXELS, CHANNELS), tl.float32)
    COVER: tl.constexpr = (POOL + STRIDE - 1) // STRIDE
    for window in tl.static_range(COVER * COVER):
        i, j = y // STRIDE - window // COVER, x // STRIDE - window % COVER
        valid = is_covered(i, j, y, x, out_height, out_width, POOL, STRIDE)[:, None] & mask
        source = pixel_offset(image, i, j, out_height, out_width, channels)[:, None] + c
        share = tl.load(grad_out + source, valid, 0.0).to(tl.float32)
        share = share / _count_inside(i, j, height, width, POOL, STRIDE)[:, None]
        if not RELU_FIRST:
            share = tl.where(tl.load(kept + source, valid, 0.0) <= 0, 0.0, share)
        total += tl.where(valid, share, 0.0)
    target = pixel_offset(image, y, x, height, width, channels)[:, None] + c
    if RELU_FIRST:
        total = tl.where(tl.load(kept + target, mask, 0.0) <= 0, 0.0, total)
    tl.store(grad_x + target, total, mask)


@triton.jit
def _pixel_tile(images, height, width, PIXELS: tl.constexpr):
    """Return image, row and column of each pixel of this program's tile, and whether it exists."""
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    row = pixel // width
    return row // height, row % height, pixel % width, row < images * height


@triton.jit
def _channel_tile(channels, CHANNELS: tl.constexpr):
    """Return the channels of this program's tile, (1, CHANNELS), and whether each exists."""
    c = (tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS))[None, :]
    return c, c < channels


@triton.jit
def _count_inside(i, j, height, width, POOL: tl.constexpr, STRIDE: tl.constexpr):
    """Return how many pixels of each window lie inside the image, as float32."""
    rows = tl.minimum(height - i * STRIDE, POOL)
    return (rows * tl.minimum(width - j * STRIDE, POOL)).to(tl.float32)
