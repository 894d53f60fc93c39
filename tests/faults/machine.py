"""What a record of faults says of the machine and the software it was made with."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "MKL_CBWR",
    "NUMBA_CPU_NAME",
    "NUMBA_DISABLE_JIT",
    "ALEXNET_NUMBA",
    "PYTHONHASHSEED",
)
"""What makes another environment of this machine."""


def describe() -> dict[str, object]:
    """Machine, versions, commit, date, and the variables that make another environment."""
    set_here = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    threads = os.environ.get("OMP_NUM_THREADS")
    libraries = "torch", "numpy", "numba", "pillow", "simplejpeg", "safetensors"
    return {
        "machine": _processor(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in libraries},
        "environment": set_here | ({"OMP_NUM_THREADS": threads} if threads else {}),
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip()
