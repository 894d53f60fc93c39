"""The libraries of the `export` extra, imported when first needed."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

FORMATS = {".onnx": "onnx", ".xml": "openvino"}
"""What a portable file is, by the ending of its name. OpenVINO puts the weights into a .bin."""


def library(name: str) -> Any:
    """The module called `name`. Raises RuntimeError, saying what to install, if it is missing."""
    # OpenVINO and NNCF report each import and conversion to their makers if they find this one.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.split(".")[0]:
            raise
        raise RuntimeError(
            f"{name} is not installed, and portable files need it: pip install 'alexnet[export]'"
        ) from error
