"""Export a trained network: write it, run what was written, and keep it only if it agrees."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from alexnet.data.batches import see
from alexnet.data.dataset import Pack, open_pack
from alexnet.learn import checkpoint as checkpoints
from alexnet.learn import devices
from alexnet.learn.checkpoint import Checkpoint
from alexnet.measure.evaluate import Counts, evaluate
from alexnet.measure.scores import _trained_on, relabeling
from alexnet.portable import quantize
from alexnet.portable.card import KEY, Card
from alexnet.portable.graph import onnx_model
from alexnet.portable.libraries import FORMATS, library
from alexnet.portable.running import Portable, open_portable

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
    samples: int = 300,
    allow: float = 0.5,
    say: Callable[[str], None] = lambda text: None,
) -> Exported:
    """Write the network of a run as `out`: an ONNX file (.onnx) or an OpenVINO IR (.xml and .bin).

    It is compared with the network on validation images of the pack, by default the one of the
    training; without any, on noise. For int8, `samples` training images choose the ranges, and all
    validation images are counted. Raises Disagrees, leaving no file, if a logit of a float32 file
    differs by more than rounding, or int8 costs more than `allow` points of top-1 error; ValueError
    for an unknown ending and for int8 without a pack; RuntimeError if a library is missing.
    """
    out = Path(out)
    _check_ending(out)
    path = checkpoints.find(run)
    trained = checkpoints.load(path)
    images = _pack_of(path, pack)
    if int8 and images is None:
        raise ValueError(
            f"int8 needs images to choose its ranges by, and {path} was trained on none that are "
            "still there. Name some: --pack PACK"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        draft = Path(folder) / out.name
        say(f"writing {out}")
        _write(trained, draft, _samples(trained, images, samples) if int8 and images else None)
        say("counting the errors of both" if int8 else "comparing it with the network")
        found = _compare(trained, draft, images, int8)
        _check(found, allow)
        _move(draft, out)
    return replace(found, path=out)


def _check_ending(out: Path) -> None:
    """Raises ValueError unless the name ends as a portable file's does."""
    if out.suffix not in FORMATS:
        raise ValueError(
            f"the name {out.name!r} must end in .onnx, for ONNX, or in .xml, for OpenVINO IR"
        )


def _pack_of(checkpoint: Path, pack: str | Path | None) -> Pack | None:
    """The pack that was asked for; else the one trained on, if it is still there."""
    if pack is not None:
        return open_pack(pack)
    try:
        return open_pack(_trained_on(checkpoint))
    except FileNotFoundError:
        return None


def _samples(trained: Checkpoint, pack: Pack, number: int) -> quantize.Samples:
    """Training images, evenly spread, as the network sees them: 1 3 crop crop each."""
    images = _spread(trained, pack, _split(pack, "train"), number)
    return [x[None] for x in images.numpy()]


def _spread(trained: Checkpoint, pack: Pack, split: str, number: int) -> Tensor:
    """So many images of a split, evenly spread over it: N 3 crop crop."""
    some = pack.splits[split]
    places = np.linspace(0, len(some) - 1, min(number, len(some))).astype(np.int64)
    return see(some.gather(places), trained.preprocessing_for(pack), 1).contiguous()


def _write(trained: Checkpoint, path: Path, samples: quantize.Samples | None) -> None:
    """Write the file or, for an IR, both files; int8 if there are samples."""
    card = Card.of(trained, "int8" if samples else "float32").to_text()
    model = onnx_model(trained.network(), trained.preprocessing.crop, {KEY: card})
    onnx = path.with_suffix(".onnx")
    library("onnx").save(model, onnx)
    if path.suffix == ".xml":
        _write_openvino(onnx, path, card, samples)
    elif samples:
        quantize.onnx_int8(onnx, path, samples)


def _write_openvino(onnx: Path, path: Path, card: str, samples: quantize.Samples | None) -> None:
    openvino = library("openvino")
    model = openvino.Core().read_model(onnx)
    model = quantize.openvino_int8(model, samples) if samples else model
    model.set_rt_info(card, [KEY])
    openvino.save_model(model, path, compress_to_fp16=False)
    onnx.unlink()


def _compare(trained: Checkpoint, draft: Path, pack: Pack | None, int8: bool) -> Exported:
    network, file = trained.network(), open_portable(draft)
    size = sum(path.stat().st_size for path in draft.parent.iterdir())
    split = "" if pack is None else _split(pack, "val")
    images = _noise(trained) if pack is None else _spread(trained, pack, split, COMPARED)
    source = "random noise" if pack is None else f"{pack.path}, {split}"
    difference = _difference(network, file, images)
    found = Exported(draft, size, file.card.precision, len(images), source, difference)
    if not int8 or pack is None:
        return found
    ours, its = (_count(x, trained, pack, split) for x in (network, file))
    return replace(found, images=ours.seen, network=ours, file=its)


def _split(pack: Pack, wanted: str) -> str:
    """The split that is wanted, or what there is."""
    return wanted if wanted in pack.splits else next(iter(pack.splits))


def _noise(trained: Checkpoint) -> Tensor:
    """The mean image with noise on it, as the network would see it."""
    how = trained.preprocessing
    chance = np.random.default_rng(0)
    shape = COMPARED, how.side, how.side, 3
    records = how.mean.numpy() + chance.normal(0, 60, shape)
    return see(records.clip(0, 255).astype(np.uint8), replace(how, pixels="rgb"), 1).contiguous()


@torch.inference_mode()
def _difference(network: nn.Module, file: Portable, images: Tensor) -> float:
    """The largest difference of a logit, as a share of the largest logit; one image, then many."""
    wanted = network(images)
    found = torch.cat([file(images[:1]), file(images[1:])])
    return float((found - wanted).abs().max() / wanted.abs().max())


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
    elif not found.difference <= TOLERANCE:  # so that NaN is a difference, too
        raise Disagrees(
            f"the file's logits differ from the network's by {found.difference:.2g} of the "
            f"largest, on {found.images} images ({found.source}): no file was kept. This is a "
            "fault of the exporter or of the library that ran the file; please report it"
        )


def _move(draft: Path, out: Path) -> None:
    """Put the finished files where they belong, weights before the file that needs them."""
    for file in sorted(draft.parent.iterdir()):  # .bin, then .xml
        checkpoints.replace_file(out.with_suffix(file.suffix), file.replace)
