"""The device that a network runs on: chosen, set up, described.

Everything that runs a network calls `set_up_machine`, which returns a `Machine`, and then
`move_to_device`. These choose all algorithms; a forward pass chooses none, so training, evaluation
and a resumed training compute the same bits. This module must not import `runs` or anything below
it; the environment of an earlier run is passed to `explain_changes`.
"""

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
    """The device, the precision and the place of the training images that a network runs with.

    Results depend on them through rounding, and through the random numbers of dropout, which
    differ between CPU and GPU.
    """

    device: torch.device
    precision: Precision = "float32"
    """Of matrix products: float32; tf32, which rounds their inputs to 10 bits of mantissa; bf16, by
    autocast. The weights are float32 with all of them."""
    resident: Residence = "auto"
    """Whether the training images are held in the memory of the GPU; auto: if they fit."""
    compiled: bool = False
    """Whether torch.compile prepares the training step."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of the images that the network is given."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def cast(self) -> AbstractContextManager[object]:
        """Return a context for the forward pass: autocast for bf16, else one that does nothing.

        Mixed precision as in arXiv 1710.03740, without loss scaling, which bf16 does not need.
        """
        if self.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()


def set_up_machine(
    device: str = "auto",
    precision: Precision = "auto",
    resident: Residence = "auto",
    compiled: bool = False,
) -> Machine:
    """Choose a device and set up this process for it.

    On a CPU, freed memory is kept (`keep_memory`). On a GPU it becomes the current device, TF32 is
    turned on or off, and its libraries compute deterministically (`make_gpu_repeatable`).
    `precision` "auto" means bf16 on a GPU that has it, else float32.

    Raises ValueError if the device does not exist, if a CPU has no instructions for the precision,
    or if torch.compile is asked for and has no compiler.
    """
    target = choose_device(device)
    if compiled:
        check_compiler(target)
    if target.type == "cpu":
        if precision == "tf32" or (precision == "bf16" and find_bf16_units() is None):
            raise ValueError(
                f"--precision {precision}: {read_processor_name()} has no units for it, and "
                "without them it is many times slower. Use float32"
            )
        keep_memory()
        chosen: Precision = "float32" if precision == "auto" else precision
        return Machine(target, chosen, resident, compiled)
    torch.cuda.set_device(target)  # streams and graphs are made on the current device
    if precision == "auto":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bf16" if has_bf16 else "float32"
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    make_gpu_repeatable()
    return Machine(target, precision, resident, compiled)


def make_gpu_repeatable() -> None:
    """Make the libraries of the GPU compute the same bits in every process.

    cuDNN then chooses its algorithms by shape and type instead of timing them, and torch uses
    deterministic versions of its operators, with a warning for one that has none. The environment
    variable that cuBLAS needs is set by `import alexnet`.
    """
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def move_to_device(network: nn.Module, machine: Machine) -> nn.Module:
    """Move a network to the device, with channels-last weights, and return it.

    This is also where a layer that can be computed in more than one way chooses, once
    (`prepare_layers`): it is told the type of the images, `machine.dtype`, and chooses by that type
    alone. The first convolution, for instance, goes by space to depth in half precision and is
    strided in float32, on every device (`nets.layers`). Nothing is timed. Training, evaluation and
    a resumed training all move their network with this function, so they choose alike.
    """
    network.to(machine.device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    prepare_layers(network, machine.dtype)
    return network


def prepare_layers(network: nn.Module, dtype: torch.dtype) -> None:
    """Have every layer that has a method `prepare` choose its algorithm for images of this type."""
    for layer in network.modules():
        if prepare := getattr(layer, "prepare", None):
            prepare(dtype)


def choose_device(device: str = "auto") -> torch.device:
    """Return the torch.device of a name, for a GPU with its index.

    Names are `auto` (a GPU if there is one), `cpu`, `cuda` (the current GPU) and `cuda:1`, the
    second GPU. Raises ValueError for any other name and for a GPU that does not exist.
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
    index, count = int(number or torch.cuda.current_device()), torch.cuda.device_count()
    if index >= count:
        names = ", ".join(f"cuda:{i}" for i in range(count))
        raise ValueError(f"--device {device}: torch sees {count} GPUs here. Use one of {names}")
    return torch.device("cuda", index)


def check_compiler(device: torch.device) -> None:
    """Raise ValueError if torch.compile would find no compiler: triton on a GPU, else a C++ one."""
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
"""The gain of bf16 in a training step, for instructions on which `benchmarks/train_step.py` ran."""


def suggest_bf16(machine: Machine) -> str | None:
    """Return a hint that bf16 would train large networks faster on this CPU, or None."""
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
    """Return a warning if a resumed training may differ in its last bits, or None.

    That is so if MKL was used before it was told to be reproducible (`processor.read_mkl_mode`).
    """
    if machine.device.type != "cpu" or read_mkl_mode() != "OFF":
        return None
    return (
        "MKL, which multiplies matrices for torch, chooses by addresses here: a resumed training "
        "may differ in its last bits from one that never stopped. Import alexnet before torch "
        "computes anything, or set the environment variable MKL_CBWR to AUTO,STRICT."
    )


def keep_memory() -> bool:
    """Make glibc's malloc keep freed memory instead of returning it to the kernel.

    A training step frees and allocates the same gigabyte again and again; getting it back from the
    kernel each time costs page faults, a fifth of a step. Returns whether malloc accepted the
    settings. The environment variable ALEXNET_MALLOC=default leaves malloc as it is.
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
"""Environment variables that can change the last bits of a result. Of those in SETTINGS_SEEN the
effect is compared instead: `instructions`, `mkl` and `threads`."""

SAME_BITS = "device_name", "precision", "compiled", "threads", "instructions", "mkl"
SAME_VERSIONS = "torch", "numba"
"""Facts that must be the same, beside SETTINGS, for results to be the same bit for bit."""


def describe_machine(machine: Machine) -> dict[str, object]:
    """Return the facts about machine and software that `environment.json` records, fit for JSON.

    Among them are all those on which the last bits of a result depend.
    """
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
        "numba": _find_version("numba"),
    }


def explain_changes(before: dict[str, Any], machine: Machine) -> str | None:
    """Name what has changed since an earlier training and may change the last bits of a result.

    `before` is what `describe_machine` returned then, as `runs.read_environment` reads it. A fact
    that it lacks, because an older version wrote it, counts as unchanged. Returns None if nothing
    has changed.
    """
    then, now = map(_select_what_decides_bits, (before, describe_machine(machine)))
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


def _select_what_decides_bits(environment: dict[str, Any]) -> dict[str, object]:
    """Those facts of an environment on which the last bits of a result depend."""
    found = {name: environment[name] for name in SAME_BITS + SAME_VERSIONS if name in environment}
    settings = environment.get("settings")
    if isinstance(settings, dict):
        found |= {name: settings.get(name, "not set") for name in SETTINGS}
    return found


def _find_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
