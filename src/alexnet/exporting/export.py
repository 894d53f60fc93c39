"""Export a trained network: write it, run what was written, and keep it only if both agree.

`alexnet export` and the Python function `alexnet.export` call this module.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from alexnet import checkpoint as checkpoints
from alexnet.checkpoint import Checkpoint
from alexnet.evaluation.measured_pack import find_pack_of
from alexnet.evaluation.stored_scores import StoredScores, read_all_scores
from alexnet.exporting import hub
from alexnet.exporting.comparison import (
    Exported,
    check_agreement,
    choose_images,
    choose_split,
    compare,
    preprocess,
    take_images,
)
from alexnet.exporting.libraries import WRITTEN, ExportFormat
from alexnet.exporting.torch_program import write_program
from alexnet.exporting.writing import CalibrationImages, write_model
from alexnet.files import replace_file
from alexnet.packs.pack import Pack, open_pack
from alexnet.sources.names import quote_names


def export(
    run: str | os.PathLike[str],
    out: str | Path,
    *,
    format: ExportFormat | None = None,
    pack: str | os.PathLike[str] | None = None,
    int8: bool = False,
    network_only: bool = False,
    samples: int = 300,
    allow: float = 0.5,
    say: Callable[[str], None] = lambda text: None,
) -> Exported:
    """Write the network of a run for other programs, and check what was written.

    Args:
        run: a run's folder (its `best` checkpoint, else its `last`) or a checkpoint file.
        out: what to write: a file .onnx for ONNX, .xml for OpenVINO (weights go to a .bin), .pt2
            for torch.export, or a folder for the Hugging Face hub. In a folder that is there
            already, README.md is kept.
        format: onnx, openvino, torch or hub. By default what the extension of `out` says; a name
            without one is a folder for the hub.
        pack: images to compare on. By default the pack of the training; if it is no longer there,
            the images that the run keeps; without these, noise.
        int8: quantize weights and activations to int8. Needs a pack.
        network_only: leave preprocessing and softmax out. The file then takes prepared images,
            float32 (N, 3, crop, crop), and gives logits. By default it takes records, uint8
            (N, side, side, 3), RGB, and gives probabilities. Not for a folder.
        samples: for int8, the number of training images that calibrate the quantization ranges.
        allow: for int8, the largest acceptable increase of the top-1 error, in percentage points.
            The network and the file are both evaluated on all validation images.
        say: called with a line of text when each step begins.

    Returns the path and the results of the comparison.

    Raises ExportMismatch, and leaves no file, if a logit of a float32 file differs by more than
    rounding or int8 costs more than `allow` points; ValueError for an unknown extension of `out`,
    for options that the format does not have, and for int8 without a pack; FileExistsError for a
    folder that holds something else; RuntimeError if an optional library is missing.

    >>> alexnet.export("run", "for-the-hub").path.name
    'for-the-hub'
    """
    out = Path(out)
    kind = choose_format(out, format)
    _check_options(out, kind, int8, network_only)
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
        draft = Path(folder) / (out.name or out.resolve().name)
        say(f"writing {out}")
        if kind == "hub":
            hub.write_hub_folder(trained, draft, draft.name, _read_own_scores(path), opened)
        elif kind == "torch":
            write_program(trained, draft, "images" if network_only else "records")
        else:
            calibration = _make_calibration(trained, opened, samples) if int8 and opened else None
            write_model(trained, draft, "images" if network_only else "records", calibration)
        say("counting the errors of both" if int8 else "comparing it with the network")
        exported = compare(trained, draft, choose_images(path, trained, opened), opened)
        check_agreement(exported, allow)
        if kind == "hub":
            _move_folder_into_place(draft, out, say)
        else:
            _move_into_place(draft, out)
    return replace(exported, path=out)


def choose_format(out: Path, format: ExportFormat | None) -> ExportFormat:
    """Return the format to write at `out`; by default what its extension says.

    Raises ValueError for an extension that no format has, or that another format has.
    """
    by_name = WRITTEN.get(out.suffix)
    if format == "hub" and by_name in (None, "hub"):
        return format
    if by_name is None or format not in (None, by_name):
        wanted = f"as {format!r} " if format else ""
        raise ValueError(
            f"the name {out.name!r} {wanted}must end in .onnx, for ONNX, in .xml, for OpenVINO IR, "
            "or in .pt2, for torch.export; a folder for the hub has no extension, or --format hub"
        )
    return by_name


def _check_options(out: Path, kind: ExportFormat, int8: bool, network_only: bool) -> None:
    """Raise ValueError for options that the format lacks, FileExistsError for a taken name."""
    if int8 and kind not in ("onnx", "openvino"):
        raise ValueError("int8 networks are written as .onnx and .xml only")
    if network_only and kind == "hub":
        raise ValueError(
            "a folder for the hub always holds the network only: leave network_only out"
        )
    if kind != "hub":
        if out.is_dir():
            raise FileExistsError(f"{out} is a folder: name a file")
        return
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file: name a folder, or end the name in .onnx or .pt2")
    names = {x.name for x in out.iterdir() if not x.name.startswith(".")} if out.exists() else set()
    if others := sorted(names - set(hub.FILES)):
        raise FileExistsError(
            f"{out} holds other files ({quote_names(others, 3)}): name a new folder for the hub"
        )


def _read_own_scores(checkpoint: Path) -> list[StoredScores]:
    """Read the scores in the folder of a checkpoint that are of that very file."""
    scores, _ = read_all_scores(checkpoint.parent)
    if not scores:
        return []
    with checkpoint.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return [x for x in scores if x.checkpoint is not None and x.checkpoint.sha256 == sha256]


def _open_pack_for(checkpoint: Path, pack: str | os.PathLike[str] | None) -> Pack | None:
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


def _move_folder_into_place(draft: Path, out: Path, say: Callable[[str], None]) -> None:
    """Move the files of a folder to where they belong, config.json last; keep a README.md."""
    out.mkdir(exist_ok=True)
    for name in hub.FILES:
        if name == hub.CARD and (out / name).exists():
            say(f"{out / name} is kept as it is: delete it to have a new one written")
            continue
        replace_file(out / name, (draft / name).replace)
