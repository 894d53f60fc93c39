"""Exported files as networks that run on the CPU, by onnxruntime or OpenVINO.

The network alone is run, images → logits, even if the file takes records: this package crops views
and averages them itself. `ExportedNetwork.predict_records` runs the whole file, as other programs
do. `predict.load` and `comparison` call `open_exported`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alexnet.exporting.libraries import FORMATS, get_openvino_core, import_library
from alexnet.exporting.metadata import KEY, ExportMetadata
from alexnet.exporting.onnx_graph import INPUT, OUTPUT
from alexnet.exporting.preprocessing_graph import (
    RECORDS,
    remove_preprocessing_onnx,
    remove_preprocessing_openvino,
)
from alexnet.nets.layers import Hook, pass_through

MINIMUM_SEVERITY = 3
"""The onnxruntime log level that shows errors and hides remarks on the graph."""


class ExportedNetwork(nn.Module):
    """The network of an exported file, on the CPU.

    images, float32 (N, 3, crop, crop) → logits, float32 (N, classes). Each runtime is a subclass.
    """

    metadata: ExportMetadata

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: Tensor, hook: Hook = pass_through) -> Tensor:
        """Compute the logits. The hook is called with the logits only."""
        return hook(OUTPUT, torch.from_numpy(self.run_network(x.detach().contiguous().numpy())))

    def run_network(self, images: Any) -> Any:
        """Compute logits with NumPy arrays: float32 (N, 3, crop, crop) → (N, classes)."""
        raise NotImplementedError

    def compute_logits(self, images: Tensor, records: Any) -> Tensor:
        """Compute logits of the same images, given as both kinds of input; see `comparison`."""
        return self(images)

    def predict_records(self, records: Any) -> Any:
        """Open the file again and run all of it, preprocessing and softmax included.

        NumPy arrays: uint8 (N, side, side, 3), RGB → probabilities (N, classes). Only for files
        that take records.
        """
        raise NotImplementedError


class OnnxNetwork(ExportedNetwork):
    """The network of an ONNX file, run by onnxruntime."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.session = self._open(path)
        properties = self.session.get_modelmeta().custom_metadata_map
        self.metadata = ExportMetadata.from_text(properties.get(KEY), path)
        if self.metadata.input_kind == "records":
            model = import_library("onnx").load(path)
            with _missing_parts_as_errors(path):
                remove_preprocessing_onnx(model)
            self.session = self._open(model.SerializeToString())

    def _open(self, model: Path | bytes) -> Any:
        runtime = import_library("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = MINIMUM_SEVERITY
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no more specific base class
            raise ValueError(f"{self.path} is not a whole ONNX file: {error}") from error

    def run_network(self, images: Any) -> Any:
        """Compute logits: see `ExportedNetwork.run_network`."""
        return self.session.run(None, {INPUT: images})[0]

    def predict_records(self, records: Any) -> Any:
        """Compute probabilities: see `ExportedNetwork.predict_records`."""
        return self._open(self.path).run(None, {RECORDS: records})[0]


class OpenVINONetwork(ExportedNetwork):
    """The network of an OpenVINO IR, run by OpenVINO with the precision that the file has.

    By default, OpenVINO would compute float32 files in bfloat16 on processors that support it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        model = self._read_model()
        try:
            text = model.get_rt_info([KEY]).astype(str) if model.has_rt_info([KEY]) else None
        except (RuntimeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} holds metadata that are no text: {error}") from error
        self.metadata = ExportMetadata.from_text(text, path)
        if self.metadata.input_kind == "records":
            with _missing_parts_as_errors(path):
                model = remove_preprocessing_openvino(model, self.metadata.preprocessing.crop)
        self.compiled = _compile(model)

    def _read_model(self) -> Any:
        try:
            return get_openvino_core().read_model(self.path)
        except (RuntimeError, UnicodeDecodeError) as error:
            raise ValueError(f"{self.path} is not a whole OpenVINO IR: {error}") from error

    def run_network(self, images: Any) -> Any:
        """Compute logits: see `ExportedNetwork.run_network`."""
        return self.compiled(images)[0].copy()

    def predict_records(self, records: Any) -> Any:
        """Compute probabilities: see `ExportedNetwork.predict_records`."""
        return _compile(self._read_model())(records)[0].copy()


def _compile(model: Any) -> Any:
    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    return get_openvino_core().compile_model(model, "CPU", options)


@contextlib.contextmanager
def _missing_parts_as_errors(path: Path) -> Iterator[None]:
    """Raise ValueError if a file that says it takes records lacks the added preprocessing."""
    try:
        yield
    except (KeyError, IndexError) as error:
        raise ValueError(f"{path} has no {error} in it: export the network again") from error


RUNTIMES = {"onnx": OnnxNetwork, "openvino": OpenVINONetwork}


def open_exported(path: Path) -> ExportedNetwork:
    """Open a file that `alexnet export` wrote.

    Raises FileNotFoundError if `path` does not exist, ValueError if it is not a file that `alexnet
    export` wrote, and RuntimeError if the library that runs it is not installed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}. Make one: alexnet export RUN {path}")
    return RUNTIMES[FORMATS[path.suffix]](path)
