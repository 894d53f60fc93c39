"""Export a trained network: write it, run what was written, and keep it only if it agrees."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet import checkpoint as checkpoints
from alexnet import device as devices
from alexnet.batches.batches import crop_views
from alexnet.checkpoint import Checkpoint
from alexnet.evaluation.counts import Counts, evaluate
from alexnet.evaluation.scores import relabeling, trained_on
from alexnet.exporting import quantize
from alexnet.exporting.graph import onnx_model
from alexnet.exporting.libraries import FORMATS, library
from alexnet.exporting.metadata import KEY, Card, Takes
from alexnet.exporting.running import Portable, open_portable
from alexnet.exporting.whole import whole_onnx, whole_openvino
from alexnet.files import replace_file
from alexnet.images.records import Format, record_shape, rgb, write_record
from alexnet.packs.pack import Pack, open_pack
from alexnet.packs.samples import NAME as SAMPLES
from alexnet.packs.samples import read_samples, space_evenly

COMPARED = 32
"""Images that a float32 file is compared on."""
TOLERANCE = 1e-3
"""Of the largest logit: a wrong operator makes a difference of the order of 1, rounding of 1e-6."""


class Disagrees(RuntimeError):  # noqa: N818 - it says what the file does
    """The file that was written does not compute what the network does; it has been removed."""


@dataclass(frozen=True)
class Exported:
    """A portable file, and how it compares with the network that it was made of."""

    path: Path
    size: int
    """Bytes, weights included."""
    precision: str
    images: int
    """How many it was compared on."""
    source: str
    """Where those came from."""
    difference: float
    """The largest of their logits' differences."""
    whole_difference: float | None = None
    """Of a file that takes records: how far a probability is from what its own network says."""
    network: Counts | None = None
    """Errors as it was trained, where int8 made it necessary to count them."""
    file: Counts | None = None
    """Errors of the file on the same images."""


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
    """Write the network of a run as `out`: an ONNX file (.onnx) or an OpenVINO IR (.xml and .bin).

    The file takes records (uint8 N side side 3, RGB) and gives probabilities; with `network_only`
    it takes prepared images (float32 N 3 crop crop) and gives logits. It is compared with the
    network on validation images of the pack, by default the one of the training; where that is not
    found, on those that the run keeps; without any, on noise. For int8, `samples` training images
    choose the ranges, and all validation images are counted. Raises Disagrees, leaving no file, if
    a logit of a float32 file differs by more than rounding, or int8 costs more than `allow` points
    of top-1 error; ValueError for an unknown ending and for int8 without a pack; RuntimeError if a
    library is missing.
    """
    out = Path(out)
    _check_ending(out)
    path = checkpoints.find(run)
    trained = checkpoints.load(path)
    images = _pack_of(path, pack)
    if int8 and images is None:
        raise ValueError(
            f"int8 needs images to choose its ranges by, and to count its errors on, and the pack "
            f"that {path} was trained on is not there. Name one: --pack PACK"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        draft = Path(folder) / out.name
        say(f"writing {out}")
        chosen = _calibration(trained, images, samples) if int8 and images else None
        _write(trained, draft, chosen, "images" if network_only else "records")
        say("counting the errors of both" if int8 else "comparing it with the network")
        found = _compare(trained, draft, _tried(path, trained, images), images)
        _check(found, allow)
        _move(draft, out)
    return replace(found, path=out)


def _check_ending(out: Path) -> None:
    """Raises ValueError unless the name ends as a portable file's does."""
    if out.suffix not in FORMATS:
        raise ValueError(
            f"the name {out.name!r} must end in .onnx, for ONNX, or in .xml, for OpenVINO IR"
        )


@dataclass(frozen=True, eq=False)
class Tried:
    """Images that a file and its network are compared on."""

    records: NDArray[np.uint8]
    """N side side 3, RGB."""
    source: str
    """Where they come from."""


def _pack_of(checkpoint: Path, pack: str | Path | None) -> Pack | None:
    """The pack that was asked for; else the one trained on, if it is still there."""
    if pack is not None:
        return open_pack(pack)
    try:
        return open_pack(trained_on(checkpoint))
    except FileNotFoundError:
        return None


def _calibration(trained: Checkpoint, pack: Pack, number: int) -> quantize.Samples:
    """Training images, evenly spread, as the network sees them: 1 3 crop crop each."""
    records = _of_pack(trained, pack, _split(pack, "train"), number).records
    return [x[None] for x in _seen(trained, records).numpy()]


def _seen(trained: Checkpoint, records: NDArray[np.uint8]) -> Tensor:
    """The center views of RGB records, stored as they were: N side side 3 → N 3 crop crop."""
    preprocessing = trained.preprocessing
    stored = np.empty(
        (len(records), *record_shape(preprocessing.side, preprocessing.pixels)), np.uint8
    )
    for image, record in zip(records, stored, strict=True):
        write_record(image, preprocessing.pixels, record.reshape(-1))
    return crop_views(stored, preprocessing, 1).contiguous()


def _tried(path: Path, trained: Checkpoint, pack: Pack | None) -> Tried:
    """Validation images of the pack; else those that the run keeps; else noise."""
    if pack is not None:
        return _of_pack(trained, pack, _split(pack, "val"), COMPARED)
    kept = read_samples(path.parent)
    if kept is not None and kept.pack_checksum == trained.pack_checksum:
        records = _as_rgb(kept.records, kept.size, kept.pixels)
        return Tried(records, f"kept in {path.parent / SAMPLES}, {kept.split}")
    return Tried(_noise(trained), "random noise")


def _of_pack(trained: Checkpoint, pack: Pack, split: str, number: int) -> Tried:
    """So many images of a split, evenly spread over it."""
    trained.preprocessing_for(pack)  # raises for another size
    some = pack.splits[split]
    records = some.gather(space_evenly(number, len(some)))
    return Tried(_as_rgb(records, pack.size, pack.pixels), f"{pack.path}, {split}")


def _as_rgb(records: NDArray[np.uint8], size: int, pixels: Format) -> NDArray[np.uint8]:
    """Records as uint8 N size size 3, rounded and clipped where they hold luma and chroma."""
    return np.clip(np.rint(rgb(records, size, pixels)), 0, 255).astype(np.uint8)


def _noise(trained: Checkpoint) -> NDArray[np.uint8]:
    """The mean image with noise on it."""
    preprocessing = trained.preprocessing
    chance = np.random.default_rng(0)
    records = preprocessing.mean.numpy() + chance.normal(
        0, 60, (COMPARED, preprocessing.side, preprocessing.side, 3)
    )
    return records.clip(0, 255).astype(np.uint8)


def _write(trained: Checkpoint, path: Path, samples: quantize.Samples | None, takes: Takes) -> None:
    """Write the file or, for an IR, both files; int8 if there are samples.

    The network alone is quantized: what a file that takes records does before stays exact.
    """
    card, preprocessing = (
        Card.of(trained, "int8" if samples else "float32", takes),
        trained.preprocessing,
    )
    draft, onnx = path.with_suffix(".draft.onnx"), library("onnx")
    onnx.save(onnx_model(trained.network(), preprocessing.crop), draft)
    if path.suffix == ".xml":
        _write_openvino(draft, path, card, samples)
    else:
        if samples:
            quantize.onnx_int8(draft, draft, samples)
        model = onnx.load(draft)
        if takes == "records":
            whole_onnx(model, preprocessing)
        library("onnx.helper").set_model_props(model, {KEY: card.to_text()})
        onnx.save(model, path)
    draft.unlink()


def _write_openvino(draft: Path, path: Path, card: Card, samples: quantize.Samples | None) -> None:
    openvino = library("openvino")
    model = openvino.Core().read_model(draft)
    model = quantize.openvino_int8(model, samples) if samples else model
    if card.takes == "records":
        model = whole_openvino(model, card.preprocessing)
    model.set_rt_info(card.to_text(), [KEY])
    openvino.save_model(model, path, compress_to_fp16=False)


def _compare(trained: Checkpoint, draft: Path, tried: Tried, pack: Pack | None) -> Exported:
    """What the file makes of these images beside what the network does.

    For int8, the errors of both are counted on all validation images of the pack.
    """
    network, file = trained.network(), open_portable(draft)
    size = sum(path.stat().st_size for path in draft.parent.iterdir())
    images = _seen(trained, tried.records)
    found = Exported(
        draft,
        size,
        file.card.precision,
        len(images),
        tried.source,
        _difference(network, file, images),
        _whole_difference(file, images, tried.records) if file.card.takes == "records" else None,
    )
    if file.card.precision == "float32" or pack is None:
        return found
    ours, its = (_count(x, trained, pack, _split(pack, "val")) for x in (network, file))
    return replace(found, images=ours.seen, network=ours, file=its)


def _split(pack: Pack, wanted: str) -> str:
    """The split that is wanted, or what there is."""
    return wanted if wanted in pack.splits else next(iter(pack.splits))


@torch.inference_mode()
def _difference(network: nn.Module, file: Portable, images: Tensor) -> float:
    """The largest difference of a logit, as a share of the largest logit; one image, then many."""
    wanted = network(images)
    found = torch.cat([file(images[:1]), file(images[1:])])
    return float((found - wanted).abs().max() / wanted.abs().max())


@torch.inference_mode()
def _whole_difference(file: Portable, images: Tensor, records: NDArray[np.uint8]) -> float:
    """The largest difference of a probability, between the whole file's and its network's."""
    found = torch.from_numpy(file.answer(records))
    return float((found - file(images).softmax(1)).abs().max())


def _count(network: nn.Module, trained: Checkpoint, pack: Pack, split: str) -> Counts:
    machine = devices.machine("cpu")
    return evaluate(
        devices.place(network, machine),
        pack.splits[split],
        trained.preprocessing_for(pack),
        len(trained.classes),
        machine,
        relabel=relabeling(trained, pack, split, ignore_unknown=False),
    )


def _check(found: Exported, allow: float) -> None:
    """Raises Disagrees where the file is not what the network is."""
    if found.network and found.file:
        worse = found.file.wrong1 - found.network.wrong1
        if worse > max(1, allow / 100 * found.network.seen):  # one image is no evidence
            raise Disagrees(
                f"int8 costs {100 * worse / found.network.seen:.2f} points of top-1 error on "
                f"{found.source}, more than {allow}: no file was kept. Allow more (--allow), or "
                "choose the ranges by more images (--samples)"
            )
    if found.whole_difference is not None and not found.whole_difference <= TOLERANCE:
        raise Disagrees(
            f"the probabilities of the whole file differ from its network's by "
            f"{found.whole_difference:.2g} ({found.source}): no file was kept. This is a fault of "
            "the exporter or of the library that ran the file; please report it"
        )
    if (
        found.network is None and not found.difference <= TOLERANCE
    ):  # so that NaN is a difference, too
        raise Disagrees(
            f"the file's logits differ from the network's by {found.difference:.2g} of the "
            f"largest, on {found.images} images ({found.source}): no file was kept. This is a "
            "fault of the exporter or of the library that ran the file; please report it"
        )


def _move(draft: Path, out: Path) -> None:
    """Put the finished files where they belong, weights before the file that needs them."""
    for file in sorted(draft.parent.iterdir()):  # .bin, then .xml
        replace_file(out.with_suffix(file.suffix), file.replace)
