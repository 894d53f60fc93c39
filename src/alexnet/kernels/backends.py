"""Where our own kernels run: Numba on the CPU, Triton on CUDA; elsewhere the plain formulas do."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import torch

COMPILERS = {"cpu": "numba", "cuda": "triton"}
INSTALLED = {name: find_spec(name) is not None for name in COMPILERS.values()}

_formulas_only = False
_said: set[str] = set()


def has_kernel(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether our own kernel computes this; if not, its formula in plain PyTorch does.

    Warns once for each device on which the compiler of the kernels is missing.
    """
    compiler = COMPILERS.get(device.type)
    if _formulas_only or compiler is None or (compiler == "triton" and dtype == torch.float64):
        return False
    if not INSTALLED[compiler]:
        _say_once(compiler)
    return INSTALLED[compiler]


@contextmanager
def formulas_only() -> Iterator[None]:
    """Within it the plain PyTorch formulas compute everything: for comparing, and for exporting."""
    global _formulas_only
    before, _formulas_only = _formulas_only, True
    try:
        yield
    finally:
        _formulas_only = before


def _say_once(compiler: str) -> None:
    if compiler not in _said:
        _said.add(compiler)
        warnings.warn(
            f"{compiler} is not installed: plain PyTorch computes norms, pooling, crops and "
            f"convolutions, which is several times slower. Install it: pip install {compiler}",
            RuntimeWarning,
            stacklevel=4,
        )
