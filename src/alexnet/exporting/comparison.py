"""Comparing an exported file with the network that it was made from.

A float32 file must give the network's logits, up to rounding, on a few images. An int8 file differs
more, so the errors of both are counted on all validation images. `export` calls `compare` and
`check_agreement`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet import device as devices
from alexnet.batches.views import crop_views
from alexnet.checkpoint import Checkpoint
from alexnet.evaluation.counts import Counts, evaluate
from alexnet.evaluation.scores import match_classes
from alexnet.exporting.hub import read_hub_folder
from alexnet.exporting.metadata import ExportMetadata
from alexnet.exporting.runtimes import ExportedNetwork, open_exported
from alexnet.exporting.torch_program import TorchProgram
from alexnet.images.records import record_shape, records_to_pictures, write_record
from alexnet.packs.pack import Pack
from alexnet.packs.samples import NAME as SAMPLES
from alexnet.packs.samples import read_samples, space_evenly

N_COMPARED = 32
"""The number of images that a float32 file is compared on."""
TOLERANCE = 1e-3
"""The largest accepted difference of a logit, divided by the largest logit, and of a probability. A
wrong operator gives a difference of about 1, rounding about 1e-6."""


class ExportMismatch(RuntimeError):  # noqa: N818 - a mismatch is the error
    """The exported file computes something other than the network; no file was kept."""


@dataclass(frozen=True)
class Exported:
    """An exported file, and how it compares with the network that it was made from."""

    path: Path
    size: int
    """Bytes of the file, weights included."""
    precision: str
    """float32 or int8."""
    images: int
    """The number of images that it was compared on."""
    source: str
    """The origin of these images."""
    difference: float
    """The largest absolute difference between its logits and the network's, divided by the
    network's largest absolute logit."""
    whole_difference: float | None = None
    """For a file that takes records: the largest difference between its probabilities and the
    softmax of its own network's logits, which shows that the preprocessing in the file is right."""
    network: Counts | None = None
    """For int8: the errors of the network as trained."""
    file: Counts | None = None
    """For int8: the errors of the file on the same images."""


@dataclass(frozen=True, eq=False)
class ComparisonImages:
    """Images that a file and its network are compared on."""

    records: NDArray[np.uint8]
    """uint8 (N, side, side, 3), RGB."""
    source: str
    """Their origin, for messages."""


def choose_images(path: Path, trained: Checkpoint, pack: Pack | None) -> ComparisonImages:
    """Choose validation images of the pack; else the images that the run keeps; else noise."""
    if pack is not None:
        return take_images(trained, pack, choose_split(pack, "val"), N_COMPARED)
    kept = read_samples(path.parent)
    if kept is not None and kept.pack_checksum == trained.pack_checksum:
        records = records_to_pictures(kept.records, kept.size, kept.pixels)
        return ComparisonImages(records, f"kept in {path.parent / SAMPLES}, {kept.split}")
    return ComparisonImages(_make_noise(trained), "random noise")


def take_images(trained: Checkpoint, pack: Pack, split: str, n_images: int) -> ComparisonImages:
    """Take up to `n_images` evenly spaced images of a split.

    Raises ValueError if they were packed at another size than the network's.
    """
    trained.adapt_preprocessing(pack)  # raises if the pack has another size
    images = pack.splits[split]
    records = images.gather(space_evenly(n_images, len(images)))
    pictures = records_to_pictures(records, pack.size, pack.pixels)
    return ComparisonImages(pictures, f"{pack.path}, {split}")


def choose_split(pack: Pack, wanted: str) -> str:
    """Return `wanted` if the pack has that split, else its first one."""
    return wanted if wanted in pack.splits else next(iter(pack.splits))


def _make_noise(trained: Checkpoint) -> NDArray[np.uint8]:
    """Make images that are the mean image with noise added: uint8 (N_COMPARED, side, side, 3)."""
    preprocessing = trained.preprocessing
    rng = np.random.default_rng(0)
    records = preprocessing.mean.numpy() + rng.normal(
        0, 60, (N_COMPARED, preprocessing.side, preprocessing.side, 3)
    )
    return records.clip(0, 255).astype(np.uint8)


def preprocess(trained: Checkpoint, images: ComparisonImages) -> Tensor:
    """Store images as the training's pack stored them, and crop their center views.

    uint8 (N, side, side, 3), RGB → float32 (N, 3, crop, crop), what the network is given.
    """
    preprocessing = trained.preprocessing
    shape = record_shape(preprocessing.side, preprocessing.pixels)
    stored = np.empty((len(images.records), *shape), np.uint8)
    for image, record in zip(images.records, stored, strict=True):
        write_record(image, preprocessing.pixels, record.reshape(-1))
    return crop_views(stored, preprocessing, 1).contiguous()


class HubNetwork(ExportedNetwork):
    """The network of a folder for the hub, read again."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        trained = read_hub_folder(path)
        self.network = trained.build_network()
        self.metadata = ExportMetadata.of(trained, "float32", "images")

    @torch.inference_mode()
    def run_network(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute logits: see `ExportedNetwork.run_network`."""
        logits: NDArray[np.float32] = self.network(torch.from_numpy(images)).numpy()
        return logits


def open_draft(path: Path) -> ExportedNetwork:
    """Open what this process has just written. Never a file of others: a .pt2 can run code."""
    if path.is_dir():
        return HubNetwork(path)
    return TorchProgram(path) if path.suffix == ".pt2" else open_exported(path)


def compare(
    trained: Checkpoint, path: Path, images: ComparisonImages, pack: Pack | None
) -> Exported:
    """Run the exported file at `path` and the network on the same images.

    For int8, the errors of both are counted on all validation images of the pack. All files in the
    folder of `path`, or in `path` if it is a folder, count toward the size.
    """
    network, file = trained.build_network(), open_draft(path)
    prepared, metadata = preprocess(trained, images), file.metadata
    takes_records = metadata.input_kind == "records"
    exported = Exported(
        path=path,
        size=sum(part.stat().st_size for part in path.parent.rglob("*") if part.is_file()),
        precision=metadata.precision,
        images=len(prepared),
        source=images.source,
        difference=_compare_logits(network, file, prepared, images.records),
        whole_difference=(
            _compare_probabilities(file, prepared, images.records) if takes_records else None
        ),
    )
    if metadata.precision == "float32" or pack is None:
        return exported
    counts = _count_errors(network, trained, pack)
    return replace(
        exported,
        images=counts.seen,
        network=counts,
        file=_count_errors(file, trained, pack),
    )


@torch.inference_mode()
def _compare_logits(
    network: nn.Module, file: ExportedNetwork, images: Tensor, records: NDArray[np.uint8]
) -> float:
    """Return the largest difference of a logit, divided by the network's largest logit.

    The file is run on a batch of one image and on one of the others.
    """
    wanted = network(images)
    parts = (slice(1), slice(1, None))
    logits = torch.cat([file.compute_logits(images[x], records[x]) for x in parts])
    return float((logits - wanted).abs().max() / wanted.abs().max())


@torch.inference_mode()
def _compare_probabilities(
    file: ExportedNetwork, images: Tensor, records: NDArray[np.uint8]
) -> float:
    """Return the largest difference between the file's probabilities and its network's softmax."""
    probabilities = torch.from_numpy(file.predict_records(records))
    return float((probabilities - file.compute_logits(images, records).softmax(1)).abs().max())


def _count_errors(network: nn.Module, trained: Checkpoint, pack: Pack) -> Counts:
    """Count the errors of a network on all validation images of a pack, on the CPU."""
    machine, split = devices.set_up_machine("cpu"), choose_split(pack, "val")
    return evaluate(
        devices.move_to_device(network, machine),
        pack.splits[split],
        trained.adapt_preprocessing(pack),
        len(trained.classes),
        machine,
        relabel=match_classes(trained, pack, split, ignore_unknown=False),
    )


def check_agreement(exported: Exported, max_error_increase: float) -> None:
    """Raise ExportMismatch if the file does not compute what the network does.

    `max_error_increase`: how many points of top-1 error int8 may cost.
    """
    if exported.network and exported.file:
        worse = exported.file.wrong1 - exported.network.wrong1
        # One image more is no evidence, however small the split.
        if worse > max(1, max_error_increase / 100 * exported.network.seen):
            raise ExportMismatch(
                f"int8 costs {100 * worse / exported.network.seen:.2f} points of top-1 error on "
                f"{exported.source}, more than {max_error_increase}: no file was kept. Allow more "
                "(--allow), or calibrate with more images (--samples)"
            )
    # The comparisons are negated so that NaN counts as a difference, too.
    if exported.whole_difference is not None and not exported.whole_difference <= TOLERANCE:
        raise ExportMismatch(
            f"the file's probabilities differ from the softmax of its own network's logits by "
            f"{exported.whole_difference:.2g} ({exported.source}): no file was kept. {REPORT}"
        )
    if exported.network is None and not exported.difference <= TOLERANCE:
        raise ExportMismatch(
            f"the file's logits differ from the network's by {exported.difference:.2g} of the "
            f"largest logit, on {exported.images} images ({exported.source}): no file was kept. "
            f"{REPORT}"
        )


REPORT = "This is a fault of the exporter or of the library that ran the file; please report it"
