"""How the CPU kernels are compiled, and how a batch is spread over threads.

Numba's own thread pools are not used: the portable one aborts the process when two threads call
it at once, as a training step and a loader do, and the OpenMP one aborts it after a fork. Our
kernels are serial, release the interpreter's lock, and take slices of the batch from one iterator.

Where torch runs on GNU OpenMP, the main thread's kernels run on torch's own threads. Those wait for
their next work in a loop, for a millisecond or so, and any other threads would have to share the
cores with them.
"""

import ctypes
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numba
import torch

SLICES_PER_THREAD = 4
"""More than one, so that a thread that is held up does not hold up the others."""

# Not "nnan" nor "ninf": a NaN must come out as a NaN, or a diverged training would look healthy.
FAST_MATH = {"arcp", "contract", "afn", "nsz", "reassoc"}


OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": FAST_MATH, "error_model": "numpy"}


def compiled(kernel: Callable) -> Callable:
    """The function as a Numba kernel, cached on disk wherever a cache folder can be written."""
    try:
        dispatcher = numba.njit(cache=True, **OPTIONS)(kernel)
    except RuntimeError:  # neither the package's folder nor the user's cache folder is writable
        return numba.njit(**OPTIONS)(kernel)
    if file := getattr(getattr(dispatcher, "_cache", None), "_cache_file", None):
        file._source_stamp = _stamp()
    return dispatcher


@cache
def _stamp() -> tuple[tuple[str, int, int], ...]:
    """What a cached kernel depends on: Numba by itself looks at the kernel's own file alone."""
    folder = Path(__file__).parents[1]
    files = ((path, path.stat()) for path in sorted(folder.rglob("*.py")))
    return tuple((str(p.relative_to(folder)), x.st_mtime_ns, x.st_size) for p, x in files)


def part(function: Callable) -> Callable:
    """The function as a part of kernels, compiled into each: calling it may be 4 times slower."""
    return numba.njit(forceinline=True, **OPTIONS)(function)


def over_images(kernel: Callable, images: int, *arguments: object) -> None:
    """Call `kernel(first, last, *arguments)` on slices of the batch, in torch's number of threads.

    It may be called from several threads at once, and after a fork.
    """
    threads = torch.get_num_threads() if images > 1 else 1
    step = max(1, -(-images // (1 if threads == 1 else threads * SLICES_PER_THREAD)))
    starts = iter(range(0, images, step))

    def work() -> None:
        for first in starts:  # the iterator hands each start to one thread only
            kernel(first, min(first + step, images), *arguments)

    if threads == 1:
        work()
    elif threading.current_thread() is threading.main_thread() and (parallel := _openmp()):
        _in_team(
            parallel, work, threads
        )  # all of it: OpenMP ends threads that a smaller team leaves over
    else:
        _in_pool(work, min(threads, images))


def _in_team(parallel: Callable, work: Callable[[], None], threads: int) -> None:
    """Run it in so many threads of torch's own team, this one among them, by `_openmp`'s call."""
    errors: list[BaseException] = []
    ran: set[int] = set()

    def shielded(_: object) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - C could not pass it on
            errors.append(error)
        ran.add(threading.get_ident())

    parallel(CALLBACK(shielded), None, threads, 0)
    if errors:
        raise errors[0]
    if threading.get_ident() not in ran:  # a signal came just before the try, or just after it
        raise KeyboardInterrupt


def _in_pool(work: Callable[[], None], threads: int) -> None:
    """Run it in so many threads of our own, this one among them."""
    others = [_pool().submit(work) for _ in range(threads - 1)]
    work()
    for other in others:
        if not other.cancel():  # one that has not begun would find nothing left to do
            other.result()


CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@cache
def _openmp() -> Callable | None:
    """GNU OpenMP's call that runs a function in every thread of a team, if torch has it."""
    if _forked:
        return None  # a team does not survive a fork, and waits for its threads forever
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        parallel = library.GOMP_parallel
    except (OSError, AttributeError):
        return None
    parallel.argtypes = CALLBACK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint
    parallel.restype = None
    return parallel


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="alexnet-kernel")


_forked = False


def _after_fork() -> None:
    """Threads do not survive a fork: the child starts its own."""
    global _forked
    _forked = True
    _pool.cache_clear()
    _openmp.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
