"""Portable files as networks: images in, logits out, by the program each was made for.

Of a file that takes records the network alone is run, since this package cuts crops and views
itself; `Portable.answer` runs the whole file, as other programs do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alexnet.exporting.graph import INPUT, OUTPUT
from alexnet.exporting.libraries import FORMATS, library
from alexnet.exporting.metadata import KEY, Card
from alexnet.exporting.whole import RECORDS, bare_onnx, bare_openvino
from alexnet.nets.layers import Hook, pass_through

MINIMUM_SEVERITY = 3
"""onnxruntime's errors, without its remarks on the graph."""


class Portable(nn.Module):
    """A portable file, ready to run on the CPU: images N 3 crop crop → logits N classes."""

    card: Card

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: Tensor, hook: Hook = pass_through) -> Tensor:
        """N 3 H W → N classes; `see` is shown nothing but the logits."""
        return hook(OUTPUT, torch.from_numpy(self.run(x.detach().contiguous().numpy())))

    def run(self, images: Any) -> Any:
        """Arrays: float32 N 3 H W → N classes."""
        raise NotImplementedError

    def answer(self, records: Any) -> Any:
        """What the whole file, opened anew, makes of uint8 N side side 3: probabilities N classes.

        Only for files that take records.
        """
        raise NotImplementedError


class OnnxNetwork(Portable):
    """An ONNX file, run by onnxruntime."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.session = self._session(path)
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.card = Card.from_text(metadata.get(KEY), path)
        if self.card.takes == "records":
            model = library("onnx").load(path)
            with _whole(path):
                bare_onnx(model)
            self.session = self._session(model.SerializeToString())

    def _session(self, model: Path | bytes) -> Any:
        runtime = library("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = MINIMUM_SEVERITY
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no base class but this
            raise ValueError(f"{self.path} is not a whole ONNX file: {error}") from error

    def run(self, images: Any) -> Any:
        return self.session.run(None, {INPUT: images})[0]

    def answer(self, records: Any) -> Any:
        return self._session(self.path).run(None, {RECORDS: records})[0]


class OpenVINONetwork(Portable):
    """An OpenVINO IR, run by OpenVINO with the arithmetic that the file says.

    Left alone, OpenVINO computes float32 files in bfloat16 on processors that are faster at that.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        model = self._model()
        try:
            text = model.get_rt_info([KEY]).astype(str) if model.has_rt_info([KEY]) else None
        except (RuntimeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} holds metadata that are no text: {error}") from error
        self.card = Card.from_text(text, path)
        if self.card.takes == "records":
            with _whole(path):
                model = bare_openvino(model, self.card.preprocessing.crop)
        self.compiled = _compiled(model)

    def _model(self) -> Any:
        try:
            return library("openvino").Core().read_model(self.path)
        except (RuntimeError, UnicodeDecodeError) as error:
            raise ValueError(f"{self.path} is not a whole OpenVINO IR: {error}") from error

    def run(self, images: Any) -> Any:
        return self.compiled(images)[0].copy()

    def answer(self, records: Any) -> Any:
        return _compiled(self._model())(records)[0].copy()


def _compiled(model: Any) -> Any:
    how = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    return library("openvino").Core().compile_model(model, "CPU", how)


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Raises ValueError where a file that takes records has not the parts that make it do so."""
    try:
        yield
    except (KeyError, IndexError) as error:
        raise ValueError(f"{path} has no {error} in it: export the network again") from error


RUNNERS = {"onnx": OnnxNetwork, "openvino": OpenVINONetwork}


def open_portable(path: Path) -> Portable:
    """Open a portable file.

    Raises FileNotFoundError where there is none, ValueError for a file that is none, and
    RuntimeError if the library that runs it is not installed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}. Make one: alexnet export RUN {path}")
    return RUNNERS[FORMATS[path.suffix]](path)
