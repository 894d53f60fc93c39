"""Writing an exported file: ONNX or OpenVINO IR, float32 or int8.

Int8 networks are made by post-training quantization: weights and activations become int8, products
are summed in int32. The range of each activation is computed from calibration images. Only the
network is quantized; preprocessing and softmax stay exact. `export` and a benchmark call this
module.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from alexnet.checkpoint import Checkpoint
from alexnet.exporting.libraries import get_openvino_core, import_library
from alexnet.exporting.metadata import KEY, ExportMetadata, InputKind, Precision
from alexnet.exporting.onnx_graph import INPUT
from alexnet.exporting.preprocessing_graph import add_preprocessing_onnx, add_preprocessing_openvino
from alexnet.exporting.translation import build_onnx_model
from alexnet.terminal import unwrap_stream

CalibrationImages = Sequence[NDArray[Any]]
"""Preprocessed images, float32 (1, 3, crop, crop) each. Quantization ranges are computed from
them."""


def write_model(
    trained: Checkpoint,
    path: Path,
    input_kind: InputKind,
    calibration: CalibrationImages | None = None,
) -> None:
    """Write the network as `path` (.onnx or .xml, with a .bin); as int8 if there is `calibration`.

    The ONNX model of the network is written first, as a draft next to `path`, and then converted.
    """
    precision: Precision = "int8" if calibration else "float32"
    metadata, preprocessing = (
        ExportMetadata.of(trained, precision, input_kind),
        trained.preprocessing,
    )
    draft, onnx = path.with_suffix(".draft.onnx"), import_library("onnx")
    onnx.save(build_onnx_model(trained.build_network(), preprocessing.crop), draft)
    if path.suffix == ".xml":
        _write_openvino(draft, path, metadata, calibration)
    else:
        if calibration:
            quantize_onnx(draft, draft, calibration)
        model = onnx.load(draft)
        if input_kind == "records":
            add_preprocessing_onnx(model, preprocessing)
        import_library("onnx.helper").set_model_props(model, {KEY: metadata.to_text()})
        onnx.save(model, path)
    draft.unlink()


def _write_openvino(
    draft: Path, path: Path, metadata: ExportMetadata, calibration: CalibrationImages | None
) -> None:
    openvino = import_library("openvino")
    model = get_openvino_core().read_model(draft)
    model = quantize_openvino(model, calibration) if calibration else model
    if metadata.input_kind == "records":
        model = add_preprocessing_openvino(model, metadata.preprocessing)
    model.set_rt_info(metadata.to_text(), [KEY])
    openvino.save_model(model, path, compress_to_fp16=False)


def quantize_openvino(model: Any, calibration: CalibrationImages) -> Any:
    """Return an openvino.Model with int8 weights and activations, quantized by NNCF."""
    nncf = import_library("nncf")
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(unwrap_stream(sys.stderr)):  # NNCF's progress bars
        return nncf.quantize(model, nncf.Dataset(calibration), subset_size=len(calibration))


def quantize_onnx(model: Path, out: Path, calibration: CalibrationImages) -> None:
    """Write a quantized copy of an ONNX file, which may replace it.

    Convolutions and products get int8 weights, with one scale per filter, and int8 activations.
    """
    import_library("onnxruntime.quantization.shape_inference").quant_pre_process(
        model, out, skip_symbolic_shape=True
    )
    import_library("onnxruntime.quantization").quantize_static(
        out,
        out,
        _make_calibration_reader(calibration),
        per_channel=True,
        op_types_to_quantize=["Conv", "Gemm"],
    )


def _make_calibration_reader(calibration: CalibrationImages) -> Any:
    """Make the object that gives onnxruntime one calibration image at a time."""
    base = import_library("onnxruntime.quantization").CalibrationDataReader

    class CalibrationReader(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            self.images: Iterator[NDArray[Any]] = iter(calibration)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            image = next(self.images, None)
            return None if image is None else {INPUT: image}

    return CalibrationReader()
