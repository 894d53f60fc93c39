"""What the CPU can do, and which way MKL multiplies matrices on it.

Called by `alexnet.device`, which chooses by it and writes it to `environment.json`. Functions that
ask and change nothing. Imports nothing of this package.
"""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache
from pathlib import Path
from typing import Literal

import torch

Bf16Units = Literal["AMX", "AVX512-BF16", "Arm BF16"]

NO_BF16 = {"sse41", "avx", "avx2", "avx2_vnni", "avx2_vnni_2", "avx512_core", "avx512_core_vnni"}
NO_AMX = {"avx512_core_bf16", "avx512_core_fp16", "avx10_1_512", "avx10_2_512"}
"""Values of ONEDNN_MAX_CPU_ISA with which oneDNN uses no bf16 instructions, or no AMX."""

MKL_BRANCHES = {1: "OFF", 2: "AUTO", 3: "COMPATIBLE", 4: "SSE2", 6: "SSSE3", 7: "SSE4_1"}
MKL_BRANCHES |= {8: "SSE4_2", 9: "AVX", 10: "AVX2", 12: "AVX512", 14: "AVX512_E1"}
MKL_STRICT, MKL_ALL = 0x10000, -1
"""Values of `mkl_cbwr_get`, from MKL's header `mkl_service.h`."""


def read_processor_name() -> str:
    """Return the model name of the processor; on systems without /proc, its architecture."""
    try:
        with open("/proc/cpuinfo") as lines:
            names = [
                line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
            ]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def find_bf16_units() -> Bf16Units | None:
    """Return the instructions with which oneDNN multiplies bf16 matrices on this CPU, or None.

    They take bfloat16 factors and add in float32: tiles of a matrix (AMX), or pairs (AVX512-BF16,
    Arm BF16). None if the CPU has none of them, if torch was built without oneDNN, or if the
    environment variable ONEDNN_MAX_CPU_ISA forbids them.
    """
    if not torch.backends.mkldnn.is_available():
        return None
    has = torch.cpu.get_capabilities()
    if has.get("bf16", False):  # torch uses this name for Arm only
        return "Arm BF16"
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "all"
    if limit.lower() in NO_BF16:
        return None
    if has.get("amx_bf16", False) and limit.lower() not in NO_AMX:
        return "AMX"
    return "AVX512-BF16" if has.get("avx512_bf16", False) else None


def read_mkl_mode() -> str | None:
    """Return MKL's mode of conditional numerical reproducibility, as a value of MKL_CBWR.

    "AUTO,STRICT" gives the same bits every time on the same CPU. "OFF" does not: the order of a
    sum then depends on the addresses of its operands, too. None if torch has no MKL, or one that
    cannot be asked. MKL reads MKL_CBWR at its first call; a later value changes nothing.
    """
    ask = _find_mkl_cbwr_get()
    if ask is None:
        return None
    mode = int(ask(MKL_ALL))
    branch = MKL_BRANCHES.get(mode & ~MKL_STRICT, str(mode & ~MKL_STRICT))
    return f"{branch},STRICT" if mode & MKL_STRICT else branch


@cache
def _find_mkl_cbwr_get() -> ctypes._NamedFuncPointer | None:
    """MKL's `mkl_cbwr_get`, in torch's library. Calling it does not count as MKL's first call."""
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        ask = ctypes.CDLL(str(library)).mkl_serv_cbwr_get
    except (OSError, AttributeError):
        return None
    ask.argtypes, ask.restype = [ctypes.c_int], ctypes.c_int
    return ask
