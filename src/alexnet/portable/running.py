"""Portable files as networks: images in, logits out, by the program each was made for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alexnet.nets.layers import See, unseen
from alexnet.portable.card import KEY, Card
from alexnet.portable.graph import OUTPUT
from alexnet.portable.libraries import FORMATS, library

MINIMUM_SEVERITY = 3
"""onnxruntime's errors, without its remarks on the graph."""


class Portable(nn.Module):
    """A portable file, ready to run on the CPU: images N 3 crop crop → logits N classes."""

    card: Card

    def forward(self, x: Tensor, see: See = unseen) -> Tensor:
        """N 3 H W → N classes; `see` is shown nothing but the logits."""
        return see(OUTPUT, torch.from_numpy(self.run(x.detach().contiguous().numpy())))

    def run(self, images: Any) -> Any:
        """Arrays: float32 N 3 H W → N classes."""
        raise NotImplementedError


class OnnxNetwork(Portable):
    """An ONNX file, run by onnxruntime."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        runtime = library("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = MINIMUM_SEVERITY
        options.intra_op_num_threads = torch.get_num_threads()
        only_cpu = ["CPUExecutionProvider"]
        try:
            self.session = runtime.InferenceSession(path, options, providers=only_cpu)
        except Exception as error:  # onnxruntime's errors have no base class but this
            raise ValueError(f"{path} is not a whole ONNX file: {error}") from error
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.card = Card.from_text(metadata.get(KEY), path)

    def run(self, images: Any) -> Any:
        return self.session.run(None, {self.session.get_inputs()[0].name: images})[0]


class OpenVINONetwork(Portable):
    """An OpenVINO IR, run by OpenVINO with the arithmetic that the file says.

    Left alone, OpenVINO computes float32 files in bfloat16 on processors that are faster at that.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        core = library("openvino").Core()
        try:
            model = core.read_model(path)
        except RuntimeError as error:
            raise ValueError(f"{path} is not a whole OpenVINO IR: {error}") from error
        text = model.get_rt_info([KEY]).astype(str) if model.has_rt_info([KEY]) else None
        self.card = Card.from_text(text, path)
        how = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self.compiled = core.compile_model(model, "CPU", how)

    def run(self, images: Any) -> Any:
        return self.compiled(images)[0].copy()


RUNNERS = {"onnx": OnnxNetwork, "openvino": OpenVINONetwork}


def open_portable(path: Path) -> Portable:
    """Open a portable file.

    Raises FileNotFoundError where there is none, ValueError for a file that is none, and
    RuntimeError if the library that runs it is not installed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}. Make one: alexnet export RUN {path}")
    return RUNNERS[FORMATS[path.suffix]](path)
