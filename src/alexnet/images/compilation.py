"""Compiles the loops of `resizing` and `records` with Numba, where Numba is installed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


@functools.cache
def compile_loop(loop: Callable[..., Any], reference: Callable[..., Any]) -> Callable[..., Any]:
    """`loop` compiled by Numba, or `reference` if Numba cannot be imported.

    The reference takes the same arguments and computes the same bytes in NumPy, more slowly. The
    compiled code is cached on disk if a cache folder is writable (next to the package or in the
    user's cache); otherwise every process compiles it again. Callers look this function up in the
    module at each call, so a test can replace it.
    """
    try:
        import numba
    except ImportError:
        return reference
    try:
        return numba.njit(cache=True, nogil=True)(loop)
    except RuntimeError:  # Numba found no writable folder for its cache
        return numba.njit(nogil=True)(loop)
