"""How CPU kernels are compiled with Numba, and how a batch is split among threads.

A kernel is a serial function `kernel(first, stop, *arrays_and_parameters)` that processes the
images `first … stop - 1`, compiled to release Python's global lock. `run_on_batch` calls it on
slices of the batch, which the threads take from one shared iterator:

    batch of 16, 2 threads       slices  0-1  2-3  4-5  6-7  8-9  10-11  12-13  14-15
                                 thread   a    b    b    a    b     b      a      b

Numba's own thread pools are not used: the portable one aborts the process when two threads call
it at once, as a training step and a loader do, and the OpenMP one aborts it after a fork.

If torch uses GNU OpenMP, kernels called by the main thread run on torch's own threads. After each
operation, torch's threads wait for the next one in a busy loop for about a millisecond; additional
threads would have to share the cores with them. Calls from other threads use this module's pool.

Called by every `operator.py` (`run_on_batch`) and `cpu.py` (`compiled`, `inlined`). It imports
Numba, so it must be imported inside functions only, when a CPU kernel is about to run.
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
"""More than one, so that the other threads take over the slices of one that is interrupted."""

FAST_MATH = {"arcp", "contract", "afn", "nsz", "reassoc"}
"""Rewritings of floating-point arithmetic that LLVM may use. Not "nnan" nor "ninf": with those a
NaN could come out as an ordinary number, and a diverged training would look healthy."""

OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": FAST_MATH, "error_model": "numpy"}


# Compiling.


def compiled(kernel: Callable) -> Callable:
    """Compile a kernel at its first call. Decorator.

    The machine code is cached on disk if the folder of the package or the user's cache folder can
    be written.
    """
    try:
        dispatcher = numba.njit(cache=True, **OPTIONS)(kernel)
    except RuntimeError:  # no folder for the cache can be written
        return numba.njit(**OPTIONS)(kernel)
    if file := getattr(getattr(dispatcher, "_cache", None), "_cache_file", None):
        file._source_stamp = _stamp_sources()
    return dispatcher


@cache
def _stamp_sources() -> tuple[tuple[str, int, int], ...]:
    """Return paths, modification times and sizes of all kernel sources: the key of the cache.

    By default Numba checks only the file that defines the kernel, not those that it calls into.
    """
    folder = Path(__file__).parents[1]
    stats = ((path, path.stat()) for path in sorted(folder.rglob("*.py")))
    return tuple((p.relative_to(folder).as_posix(), s.st_mtime_ns, s.st_size) for p, s in stats)


def inlined(function: Callable) -> Callable:
    """Compile a function into every kernel that calls it; a function call may be 4 times slower.

    Decorator. The function can be called from Python too, which tests do.
    """
    return numba.njit(forceinline=True, **OPTIONS)(function)


# Running.


def run_on_batch(kernel: Callable, images: int, *arguments: object) -> None:
    """Call `kernel(first, stop, *arguments)` on slices of the batch, on `torch.get_num_threads()`.

    `images` is the size of the batch. May be called from several threads at once, and after a fork.
    An exception in a slice is raised here.
    """
    threads = torch.get_num_threads() if images > 1 else 1
    step = max(1, -(-images // (1 if threads == 1 else threads * SLICES_PER_THREAD)))
    starts = iter(range(0, images, step))

    def work() -> None:
        for first in starts:  # the iterator gives each start to one thread only
            kernel(first, min(first + step, images), *arguments)

    if threads == 1:
        work()
    elif threading.current_thread() is threading.main_thread() and (parallel := _find_openmp()):
        # Always on the whole team: if it were smaller, OpenMP would end the threads left over.
        _run_on_openmp_threads(parallel, work, threads)
    else:
        _run_on_pool(work, min(threads, images))


def _run_on_openmp_threads(parallel: Callable, work: Callable[[], None], threads: int) -> None:
    """Call `work` once in each of torch's OpenMP threads, of which this is one.

    `parallel` is the function of `_find_openmp`. Exceptions cannot pass through C, so they are
    stored and raised afterwards.
    """
    errors: list[BaseException] = []
    finished: set[int] = set()

    def shielded(_: object) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - C could not pass it on
            errors.append(error)
        finished.add(threading.get_ident())

    parallel(CALLBACK(shielded), None, threads, 0)
    if errors:
        raise errors[0]
    # A signal may raise KeyboardInterrupt in `shielded` outside its `try`: ctypes discards that.
    if threading.get_ident() not in finished:
        raise KeyboardInterrupt


def _run_on_pool(work: Callable[[], None], threads: int) -> None:
    """Call `work` once in this thread and once in each of `threads` - 1 threads of the pool."""
    others = [_open_pool().submit(work) for _ in range(threads - 1)]
    work()
    for other in others:
        if not other.cancel():  # one that has not begun would find no slice left
            other.result()


CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
"""The C type of the function that `GOMP_parallel` calls in every thread."""


@cache
def _find_openmp() -> Callable | None:
    """Return GNU OpenMP's `GOMP_parallel(function, data, threads, flags)` if torch has it.

    None after a fork: OpenMP's threads do not survive it, and it would wait for them forever.
    """
    if _forked:
        return None
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        parallel = library.GOMP_parallel
    except (OSError, AttributeError):
        return None
    parallel.argtypes = CALLBACK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint
    parallel.restype = None
    return parallel


@cache
def _open_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="alexnet-kernel")


_forked = False
"""Whether this process is the child of a fork."""


def _forget_threads() -> None:
    """Forget all threads, in the child of a fork: they exist in the parent only."""
    global _forked
    _forked = True
    _open_pool.cache_clear()
    _find_openmp.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
