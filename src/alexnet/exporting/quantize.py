"""Eight-bit networks by post-training quantization: products of int8, sums of int32."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from alexnet.exporting.graph import INPUT
from alexnet.exporting.libraries import library
from alexnet.terminal import unwrap_stream

Samples = Sequence[NDArray[Any]]
"""Images as the network sees them, float32 1 3 crop crop each: what ranges are chosen by."""


def openvino_int8(model: Any, samples: Samples) -> Any:
    """An openvino.Model with int8 weights and activations, chosen by NNCF."""
    nncf = library("nncf")
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(unwrap_stream(sys.stderr)):  # its bars are no output of ours
        return nncf.quantize(model, nncf.Dataset(samples), subset_size=len(samples))


def onnx_int8(model: Path, out: Path, samples: Samples) -> None:
    """Write a quantized copy of an ONNX file: int8 weights, a scale for each filter, uint8 maps."""
    library("onnxruntime.quantization.shape_inference").quant_pre_process(
        model, out, skip_symbolic_shape=True
    )
    library("onnxruntime.quantization").quantize_static(
        out, out, _reader(samples), per_channel=True, op_types_to_quantize=["Conv", "Gemm"]
    )


def _reader(samples: Samples) -> Any:
    class Reader(library("onnxruntime.quantization").CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[NDArray[Any]] = iter(samples)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            image = next(self.left, None)
            return None if image is None else {INPUT: image}

    return Reader()
