"""ReLU, response normalization and max pooling on CUDA, in one pass over memory.

Memory is channels_last, (N, H, W, C); sums are float32. A thread computes an octet: eight
neighboring channels of one pixel, in eight registers. It also loads the neighboring channels that
belong to their windows:

    n = 5                     c-2 c-1 │ c  c+1 … c+6 c+7 │ c+8 c+9
    loaded one by one         └─────┘ └──── octet ─────┘ └───────┘  loaded one by one

So an octet is loaded and stored as a vector, a sum over a window takes n additions, and no thread
waits for another. In this file, a row is a tuple of such registers, one for each channel; Triton
unrolls the loops over it (`tl.static_range`). A program has THREADS threads; thread t, counted over
all programs, computes octet t % OCTETS of pixel t // OCTETS.

Forward, a thread visits the POOL² positions of one pooling window, normalizes each and keeps the
maxima. Backward, it computes the gradient of one octet of the input: it gathers the gradients of
the pooling windows over its pixel, for its channels and all that share a window with them, and
normalizes again. The formula of the gradient is in `cpu`.

Called by `operator`; imports Triton, so it must be imported inside functions only.
"""

# mypy: disable-error-code="no-untyped-def, assignment, var-annotated"
# ruff: noqa: RUF005 - Triton adds tuples, and does not unpack them

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

THREADS = 128
"""Threads of a program."""


def forward(x, out, argmax, parameters):
    """Fill the maxima `out` and `argmax`, by `NormPoolParameters`.

    Moves s N H W C + (s + 1) N H' W' C bytes, where s is the size of an element of x in bytes.
    """
    sizes, constants = (*x.shape, *out.shape[2:]), _order(parameters)
    octets, grid = _divide_work(out, parameters.towers)
    launch(_forward, grid, out, x, out, argmax, *sizes, *constants, *octets)


def backward(grad_out, x, argmax, grad_x, parameters):
    """Fill the gradient of x. Moves 2 s N H W C + (s + 1) N H' W' C bytes."""
    tensors, sizes = (grad_out, x, argmax, grad_x), (*x.shape, *grad_out.shape[2:])
    octets, grid = _divide_work(grad_x, parameters.towers)
    launch(_backward, grid, grad_x, *tensors, *sizes, *_order(parameters), *octets)


def _order(parameters):
    """Return the parameters in the order in which both kernels take them."""
    p = parameters
    return p.alpha, p.k, p.beta, p.n, p.pool, p.stride, p.relu


def _divide_work(written, towers):
    """Return (channels of a tower, octets of a pixel, threads of a program), and the grid."""
    tower = written.shape[1] // towers
    octets = towers * triton.cdiv(tower, 8)
    programs = triton.cdiv(written[:, 0].numel() * octets, THREADS)
    return (tower, octets, THREADS), (programs,)


@triton.jit
def _forward(
    x, out, argmax, images, channels, height, width, out_height, out_width, alpha, k,
    BETA: tl.constexpr, N: tl.constexpr, POOL: tl.constexpr, STRIDE: tl.constexpr,
    RELU: tl.constexpr, TOWER: tl.constexpr, OCTETS: tl.constexpr, THREADS: tl.constexpr,
):  # fmt: skip
    image, i, j, c, start, exists = _locate_octets(
        images, out_height, out_width, TOWER, OCTETS, THREADS
    )
    best = _repeat(tl.full((THREADS,), float("-inf"), tl.float32), 8)
    best_at = _repeat(tl.zeros((THREADS,), tl.int32), 8)
    for position in tl.static_range(POOL * POOL):
        source = x + window_pixel_offset(
            image, i, j, position, height, width, channels, POOL, STRIDE
        )
        a = _to_float32(_load_octets(source + start, c, exists, TOWER, N // 2, N - 1 - N // 2))
        if RELU == "first":
            a = _rectify_row(a)
        powers = _compute_powers(_compute_bases(a, alpha, k, N), BETA)
        inside = is_inside_image(i, j, position, height, width, POOL, STRIDE)
        maxima, indices = (), ()
        for f in tl.static_range(8):
            value = a[f + N // 2] * powers[f]
            value, index = update_max(best[f], best_at[f], value, position, inside)
            maxima, indices = maxima + (value,), indices + (index,)
        best, best_at = maxima, indices
    target = pixel_offset(image, i, j, out_height, out_width, channels) + start
    if RELU != "none":
        best_at = _mark_row_blocked(best_at, best, POOL)
        best = _rectify_row(best)
    _store_octets(out + target, best, c, exists, TOWER, THREADS)
    _store_octets(argmax + target, best_at, c, exists, TOWER, THREADS)


@triton.jit
def _backward(
    grad_out, x, argmax, grad_x, images, channels, height, width, out_height, out_width, alpha, k,
    BETA: tl.constexpr, N: tl.constexpr, POOL: tl.constexpr, STRIDE: tl.constexpr,
    RELU: tl.constexpr, TOWER: tl.constexpr, OCTETS: tl.constexpr, THREADS: tl.constexpr,
):  # fmt: skip
    image, y, x_, c, start, exists = _locate_octets(images, height, width, TOWER, OCTETS, THREADS)
    # A channel belongs to the windows of the channels from BELOW below it to ABOVE above it. The
    # bases and gradients of these 7 + N channels are needed, and for the bases their windows.
    BELOW: tl.constexpr = N - 1 - N // 2
    ABOVE: tl.constexpr = N // 2
    target = pixel_offset(image, y, x_, height, width, channels) + start
    source = _to_float32(_load_octets(x + target, c, exists, TOWER, N - 1, N - 1))
    a = _rectify_row(source) if RELU == "first" else source
    bases = _compute_bases(a, alpha, k, N)
    # The gradient of the normalized pixel, gathered from the pooling windows over it.
    unpooled = _repeat(tl.zeros((THREADS,), tl.float32), 7 + N)
    COVER: tl.constexpr = (POOL + STRIDE - 1) // STRIDE
    for window in tl.static_range(COVER * COVER):
        i, j = y // STRIDE - window // COVER, x_ // STRIDE - window % COVER
        valid = exists & is_covered(i, j, y, x_, out_height, out_width, POOL, STRIDE)
        offset = pixel_offset(image, i, j, out_height, out_width, channels) + start
        position = (y - i * STRIDE) * POOL + x_ - j * STRIDE
        pooled = _to_float32(_load_octets(grad_out + offset, c, valid, TOWER, BELOW, ABOVE))
        indices = _load_octets(argmax + offset, c, valid, TOWER, BELOW, ABOVE)
        unpooled = _add_where_maximal(unpooled, pooled, indices, position)
    powers = _compute_powers(bases, BETA)
    cross_terms = ()
    for f in tl.static_range(7 + N):
        root = tl.rsqrt(bases[f])
        cross_terms = cross_terms + (unpooled[f] * a[f + N // 2] * powers[f] * root * root,)
    result = ()
    for f in tl.static_range(8):
        total = cross_terms[f]
        for near in tl.static_range(1, N):
            total += cross_terms[f + near]
        pointwise = unpooled[f + BELOW] * powers[f + BELOW]
        value = pointwise - 2 * alpha * BETA * a[f + N - 1] * total
        if RELU == "first":
            value = tl.where(source[f + N - 1] <= 0, 0.0, value)
        result = result + (value,)
    _store_octets(grad_x + target, result, c, exists, TOWER, THREADS)


# Octets: where they are, loading and storing them.


@triton.jit
def _locate_octets(
    images, height, width, TOWER: tl.constexpr, OCTETS: tl.constexpr, THREADS: tl.constexpr
):
    """Return, for each thread, where its octet is.

    Image, row and column of the pixel; the octet's first channel, counted in its tower and counted
    in the pixel; and whether the pixel exists. The last octet of a tower may be incomplete.
    """
    EACH: tl.constexpr = (TOWER + 7) // 8  # octets of a tower
    thread = tl.program_id(0) * THREADS + tl.arange(0, THREADS)
    octet, c = thread % OCTETS, thread % OCTETS % EACH * 8
    row = thread // OCTETS // width
    x, start = thread // OCTETS % width, octet // EACH * TOWER + c
    return row // height, row % height, x, c, start, row < images * height


@triton.jit
def _load_octets(pointer, c, exists, TOWER: tl.constexpr, BELOW: tl.constexpr, ABOVE: tl.constexpr):
    """Load each thread's octet, with BELOW channels before it and ABOVE after it.

    Returns a row of BELOW + 8 + ABOVE registers, zero where the tower has no such channel.
    """
    row = ()
    for near in tl.static_range(-BELOW, 0):
        row = row + (tl.load(pointer + near, exists & (c + near >= 0), 0),)
    lane = tl.arange(0, 8)[None, :]
    octet = tl.load(pointer[:, None] + lane, exists[:, None] & (c[:, None] + lane < TOWER), 0)
    row = row + _split_octets(octet)
    for near in tl.static_range(8, 8 + ABOVE):
        row = row + (tl.load(pointer + near, exists & (c + near < TOWER), 0),)
    return row


@triton.jit
def _split_octets(octets):
    """(THREADS, 8) → a row of eight. `tl.split` halves the last axis, so it is applied thrice."""
    even, odd = tl.split(octets.reshape(octets.shape[0], 2, 2, 2))
    even, even_2 = tl.split(even)
    odd, odd_2 = tl.split(odd)
    a, e = tl.split(even)
    b, f = tl.split(odd)
    c, g = tl.split(even_2)
    d, h = tl.split(odd_2)
    return a, b, c, d, e, f, g, h


@triton.jit
def _store_octets(pointer, row, c, exists, TOWER: tl.constexpr, THREADS: tl.constexpr):
    """Store a row of eight as each thread's octet, without the channels that its tower lacks."""
    even = tl.join(tl.join(row[0], row[4]), tl.join(row[2], row[6]))
    odd = tl.join(tl.join(row[1], row[5]), tl.join(row[3], row[7]))
    octets = tl.join(even, odd).reshape(THREADS, 8)
    lane = tl.arange(0, 8)[None, :]
    tl.store(pointer[:, None] + lane, octets, exists[:, None] & (c[:, None] + lane < TOWER))


# Rows: the same operation on every register.


@triton.jit
def _repeat(value, COUNT: tl.constexpr):
    row = ()
    for _ in tl.static_range(COUNT):
        row = row + (value,)
    return row


@triton.jit
def _to_float32(row):
    result = ()
    for f in tl.static_range(len(row)):
        result = result + (row[f].to(tl.float32),)
    return result


@triton.jit
def _rectify_row(row):
    result = ()
    for f in tl.static_range(len(row)):
        result = result + (rectify(row[f]),)
    return result


@triton.jit
def _mark_row_blocked(argmax, best, POOL: tl.constexpr):
    result = ()
    for f in tl.static_range(8):
        result = result + (mark_blocked(argmax[f], best[f], POOL),)
    return result


@triton.jit
def _compute_bases(row, alpha, k, N: tl.constexpr):
    """k + alpha * the sum of squares over each N neighboring channels: N - 1 fewer than the row."""
    bases = ()
    for f in tl.static_range(len(row) - N + 1):
        total = row[f] * row[f]
        for near in tl.static_range(1, N):
            total += row[f + near] * row[f + near]
        bases = bases + (k + alpha * total,)
    return bases


@triton.jit
def _compute_powers(bases, BETA: tl.constexpr):
    """bases ** -BETA, for ¾ by two reciprocal square roots."""
    powers = ()
    for f in tl.static_range(len(bases)):
        if BETA == 0.75:
            root = tl.rsqrt(bases[f])
            powers = powers + (root * root * tl.rsqrt(root),)
        else:
            powers = powers + (tl.exp2(-BETA * tl.log2(bases[f])),)
    return powers


@triton.jit
def _add_where_maximal(total, pooled, indices, position):
    """total + the gradients of those pooling windows whose maximum is at `position`."""
    result = ()
    for f in tl.static_range(len(total)):
        result = result + (total[f] + tl.where(indices[f] == position, pooled[f], 0.0),)
    return result
