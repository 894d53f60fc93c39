"""The packages of the `export` extra (onnx, onnxruntime, openvino, nncf), imported when needed."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from typing import Any, Literal

FORMATS = {".onnx": "onnx", ".xml": "openvino"}
"""The format of an exported file, by the extension of its name. OpenVINO keeps the weights of an
.xml file in a .bin file next to it."""
ExportFormat = Literal["onnx", "openvino", "torch", "hub"]
"""What an export can be: ONNX, OpenVINO IR, torch.export's .pt2, a folder for the hub."""
WRITTEN: dict[str, ExportFormat] = {
    ".onnx": "onnx",
    ".xml": "openvino",
    ".pt2": "torch",
    "": "hub",
}
"""The format that `alexnet export` writes, by the extension of the name; a folder has none."""
PROGRAM_REFUSAL = (
    "opening a .pt2 can run any code that is in it, so it is not opened here. If you trust it, use "
    "torch.export.load; or name the run, a folder for the hub, or an .onnx"
)
"""Why a .pt2 is not read as a classifier, and what to do instead."""


def import_library(name: str) -> Any:
    """Import a module of the `export` extra.

    Raises RuntimeError, with the command that installs it, if it is missing.
    """
    # OpenVINO and NNCF send usage telemetry if they can import this module. With None here, the
    # import fails and nothing is sent.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.split(".")[0]:
            raise
        raise RuntimeError(
            f"{name} is not installed, and exported files need it: pip install 'alexnet[export]'"
        ) from error


@cache
def get_openvino_core() -> Any:
    """Return the one openvino.Core of this process, with its CPU plugin loaded.

    Each plugin gives the thread that loads it an alternate stack for signal handlers, and frees
    that stack when it is unloaded. Two that overlap in time restore each other's freed stack, and
    the next signal, such as Ctrl-C, ends the process with a segmentation fault. This core is never
    unloaded, and the ones that NNCF makes begin and end within its life.

    Raises RuntimeError if openvino is not installed.
    """
    core = import_library("openvino").Core()
    core.get_property("CPU", "FULL_DEVICE_NAME")  # loads the plugin
    return core
