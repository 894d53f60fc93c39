"""What the processor can do, and what its libraries have been told: for choosing, and for saying.

`learn.devices` asks; nothing here changes anything.
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
"""Values of ONEDNN_MAX_CPU_ISA, oneDNN's limit, that forbid it all bf16 units, or AMX alone."""

MKL_BRANCHES = {1: "OFF", 2: "AUTO", 3: "COMPATIBLE", 4: "SSE2", 6: "SSSE3", 7: "SSE4_1"}
MKL_BRANCHES |= {8: "SSE4_2", 9: "AVX", 10: "AVX2", 12: "AVX512", 14: "AVX512_E1"}
MKL_STRICT, MKL_ALL = 0x10000, -1
"""The numbers of `mkl_service.h`."""


def read_processor_name() -> str:
    """The processor's own name where the system tells it."""
    try:
        with open("/proc/cpuinfo") as lines:
            names = [
                line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
            ]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def find_bf16_units() -> Bf16Units | None:
    """The instructions that multiply bf16 matrices in hardware here, None where there are none.

    They are used through oneDNN: a torch without it has none, and ONEDNN_MAX_CPU_ISA can forbid
    them.
    """
    if not torch.backends.mkldnn.is_available():
        return None
    has = torch.cpu.get_capabilities()
    if has.get("bf16", False):  # the name of Arm's instructions alone
        return "Arm BF16"
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "all"
    if limit.lower() in NO_BF16:
        return None
    if has.get("amx_bf16", False) and limit.lower() not in NO_AMX:
        return "AMX"
    return "AVX512-BF16" if has.get("avx512_bf16", False) else None


def read_mkl_mode() -> str | None:
    """How MKL chooses its ways, as a value of MKL_CBWR: "AUTO,STRICT"; "OFF": by address too.

    None where torch has no MKL, or one that cannot be asked. MKL decides at its first call, and
    what MKL_CBWR says later changes nothing.
    """
    ask = _mkl_asker()
    if ask is None:
        return None
    found = int(ask(MKL_ALL))
    branch = MKL_BRANCHES.get(found & ~MKL_STRICT, str(found & ~MKL_STRICT))
    return f"{branch},STRICT" if found & MKL_STRICT else branch


@cache
def _mkl_asker() -> ctypes._NamedFuncPointer | None:
    """MKL's `mkl_cbwr_get` in torch's library. Asking does not count as MKL's first call."""
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        ask = ctypes.CDLL(str(library)).mkl_serv_cbwr_get
    except (OSError, AttributeError):
        return None
    ask.argtypes, ask.restype = [ctypes.c_int], ctypes.c_int
    return ask
