"""A trained network as something to ask: what is in this image?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet.data.augment import Preprocessing
from alexnet.data.batches import see
from alexnet.data.decode import NotAnImage, decode, fit, pillow_pixels
from alexnet.data.sources.limits import LARGEST_FILE
from alexnet.data.sources.regular import read_regular
from alexnet.learn import checkpoint as checkpoints
from alexnet.learn import devices
from alexnet.measure.evaluate import probabilities
from alexnet.nets.layers import See, unseen
from alexnet.portable.libraries import FORMATS

VIEWS_AT_ONCE = 64
"""Images that the network is shown together: more gain nothing and take memory."""

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


class Classifier:
    """A trained network with its classes and its preprocessing."""

    def __init__(
        self,
        network: nn.Module,
        classes: tuple[str, ...],
        preprocessing: Preprocessing,
        device: torch.device,
    ) -> None:
        self.classes, self.device = classes, device
        self.preprocessing = replace(preprocessing, pixels="rgb").to(device)
        self.network = devices.place(network, devices.Machine(device)).eval()

    def predict(
        self, images: Image | list[Image], *, top: int = 5, views: int = 1
    ) -> Prediction | list[Prediction]:
        """The `top` most probable labels of an image, or of each of a list.

        `views` is 1 (center) or 10 (section 4.1). Raises NotAnImage or OSError for a single image
        that cannot be read; in a list such an image has a Prediction with an `error`.
        """
        if not isinstance(images, list | tuple):
            return self._predictions([name_of(images)], [self._record(images)], top, views)[0]
        return list(self.stream(images, top=top, views=views))

    def stream(
        self, images: Iterable[Image], *, top: int = 5, views: int = 1
    ) -> Iterator[Prediction]:
        """Predictions in the order of the images, which are decoded while the network works."""
        for batch in self._decoded(images, self._try, views):
            names = [name_of(image) for image, record in batch if not isinstance(record, str)]
            records = [record for _, record in batch if not isinstance(record, str)]
            found = iter(self._predictions(names, records, top, views) if names else ())
            for image, record in batch:
                if isinstance(record, str):
                    yield Prediction(name_of(image), error=record)
                else:
                    yield next(found)

    def probabilities(self, images: Image | list[Image], *, views: int = 1) -> Tensor:
        """Images → probabilities N classes, averaged over the views."""
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

    def _predictions(
        self, names: Sequence[str], records: Sequence[NDArray[np.uint8]], top: int, views: int
    ) -> list[Prediction]:
        likely = self._probabilities(np.stack(records), views)
        best = likely.topk(min(top, len(self.classes)), dim=1)
        rows = zip(names, best.indices.tolist(), best.values.tolist(), strict=True)
        return [Prediction(n, tuple(self.classes[i] for i in at), tuple(p)) for n, at, p in rows]

    def _network(self, records: NDArray[np.uint8], look: See = unseen) -> Tensor:
        return self.network(see(records, self.preprocessing, 1), look).cpu()

    def _probabilities(self, records: NDArray[np.uint8], views: int) -> Tensor:
        return probabilities(self.network, see(records, self.preprocessing, views), views).cpu()

    def _records(self, images: Image | list[Image], views: int = 1) -> Iterator[NDArray[np.uint8]]:
        """The records of one image, or of many by batches. Raises what reading an image raises."""
        if not isinstance(images, list | tuple):
            yield self._record(images)[None]
            return
        for batch in self._decoded(images, self._record, views):
            yield np.stack([record for _, record in batch])

    def _decoded(
        self, images: Iterable[Image], decode: Callable[[Image], Any], views: int
    ) -> Iterator[list[tuple[Image, Any]]]:
        """Batches of (image, what `decode` made of it), in order; the next is decoded meanwhile."""
        size = max(1, VIEWS_AT_ONCE // views)
        with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode") as threads:
            for batch in _ahead(images, size, lambda image: threads.submit(decode, image)):
                yield [(image, job.result()) for image, job in batch]

    def _record(self, image: Image) -> NDArray[np.uint8]:
        how = self.preprocessing
        return fit(read(image, how.side), how.side, how.fit)

    def _try(self, image: Image) -> NDArray[np.uint8] | str:
        try:
            return self._record(image)
        except (NotAnImage, OSError) as error:
            return str(error)


def load(run: str | Path, device: str = "auto") -> Classifier:
    """The classifier of a run's folder (its `best` checkpoint, else its `last`) or of a file.

    The file is a checkpoint or what `alexnet export` made of one: .onnx, or .xml beside its .bin.
    Raises FileNotFoundError if there is none, ValueError if the file is neither.
    """
    if Path(run).suffix in FORMATS:
        return _load_portable(Path(run), device)
    checkpoint = checkpoints.load(checkpoints.find(run))
    where = devices.machine(device).device
    return Classifier(checkpoint.network(), checkpoint.classes, checkpoint.preprocessing, where)


def _load_portable(path: Path, device: str) -> Classifier:
    from alexnet.portable.running import open_portable

    if device not in ("auto", "cpu"):
        raise ValueError(f"{path} runs on the CPU, not on {device!r}: load the run for that")
    network = open_portable(path)
    card = network.card
    return Classifier(network, card.classes, card.preprocessing, torch.device("cpu"))


def read(image: Image, side: int) -> NDArray[np.uint8]:
    """The pixels of an image, upright, H W 3. Raises NotAnImage, OSError or TypeError."""
    if isinstance(image, str | Path):
        image = read_regular(image, LARGEST_FILE)
    if isinstance(image, bytes | bytearray | memoryview):
        return decode(bytes(image), upright=True, reduce_to=side).pixels
    if isinstance(image, np.ndarray):
        return _array_pixels(image)
    return pillow_pixels(image, upright=True)


def name_of(image: Image) -> str:
    """What a prediction calls an image: its path, or its kind."""
    return str(image) if isinstance(image, str | Path) else type(image).__name__


def _array_pixels(array: NDArray[Any]) -> NDArray[np.uint8]:
    gray = array.ndim == 2
    if array.dtype != np.uint8 or not (gray or (array.ndim == 3 and array.shape[2] == 3)):
        raise TypeError(
            f"an array of {array.dtype} {array.shape} was given; images are uint8, H W 3 or H W, "
            "with values from 0 to 255"
        )
    return np.repeat(array[:, :, None], 3, axis=2) if gray else array


def _ahead(items: Iterable[Any], size: int, start: Any) -> Iterator[list[tuple[Any, Any]]]:
    """Lists of (item, start(item)), one list always started ahead of the one that is used."""
    waiting: list[list[tuple[Any, Any]]] = [[]]
    for item in items:
        if len(waiting[-1]) == size:
            if len(waiting) == 2:
                yield waiting.pop(0)
            waiting.append([])
        waiting[-1].append((item, start(item)))
    yield from (batch for batch in waiting if batch)
