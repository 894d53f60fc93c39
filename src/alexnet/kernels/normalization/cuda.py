"""ReLU, response norm and max pool on CUDA. Memory is channels_last, N H W C; sums are float32.

A thread takes eight neighboring maps of one pixel, an octet, as eight registers, and beside them
those that their windows reach. So octets move as vectors, a window's sum is n additions, and no
thread waits for another. Tuples below are such rows of registers, one number for each map.
"""

# mypy: disable-error-code="no-untyped-def, assignment, var-annotated"
# ruff: noqa: RUF005 - Triton adds tuples, and does not unpack them

import triton
import triton.language as tl

from alexnet.kernels.pooling.cuda import (
    covers,
    dead,
    is_within,
    larger,
    pixel_of_window,
    rectified,
)
from alexnet.kernels.runtime.triton_launch import launch, pixel_offset

THREADS = 128


def forward(x, out, positions, n, alpha, beta, k, towers, pool, stride, relu):
    """Maxima and positions from x. Moves s N H W C + (s + 1) N H' W' C bytes, s that of a float."""
    sizes, how = (*x.shape, *out.shape[2:]), (alpha, k, beta, n, pool, stride, relu)
    tile, grid = _threads(out, towers)
    launch(_forward, grid, out, x, out, positions, *sizes, *how, *tile)


def backward(gradient, x, positions, out, n, alpha, beta, k, towers, pool, stride, relu):
    """The gradient of x. Moves 2 s N H W C + (s + 1) N H' W' C bytes."""
    arrays, sizes = (gradient, x, positions, out), (*x.shape, *gradient.shape[2:])
    how = alpha, k, beta, n, pool, stride, relu
    tile, grid = _threads(out, towers)
    launch(_backward, grid, out, *arrays, *sizes, *how, *tile)


def _threads(written, towers):
    """(Maps of a tower, octets of a pixel, threads of a program), and how many programs."""
    tower = written.shape[1] // towers
    octets = towers * triton.cdiv(tower, 8)
    programs = triton.cdiv(written[:, 0].numel() * octets, THREADS)
    return (tower, octets, THREADS), (programs,)


@triton.jit
def _forward(
    x, out, positions, images, maps, height, width, high, wide, alpha, k,
    BETA: tl.constexpr, N: tl.constexpr, POOL: tl.constexpr, STRIDE: tl.constexpr,
    RELU: tl.constexpr, TOWER: tl.constexpr, OCTETS: tl.constexpr, THREADS: tl.constexpr,
):  # fmt: skip
    image, i, j, c, start, exists = _octet(images, high, wide, TOWER, OCTETS, THREADS)
    best = _repeated(tl.full((THREADS,), float("-inf"), tl.float32), 8)
    won = _repeated(tl.zeros((THREADS,), tl.int32), 8)
    for here in tl.static_range(POOL * POOL):
        source = x + pixel_of_window(image, i, j, here, height, width, maps, POOL, STRIDE)
        a = _floats(_maps(source + start, c, exists, TOWER, N // 2, N - 1 - N // 2))
        if RELU == "first":
            a = _rectified(a)
        powers = _powers(_bases(a, alpha, k, N), BETA)
        within = is_within(i, j, here, height, width, POOL, STRIDE)
        found, places = (), ()
        for f in tl.static_range(8):
            value = a[f + N // 2] * powers[f]
            value, place = larger(best[f], won[f], value, here, within)
            found, places = found + (value,), places + (place,)
        best, won = found, places
    target = pixel_offset(image, i, j, high, wide, maps) + start
    if RELU != "none":
        won = _dead(won, best, POOL)
        best = _rectified(best)
    _store(out + target, best, c, exists, TOWER, THREADS)
    _store(positions + target, won, c, exists, TOWER, THREADS)


@triton.jit
def _backward(
    gradient, x, positions, out, images, maps, height, width, high, wide, alpha, k,
    BETA: tl.constexpr, N: tl.constexpr, POOL: tl.constexpr, STRIDE: tl.constexpr,
    RELU: tl.constexpr, TOWER: tl.constexpr, OCTETS: tl.constexpr, THREADS: tl.constexpr,
):  # fmt: skip
    image, y, x_, c, start, exists = _octet(images, height, width, TOWER, OCTETS, THREADS)
    BELOW: tl.constexpr = N - 1 - N // 2  # the windows that hold a map are those of the maps
    ABOVE: tl.constexpr = N // 2  # from so many below it to so many above
    target = pixel_offset(image, y, x_, height, width, maps) + start
    source = _floats(_maps(x + target, c, exists, TOWER, N - 1, N - 1))  # and what those hold
    a = _rectified(source) if RELU == "first" else source
    bases = _bases(a, alpha, k, N)
    won = _repeated(tl.zeros((THREADS,), tl.float32), 7 + N)
    COVER: tl.constexpr = (POOL + STRIDE - 1) // STRIDE
    for window in tl.static_range(COVER * COVER):
        i, j = y // STRIDE - window // COVER, x_ // STRIDE - window % COVER
        valid = exists & covers(i, j, y, x_, high, wide, POOL, STRIDE)
        place = pixel_offset(image, i, j, high, wide, maps) + start
        here = (y - i * STRIDE) * POOL + x_ - j * STRIDE
        pooled = _floats(_maps(gradient + place, c, valid, TOWER, BELOW, ABOVE))
        winners = _maps(positions + place, c, valid, TOWER, BELOW, ABOVE)
        won = _add_won(won, pooled, winners, here)
    powers = _powers(bases, BETA)
    across = ()
    for f in tl.static_range(7 + N):
        root = tl.rsqrt(bases[f])
        across = across + (won[f] * a[f + N // 2] * powers[f] * root * root,)
    result = ()
    for f in tl.static_range(8):
        total = across[f]
        for near in tl.static_range(1, N):
            total += across[f + near]
        own = won[f + BELOW] * powers[f + BELOW]
        value = own - 2 * alpha * BETA * a[f + N - 1] * total
        if RELU == "first":
            value = tl.where(source[f + N - 1] <= 0, 0.0, value)
        result = result + (value,)
    _store(out + target, result, c, exists, TOWER, THREADS)


@triton.jit
def _octet(images, height, width, TOWER: tl.constexpr, OCTETS: tl.constexpr, THREADS: tl.constexpr):
    """Of each thread: image, row, column; first map in the tower and of all; if it exists."""
    EACH: tl.constexpr = (TOWER + 7) // 8
    thread = tl.program_id(0) * THREADS + tl.arange(0, THREADS)
    octet, c = thread % OCTETS, thread % OCTETS % EACH * 8
    row = thread // OCTETS // width
    x, start = thread // OCTETS % width, octet // EACH * TOWER + c
    return row // height, row % height, x, c, start, row < images * height


@triton.jit
def _maps(pointer, c, exists, TOWER: tl.constexpr, BELOW: tl.constexpr, ABOVE: tl.constexpr):
    """The octet at the pointer with its neighbors; zeros where the tower has no such map."""
    found = ()
    for near in tl.static_range(-BELOW, 0):
        found = found + (tl.load(pointer + near, exists & (c + near >= 0), 0),)
    lane = tl.arange(0, 8)[None, :]
    octet = tl.load(pointer[:, None] + lane, exists[:, None] & (c[:, None] + lane < TOWER), 0)
    found = found + _split(octet)
    for near in tl.static_range(8, 8 + ABOVE):
        found = found + (tl.load(pointer + near, exists & (c + near < TOWER), 0),)
    return found


@triton.jit
def _floats(row):
    found = ()
    for f in tl.static_range(len(row)):
        found = found + (row[f].to(tl.float32),)
    return found


@triton.jit
def _split(octets):
    """Threads × 8 → eight registers of each thread."""
    even, odd = tl.split(octets.reshape(octets.shape[0], 2, 2, 2))
    even, even_2 = tl.split(even)
    odd, odd_2 = tl.split(odd)
    a, e = tl.split(even)
    b, f = tl.split(odd)
    c, g = tl.split(even_2)
    d, h = tl.split(odd_2)
    return a, b, c, d, e, f, g, h


@triton.jit
def _store(pointer, row, c, exists, TOWER: tl.constexpr, THREADS: tl.constexpr):
    """Store eight registers of each thread as an octet."""
    even = tl.join(tl.join(row[0], row[4]), tl.join(row[2], row[6]))
    odd = tl.join(tl.join(row[1], row[5]), tl.join(row[3], row[7]))
    octets = tl.join(even, odd).reshape(THREADS, 8)
    lane = tl.arange(0, 8)[None, :]
    tl.store(pointer[:, None] + lane, octets, exists[:, None] & (c[:, None] + lane < TOWER))


@triton.jit
def _repeated(number, COUNT: tl.constexpr):
    row = ()
    for _ in tl.static_range(COUNT):
        row = row + (number,)
    return row


@triton.jit
def _rectified(row):
    found = ()
    for f in tl.static_range(len(row)):
        found = found + (rectified(row[f]),)
    return found


@triton.jit
def _bases(row, alpha, k, N: tl.constexpr):
    """k + alpha * the sum of squares over each n maps of the row that lie side by side."""
    bases = ()
    for f in tl.static_range(len(row) - N + 1):
        total = row[f] * row[f]
        for near in tl.static_range(1, N):
            total += row[f + near] * row[f + near]
        bases = bases + (k + alpha * total,)
    return bases


@triton.jit
def _powers(bases, BETA: tl.constexpr):
    """bases ** -BETA."""
    powers = ()
    for f in tl.static_range(len(bases)):
        if BETA == 0.75:
            root = tl.rsqrt(bases[f])
            powers = powers + (root * root * tl.rsqrt(root),)
        else:
            powers = powers + (tl.exp2(-BETA * tl.log2(bases[f])),)
    return powers


@triton.jit
def _dead(won, best, POOL: tl.constexpr):
    found = ()
    for f in tl.static_range(8):
        found = found + (dead(won[f], best[f], POOL),)
    return found


@triton.jit
def _add_won(total, pooled, winners, here):
    """total + the gradients of the maxima that were found here."""
    found = ()
    for f in tl.static_range(len(total)):
        found = found + (total[f] + tl.where(winners[f] == here, pooled[f], 0.0),)
    return found
