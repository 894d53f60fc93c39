"""Which implementation of an operation runs: a kernel of this package or its PyTorch reference.

    device of the tensor    compiler    runs
    cpu                     Numba       kernel
    cuda                    Triton      kernel, except for float64
    any other               none        reference
    within references_only  not used    reference

The reference also runs, with one warning, where the compiler cannot be imported. Called by every
`operator.py`, which may add limits (a longest window, a smallest number of channels).
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import torch

COMPILERS = {"cpu": "numba", "cuda": "triton"}
"""Type of device → the Python package that compiles the kernels for it."""

_references_only = False
_warned: set[str] = set()
"""Compilers whose absence has been reported."""
_import_errors: dict[str, str] = {}
"""What `find_import_error` found. A dictionary, because torch.compile traces that function and
would ignore a `functools.cache` around it."""


def has_kernel(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether a kernel supports this device and dtype; if not, call the PyTorch reference.

    Warns once for each compiler that is missing.
    """
    compiler = COMPILERS.get(device.type)
    if _references_only or compiler is None or (compiler == "triton" and dtype == torch.float64):
        return False
    if error := find_import_error(compiler):
        _warn_once(compiler, error)
    return not error


def find_import_error(compiler: str) -> str:
    """Return why a compiler cannot be imported, or an empty string if it can.

    Even an installed compiler may fail to import, as Numba does with a NumPy that is too new.
    """
    if compiler not in _import_errors:
        try:
            import_module(compiler)
            _import_errors[compiler] = ""
        except ImportError as error:
            _import_errors[compiler] = str(error)
    return _import_errors[compiler]


@contextmanager
def references_only() -> Iterator[None]:
    """Context manager in which the PyTorch references run instead of the kernels.

    For comparisons and for export. It holds for all threads of the process.
    """
    global _references_only
    before, _references_only = _references_only, True
    try:
        yield
    finally:
        _references_only = before


def _warn_once(compiler: str, error: str) -> None:
    if compiler not in _warned:
        _warned.add(compiler)
        warnings.warn(
            f"{compiler} cannot be imported ({error}): plain PyTorch computes norms, pooling, "
            "crops and convolutions, which is several times slower. "
            f"pip install --upgrade {compiler}",
            RuntimeWarning,
            stacklevel=4,
        )
