"""The facts about machine and software in a record of faults."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

NAME = "FAULTS_ENVIRONMENT"
"""Variable that holds the name of an environment of tests/matrix.py."""


def describe() -> dict[str, object]:
    """Machine, versions, commit, date and environment."""
    libraries = "torch", "numpy", "numba", "pillow", "simplejpeg", "safetensors"
    return {
        "machine": _processor(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in libraries},
        "environment": os.environ.get(NAME, "as it is"),
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
