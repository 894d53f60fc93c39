"""The device a network runs on, and how the process is set up for it."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

import torch


def choose(device: str = "auto") -> torch.device:
    """`auto` (a GPU if there is one), `cpu` or `cuda`. Raises ValueError where there is no GPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(
            f"--device {device}: this torch ({torch.__version__}) sees no GPU. Use --device cpu, or "
            "install a CUDA build of torch"
        )
    return torch.device(device)


def keep_memory() -> bool:
    """Make glibc keep freed memory instead of returning it; whether it could be asked.

    A training step frees and takes the same gigabyte again and again; giving it back to the
    kernel each time costs page faults, a fifth of a step. ALEXNET_MALLOC=default leaves it alone.
    """
    if platform.libc_ver()[0] != "glibc" or os.environ.get("ALEXNET_MALLOC") == "default":
        return False
    libc = ctypes.CDLL(None)
    trim_threshold, mmap_max = -1, -4
    return bool(libc.mallopt(mmap_max, 0)) and bool(libc.mallopt(trim_threshold, 2**31 - 1))


def describe(device: torch.device) -> dict[str, object]:
    """What `environment.json` says of the machine and the software."""
    import numpy

    import alexnet

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {
        "alexnet": alexnet.__version__,
        "command": sys.argv,
        "device": str(device),
        "device_name": name,
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }


def processor() -> str:
    """The processor's own name where the system tells it."""
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
