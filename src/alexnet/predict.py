"""A trained network as something to ask: what is in this image?

Images become records exactly as in packing (`data.prepare`), in processes that may crash or hang
without harm. Records become probabilities exactly as in evaluating, in batches of the same size:
what is predicted of the files that a pack was made of equals, bit for bit, what `evaluate` finds
on the pack. The prediction of one image alone can differ from that in a batch by rounding, since
a product of matrices is computed in another order for another number of rows.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet import checkpoint as checkpoints
from alexnet import device as devices
from alexnet.batches.augment import Preprocessing
from alexnet.batches.batches import crop_views
from alexnet.device import Machine
from alexnet.evaluation.counts import VIEWS_AT_ONCE, probabilities
from alexnet.exporting.libraries import FORMATS
from alexnet.images.decode import MAX_PIXELS, NotAnImage, pillow_pixels
from alexnet.images.decoders import Decoders
from alexnet.images.prepare import Options, Outcome
from alexnet.images.workers import Item
from alexnet.nets.layers import Hook, pass_through
from alexnet.packing.pack import count_cores
from alexnet.sources.entry import UNLABELED, Entry, Skipped

Image = Any
"""A path, encoded bytes, a PIL image, or an array uint8 H W 3 or H W."""


@dataclass(frozen=True)
class Prediction:
    """The labels of one image, the most probable first; or why there are none."""

    name: str
    labels: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        if self.error is not None:
            return {"image": self.name, "error": self.error}
        pairs = zip(self.labels, self.probabilities, strict=True)
        return {
            "image": self.name,
            "labels": [{"label": label, "probability": p} for label, p in pairs],
        }


class Batch:
    """Images in order, what became of each, and the records of those that could be read."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.images: list[Image] = []
        self.outcomes: list[Outcome] = []
        self.readable: list[NDArray[np.uint8]] = []
        self._shape = shape

    def add(self, image: Image, outcome: Outcome, record: NDArray[np.uint8]) -> None:
        """Add an image; its record is copied if there is one."""
        self.images.append(image)
        self.outcomes.append(outcome)
        if not outcome.reason:
            self.readable.append(record.reshape(self._shape).copy())

    @property
    def records(self) -> NDArray[np.uint8]:
        """N record…"""
        return np.stack(self.readable) if self.readable else np.empty((0, *self._shape), np.uint8)


class Classifier:
    """A trained network with its classes and its preprocessing.

    Paths and encoded bytes are decoded in processes that start with the first of them and end with
    `close`, with this object or with the program. Several threads may ask at once.
    """

    def __init__(
        self,
        network: nn.Module,
        classes: tuple[str, ...],
        preprocessing: Preprocessing,
        machine: Machine,
        *,
        max_pixels: int = MAX_PIXELS,
        timeout: float = 30.0,
    ) -> None:
        self.classes, self.machine, self.device = classes, machine, machine.device
        self.preprocessing = preprocessing = preprocessing.to(machine.device)
        self.network = devices.place(network, machine).eval()
        self.options = Options(
            preprocessing.side,
            preprocessing.fit,
            preprocessing.pixels,
            preprocessing.upright,
            max_pixels,
        )
        self._decoders = Decoders(self.options, count_cores(), timeout)

    def __enter__(self) -> Classifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the decoding processes. The next image would start others."""
        self._decoders.close()

    def predict(
        self, images: Image | list[Image], *, top: int = 5, views: int = 1
    ) -> Prediction | list[Prediction]:
        """The `top` most probable labels of an image, or of each of a list.

        `views` is 1 (center) or 10 (section 4.1). Raises NotAnImage or OSError for a single image
        that cannot be read; in a list such an image has a Prediction with an `error`.
        """
        if isinstance(images, list | tuple):
            return list(self.stream(images, top=top, views=views))
        likely = self.probabilities(images, views=views)
        return self._predictions([name_of(images)], likely, top)[0]

    def stream(
        self, images: Iterable[Image], *, top: int = 5, views: int = 1
    ) -> Iterator[Prediction]:
        """Predictions in the order of the images, which are decoded while the network works."""
        for batch in _ahead(self._batches(images, views)):
            pairs = list(zip(batch.images, batch.outcomes, strict=True))
            names = [name_of(image) for image, outcome in pairs if not outcome.reason]
            likely = self._probabilities(batch.records, views)
            found = iter(self._predictions(names, likely, top))
            for image, outcome in pairs:
                yield _failure(image, outcome) if outcome.reason else next(found)

    def probabilities(self, images: Image | list[Image], *, views: int = 1) -> Tensor:
        """Images → probabilities N classes, averaged over the views, on the CPU."""
        return torch.cat([self._probabilities(x, views) for x in self._records(images, views)])

    @torch.inference_mode()
    def logits(self, images: Image | list[Image]) -> Tensor:
        """Images → logits N classes of the center view, on the CPU."""
        return torch.cat([self._network(x) for x in self._records(images)])

    @torch.inference_mode()
    def features(self, images: Image | list[Image], layer: str = "fc7") -> Tensor:
        """Images → what a named layer puts out for the center view, N …, on the CPU.

        Raises ValueError, with the names there are, for a layer that the network does not have.
        """
        return torch.cat([self._features(x, layer) for x in self._records(images)])

    def _features(self, records: NDArray[np.uint8], layer: str) -> Tensor:
        found: dict[str, Tensor] = {}

        def keep(name: str, x: Tensor) -> Tensor:
            found[name] = x.clone() if name == layer else x[:0]
            return x

        self._network(records, keep)
        if layer not in found:
            raise ValueError(f"the network has no layer {layer!r}; it has {', '.join(found)}")
        return found[layer].float().cpu().contiguous()

    def _predictions(self, names: list[str], likely: Tensor, top: int) -> list[Prediction]:
        best = likely.topk(min(top, len(self.classes)), dim=1)
        rows = zip(names, best.indices.tolist(), best.values.tolist(), strict=True)
        return [Prediction(n, tuple(self.classes[i] for i in at), tuple(p)) for n, at, p in rows]

    def _network(self, records: NDArray[np.uint8], hook: Hook = pass_through) -> Tensor:
        with self.machine.cast():
            return self.network(crop_views(records, self.preprocessing, 1), hook).float().cpu()

    def _probabilities(self, records: NDArray[np.uint8], views: int) -> Tensor:
        if not len(records):
            return torch.empty(0, len(self.classes))
        with self.machine.cast():
            images = crop_views(records, self.preprocessing, views)
            return probabilities(self.network, images, views).cpu()

    def _records(self, images: Image | list[Image], views: int = 1) -> Iterator[NDArray[np.uint8]]:
        """The records of one image, or of many by batches. Raises what reading an image raises."""
        alone = not isinstance(images, list | tuple)
        batches = self._batches([images] if alone else images, views)
        for batch in batches if alone else _ahead(batches):
            for image, outcome in zip(batch.images, batch.outcomes, strict=True):
                if outcome.reason:
                    raise _error(image, outcome)
            yield batch.records

    def _batches(self, images: Iterable[Image], views: int) -> Iterator[Batch]:
        """As many readable images as are evaluated at once, and the unreadable between them."""
        size, shape = max(1, VIEWS_AT_ONCE // views), self.options.record_shape
        given: deque[Image] = deque()

        def items() -> Iterator[Item]:
            for image in images:
                given.append(image)
                yield _item(image, self.options.upright)

        batch = Batch(shape)
        for item, outcome, record in self._decoders.prepare(items()):
            if isinstance(item, Skipped):
                outcome = Outcome("", item.reason, item.detail)
            assert outcome is not None
            batch.add(given.popleft(), outcome, record)
            if len(batch.readable) == size:
                yield batch
                batch = Batch(shape)
        if batch.images:
            yield batch


def load(run: str | Path, device: str = "auto", *, max_pixels: int = MAX_PIXELS) -> Classifier:
    """The classifier of a run's folder (its `best` checkpoint, else its `last`) or of a file.

    The file is a checkpoint or what `alexnet export` made of one: .onnx, or .xml beside its .bin.
    Images of more than `max_pixels` are not read. Raises FileNotFoundError if there is no such run
    or file, ValueError if the file is neither.
    """
    if Path(run).suffix in FORMATS:
        return _load_portable(Path(run), device, max_pixels)
    checkpoint = checkpoints.load(checkpoints.find(run))
    facts = checkpoint.network(), checkpoint.classes, checkpoint.preprocessing
    return Classifier(*facts, devices.machine(device), max_pixels=max_pixels)


def _load_portable(path: Path, device: str, max_pixels: int) -> Classifier:
    from alexnet.exporting.running import open_portable

    if device not in ("auto", "cpu"):
        raise ValueError(f"{path} runs on the CPU, not on {device!r}: load the run for that")
    network = open_portable(path)
    card = network.card
    machine = Machine(torch.device("cpu"))
    return Classifier(network, card.classes, card.preprocessing, machine, max_pixels=max_pixels)


def name_of(image: Image) -> str:
    """What a prediction calls an image: its path, or its kind."""
    return str(image) if isinstance(image, str | Path) else type(image).__name__


def _item(image: Image, upright: bool) -> Item:
    """An image as what is made into a record. Raises TypeError for what is no image."""
    name = name_of(image)
    if isinstance(image, str | Path):
        return Entry("", name, UNLABELED, Path(image))
    if isinstance(image, bytes | bytearray | memoryview):
        return Entry("", "", UNLABELED, bytes(image))
    if isinstance(image, np.ndarray):
        return Entry("", "", UNLABELED, _checked(image))
    try:
        return Entry("", "", UNLABELED, pillow_pixels(image, upright=upright))
    except NotAnImage as error:
        return Skipped("", name, error.reason, str(error))


def _checked(array: NDArray[Any]) -> NDArray[np.uint8]:
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if array.dtype != np.uint8 or not shaped or not array.size:
        raise TypeError(
            f"an array of {array.dtype} {array.shape} was given; images are uint8, H W 3 or H W, "
            "with values from 0 to 255"
        )
    return array


def _failure(image: Image, outcome: Outcome) -> Prediction:
    return Prediction(name_of(image), error=f"{outcome.reason}: {outcome.detail}")


def _error(image: Image, outcome: Outcome) -> Exception:
    """What is raised for an image that was asked for alone, or for more than labels."""
    if outcome.reason != "unreadable":
        return NotAnImage(outcome.reason, outcome.detail)
    kind = OSError if os.path.lexists(image) else FileNotFoundError
    return kind(f"{image}: {outcome.detail}")


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The batches, each made while the one before it is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="images") as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch
