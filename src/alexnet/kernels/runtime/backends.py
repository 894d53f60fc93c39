"""Where our own kernels run: Numba on the CPU, Triton on CUDA; elsewhere the plain formulas do."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import torch

COMPILERS = {"cpu": "numba", "cuda": "triton"}

_formulas_only = False
_said: set[str] = set()
_missing: dict[str, str] = {}


def has_kernel(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether our own kernel computes this; if not, its formula in plain PyTorch does.

    Warns once for each device on which the compiler of the kernels is missing.
    """
    compiler = COMPILERS.get(device.type)
    if _formulas_only or compiler is None or (compiler == "triton" and dtype == torch.float64):
        return False
    if why := find_import_error(compiler):
        _say_once(compiler, why)
    return not why


def find_import_error(compiler: str) -> str:
    """Why a compiler cannot be imported; empty where it can.

    One that is there may refuse, as Numba does with a NumPy that is newer than it knows.
    """
    if compiler not in _missing:  # a dictionary, because torch.compile follows this function
        try:
            import_module(compiler)
            _missing[compiler] = ""
        except ImportError as error:
            _missing[compiler] = str(error)
    return _missing[compiler]


@contextmanager
def references_only() -> Iterator[None]:
    """Within it the plain PyTorch formulas compute everything: for comparing, and for exporting."""
    global _formulas_only
    before, _formulas_only = _formulas_only, True
    try:
        yield
    finally:
        _formulas_only = before


def _say_once(compiler: str, why: str) -> None:
    if compiler not in _said:
        _said.add(compiler)
        warnings.warn(
            f"{compiler} cannot be imported ({why}): plain PyTorch computes norms, pooling, crops "
            f"and convolutions, which is several times slower. pip install --upgrade {compiler}",
            RuntimeWarning,
            stacklevel=4,
        )
