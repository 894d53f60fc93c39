"""How the CPU kernels are compiled, and how a batch is spread over threads.

Numba's own thread pools are not used: the portable one aborts the process when two threads call
it at once, as a training step and a loader do, and the OpenMP one aborts it after a fork. Our
kernels are serial, release the interpreter's lock, and take slices of the batch from one iterator.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

SLICES_PER_THREAD = 4
"""More than one, so that a thread that is held up does not hold up the others."""

# Not "nnan" nor "ninf": a NaN must come out as a NaN, or a diverged training would look healthy.
FAST_MATH = {"arcp", "contract", "afn", "nsz", "reassoc"}


OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": FAST_MATH, "error_model": "numpy"}


def compiled(kernel: Callable) -> Callable:
    """The function as a Numba kernel, cached on disk wherever a cache folder can be written."""
    try:
        return numba.njit(cache=True, **OPTIONS)(kernel)
    except RuntimeError:  # neither the package's folder nor the user's cache folder is writable
        return numba.njit(**OPTIONS)(kernel)


def part(function: Callable) -> Callable:
    """The function as a part of kernels, compiled into each: calling it may be 4 times slower."""
    return numba.njit(forceinline=True, **OPTIONS)(function)


def _bits(source: types.Type, target: types.Type, kind: ir.Type) -> Callable:
    """A function for kernels that reads the bits of a number as those of another type."""

    def read(_: object, given: types.Type) -> tuple[Any, Callable]:
        def bitcast(__: object, builder: ir.IRBuilder, ___: object, numbers: list) -> ir.Value:
            return builder.bitcast(numbers[0], kind)

        return target(source), bitcast

    return intrinsic(read)


as_integer = _bits(types.float32, types.int32, ir.IntType(32))
as_float = _bits(types.int32, types.float32, ir.FloatType())
"""The bits of a float32 as an int32, and back."""


def over_images(kernel: Callable, images: int, *arguments: object) -> None:
    """Call `kernel(first, last, *arguments)` on slices of the batch, in torch's number of threads.

    It may be called from several threads at once, and after a fork.
    """
    threads = max(1, min(torch.get_num_threads(), images))
    step = max(1, -(-images // (1 if threads == 1 else threads * SLICES_PER_THREAD)))
    starts = iter(range(0, images, step))

    def work() -> None:
        for first in starts:  # the iterator hands each start to one thread only
            kernel(first, min(first + step, images), *arguments)

    others = [_pool().submit(work) for _ in range(threads - 1)]
    work()
    for other in others:
        if not other.cancel():  # one that has not begun would find nothing left to do
            other.result()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="alexnet-kernel")


if hasattr(os, "register_at_fork"):  # threads do not survive a fork: the child starts its own
    os.register_at_fork(after_in_child=_pool.cache_clear)
