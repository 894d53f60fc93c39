"""Export a trained network: write the file, run it, and keep it only if it agrees with the network.

`alexnet export` and the Python function `alexnet.export` call this module.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from alexnet import checkpoint as checkpoints
from alexnet.checkpoint import Checkpoint
from alexnet.evaluation.measured_pack import find_pack_of
from alexnet.exporting.comparison import (
    Exported,
    check_agreement,
    choose_images,
    choose_split,
    compare,
    preprocess,
    take_images,
)
from alexnet.exporting.libraries import FORMATS
from alexnet.exporting.writing import CalibrationImages, write_model
from alexnet.files import replace_file
from alexnet.packs.pack import Pack, open_pack


def export(
    run: str | Path,
    out: str | Path,
    *,
    pack: str | Path | None = None,
    int8: bool = False,
    network_only: bool = False,
    samples: int = 300,
    allow: float = 0.5,
    say: Callable[[str], None] = lambda text: None,
) -> Exported:
    """Write the network of a run as an ONNX file or an OpenVINO IR, and check what was written.

    Args:
        run: a run's folder (its `best` checkpoint, else its `last`) or a checkpoint file.
        out: the file to write: .onnx for ONNX, .xml for OpenVINO (weights go to a .bin).
        pack: images to compare on. By default the pack of the training; if it is no longer there,
            the images that the run keeps; without these, noise.
        int8: quantize weights and activations to int8. Needs a pack.
        network_only: leave preprocessing and softmax out. The file then takes prepared images,
            float32 (N, 3, crop, crop), and gives logits. By default it takes records, uint8
            (N, side, side, 3), RGB, and gives probabilities.
        samples: for int8, the number of training images that calibrate the quantization ranges.
        allow: for int8, the largest acceptable increase of the top-1 error, in percentage points.
            The network and the file are both evaluated on all validation images.
        say: called with a line of text when each step begins.

    Returns the path and the results of the comparison.

    Raises ExportMismatch, and leaves no file, if a logit of a float32 file differs by more than
    rounding or int8 costs more than `allow` points; ValueError for an unknown extension of `out`
    and for int8 without a pack; RuntimeError if an optional library is missing.
    """
    out = Path(out)
    _check_extension(out)
    path = checkpoints.find(run)
    trained = checkpoints.load(path)
    opened = _open_pack_for(path, pack)
    if int8 and opened is None:
        raise ValueError(
            f"int8 needs images for calibration and to count its errors on, and the pack that "
            f"{path} was trained on is no longer there. Name a pack: --pack PACK"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        draft = Path(folder) / out.name
        say(f"writing {out}")
        calibration = _make_calibration(trained, opened, samples) if int8 and opened else None
        write_model(trained, draft, "images" if network_only else "records", calibration)
        say("counting the errors of both" if int8 else "comparing it with the network")
        exported = compare(trained, draft, choose_images(path, trained, opened), opened)
        check_agreement(exported, allow)
        _move_into_place(draft, out)
    return replace(exported, path=out)


def _check_extension(out: Path) -> None:
    """Raise ValueError unless the extension is that of an exported file."""
    if out.suffix not in FORMATS:
        raise ValueError(
            f"the name {out.name!r} must end in .onnx, for ONNX, or in .xml, for OpenVINO IR"
        )


def _open_pack_for(checkpoint: Path, pack: str | Path | None) -> Pack | None:
    """Open the named pack; else the pack of the training, or return None if it is not there."""
    if pack is not None:
        return open_pack(pack)
    try:
        return open_pack(find_pack_of(checkpoint))
    except FileNotFoundError:
        return None


def _make_calibration(trained: Checkpoint, pack: Pack, n_images: int) -> CalibrationImages:
    """Preprocess evenly spaced training images: float32 (1, 3, crop, crop) each."""
    images = take_images(trained, pack, choose_split(pack, "train"), n_images)
    return [x[None] for x in preprocess(trained, images).numpy()]


def _move_into_place(draft: Path, out: Path) -> None:
    """Move the finished files to their final paths, weights before the file that needs them."""
    for file in sorted(draft.parent.iterdir()):  # .bin, then .xml
        replace_file(out.with_suffix(file.suffix), file.replace)
