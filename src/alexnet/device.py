"""The device a network runs on, and how the process is set up for it."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import nn

from alexnet.processor import Bf16Units, find_bf16_units, read_mkl_mode, read_processor_name

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
    """Whether torch.compile prepares the training step."""

    @property
    def dtype(self) -> torch.dtype:
        """What images are handed to the network as."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def cast(self) -> AbstractContextManager[object]:
        """Autocast for bf16 (arXiv 1710.03740, without loss scaling), nothing for the others."""
        if self.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()


def set_up_machine(
    device: str = "auto",
    precision: Precision = "auto",
    resident: Residence = "auto",
    compiled: bool = False,
) -> Machine:
    """Choose a device and set the process up for it.

    `auto` is bf16 on a GPU that has it and float32 on a CPU. Raises ValueError for a device that is
    not there, for a precision that the device has no units for, and where torch.compile lacks a
    compiler.
    """
    where = choose_device(device)
    if compiled:
        check_compiler(where)
    if where.type == "cpu":
        if precision == "tf32" or (precision == "bf16" and find_bf16_units() is None):
            raise ValueError(
                f"--precision {precision}: {read_processor_name()} has no units for it, and "
                "without them it is many times slower. Use float32"
            )
        keep_memory()
        chosen: Precision = "float32" if precision == "auto" else precision
        return Machine(where, chosen, resident, compiled)
    torch.cuda.set_device(where)  # streams and graphs are made on the current device
    if precision == "auto":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bf16" if has_bf16 else "float32"
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    repeat_on_gpu()
    return Machine(where, precision, resident, compiled)


def repeat_on_gpu() -> None:
    """Let the GPU's libraries compute the same bits in every process.

    cuDNN then chooses by shape and type, not by a stopwatch; torch takes deterministic versions of
    its operators, and warns of one that has none. What cuBLAS needs is set by `import alexnet`.
    """
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def move_to_device(network: nn.Module, machine: Machine) -> nn.Module:
    """Move a network to the device, its weights laid out channels last; the network itself.

    Layers that can compute in more than one way (they have a method `prepare`) are told what type
    of numbers they will get: the way is the same in training, in evaluation and after resuming.
    """
    network.to(machine.device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for layer in network.modules():
        if prepare := getattr(layer, "prepare", None):
            prepare(machine.dtype)
    return network


def choose_device(device: str = "auto") -> torch.device:
    """`auto` (a GPU if there is one), `cpu`, `cuda` (the current GPU) or `cuda:1`; with its index.

    Raises ValueError for another name and for a GPU that is not there.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise ValueError(
            f"--device {device}: no device has that name. Use auto, cpu, cuda, or cuda:1 for the "
            "second GPU"
        )
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError(
            f"--device {device}: this torch ({torch.__version__}) sees no GPU. Use --device cpu, "
            "or install a CUDA build of torch"
        )
    _, _, number = device.partition(":")
    index, there = int(number or torch.cuda.current_device()), torch.cuda.device_count()
    if index >= there:
        names = ", ".join(f"cuda:{i}" for i in range(there))
        raise ValueError(f"--device {device}: torch sees {there} GPUs here. Use one of {names}")
    return torch.device("cuda", index)


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


FASTER: dict[Bf16Units, str] = {
    "AMX": "trains large networks more than twice as fast",
    "AVX512-BF16": "trains large networks about 1.9 times as fast",
}
"""What bf16 gains in a training step, where that has been measured (`benchmarks/train_step.py`)."""


def suggest_bf16(machine: Machine) -> str | None:
    """What would train a large network faster on this machine, if anything."""
    if machine.device.type != "cpu" or machine.precision != "float32":
        return None
    units = find_bf16_units()
    if units is None:
        return None
    gain = FASTER.get(units, "may train large networks faster")
    return (
        f"This processor multiplies bf16 in hardware ({units}): --precision bf16 {gain}, with "
        "products of 8 significant bits."
    )


def explain_unrepeatable(machine: Machine) -> str | None:
    """Why a resumed training may differ in its last bits from one never stopped, if it may."""
    if machine.device.type != "cpu" or read_mkl_mode() != "OFF":
        return None
    return (
        "MKL, which multiplies matrices for torch, chooses by addresses here: a resumed training "
        "may differ in its last bits from one that never stopped. Import alexnet before torch "
        "computes anything, or set the environment variable MKL_CBWR to AUTO,STRICT."
    )


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


SETTINGS = (
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE"),
    *("MKL_ENABLE_INSTRUCTIONS", "MKL_NUM_THREADS", "MKL_DYNAMIC", "OMP_DYNAMIC"),
    *("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NVIDIA_TF32_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG"),
)
SETTINGS_SEEN = "ATEN_CPU_CAPABILITY", "MKL_CBWR", "OMP_NUM_THREADS"
"""Environment variables that can change the last bits of a result; what came of the last three
stands in `instructions`, `mkl` and `threads`."""

SAME_BITS = "device_name", "precision", "compiled", "threads", "instructions", "mkl"
SAME_VERSIONS = "torch", "numba"
"""What must be the same, SETTINGS besides, for results to be the same bit for bit."""


def describe_machine(machine: Machine) -> dict[str, object]:
    """What `environment.json` says of the machine and the software."""
    import numpy

    import alexnet

    device = machine.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else read_processor_name()
    return {
        "alexnet": alexnet.__version__,
        "command": sys.argv,
        "device": str(device),
        "device_name": name,
        "precision": machine.precision,
        "compiled": machine.compiled,
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "bf16_units": find_bf16_units(),
        "mkl": read_mkl_mode(),
        "settings": {
            name: os.environ[name] for name in (*SETTINGS, *SETTINGS_SEEN) if name in os.environ
        },
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "numba": _version("numba"),
    }


def explain_changes(before: dict[str, Any], machine: Machine) -> str | None:
    """Name what has changed since an earlier training and may change the last bits of a result.

    `before` is what `describe_machine` returned then, as `runs.read_environment` reads it. A fact
    that it lacks, because an older version wrote it, counts as unchanged. Returns None if nothing
    has changed.
    """
    then, now = _what_decides_bits(before), _what_decides_bits(describe_machine(machine))
    differences = [
        f"{name} {then[name]} → {now[name]}"
        for name in now
        if then.get(name, now[name]) != now[name]
    ]
    if not differences:
        return None
    return (
        f"Not as before: {', '.join(differences)}. The last bits of the result may differ from "
        "those of a training that never stopped."
    )


def _what_decides_bits(environment: dict[str, object]) -> dict[str, object]:
    found = {name: environment[name] for name in SAME_BITS + SAME_VERSIONS if name in environment}
    settings = environment.get("settings")
    if isinstance(settings, dict):
        found |= {name: settings.get(name, "not set") for name in SETTINGS}
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
