"""The device a network runs on, and how the process is set up for it."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import torch
from torch import nn

Precision = Literal["auto", "float32", "tf32", "bf16"]
Residence = Literal["auto", "yes", "no"]


@dataclass(frozen=True)
class Machine:
    """What a network runs on, and how: it changes nothing that is computed but rounding."""

    device: torch.device
    precision: Precision = "float32"
    """float32; tf32: products round their inputs; bf16: autocast, the weights stay float32."""
    resident: Residence = "auto"
    """Whether the training images live in the memory of the GPU: auto is yes where they fit."""
    compiled: bool = False
    """Whether torch.compile prepares the training step; dropout then draws other numbers."""

    @property
    def dtype(self) -> torch.dtype:
        """What images are handed to the network as."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def cast(self) -> AbstractContextManager[object]:
        """Autocast for bf16 (arXiv 1710.03740, without loss scaling), nothing for the others."""
        if self.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()


def machine(
    device: str = "auto",
    precision: Precision = "auto",
    resident: Residence = "auto",
    compiled: bool = False,
) -> Machine:
    """Choose a device and set the process up for it.

    `auto` is bf16 on a GPU that has it and float32 on a CPU. Raises ValueError for a GPU that is
    not there, for a precision that the device has no units for, and where torch.compile lacks a
    compiler.
    """
    where = choose(device)
    if compiled:
        check_compiler(where)
    if where.type == "cpu":
        if precision == "tf32" or (precision == "bf16" and not has_bf16_units()):
            raise ValueError(
                f"--precision {precision}: {processor()} has no units for it, and without them it "
                "is many times slower. Use float32"
            )
        keep_memory()
        chosen: Precision = "float32" if precision == "auto" else precision
        return Machine(where, chosen, resident, compiled)
    torch.cuda.set_device(where)  # streams and graphs are made on the current device
    if precision == "auto":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bf16" if has_bf16 else "float32"
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    return Machine(where, precision, resident, compiled)


def place(network: nn.Module, machine: Machine) -> nn.Module:
    """Move a network to the device, its weights laid out channels last; the network itself."""
    network.to(machine.device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def choose(device: str = "auto") -> torch.device:
    """`auto` (a GPU if there is one), `cpu` or `cuda`. Raises ValueError where there is no GPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(
            f"--device {device}: this torch ({torch.__version__}) sees no GPU. Use --device cpu, "
            "or install a CUDA build of torch"
        )
    return torch.device(device)


def check_compiler(device: torch.device) -> None:
    """Raise ValueError where torch.compile would find nothing to compile with."""
    if device.type == "cuda":
        if find_spec("triton") is None:
            raise ValueError("--compile needs triton on a GPU: pip install triton, or leave it out")
        return
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    compiler = os.environ.get("CXX", usual)
    if shutil.which(compiler) is None:
        raise ValueError(
            f"--compile needs a C++ compiler on a CPU, and {compiler} is not there. Install it, "
            "name another in CXX, or leave --compile out"
        )


def has_bf16_units() -> bool:
    """Whether this processor multiplies bf16 matrices in hardware (AMX)."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))


def advice(machine: Machine) -> str | None:
    """What would train a large network faster on this machine, if anything."""
    if machine.device.type == "cpu" and machine.precision == "float32" and has_bf16_units():
        return (
            "This processor multiplies bf16 in hardware: --precision bf16 trains large networks "
            "more than twice as fast, with products of 8 significant bits."
        )
    return None


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


def describe(machine: Machine) -> dict[str, object]:
    """What `environment.json` says of the machine and the software."""
    import numpy

    import alexnet

    device = machine.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {
        "alexnet": alexnet.__version__,
        "command": sys.argv,
        "device": str(device),
        "device_name": name,
        "precision": machine.precision,
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
            names = [
                line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
            ]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
