"""`Classifier`: a trained network with its classes and its preprocessing, which predicts images.

Images become records exactly as in packing (`images.prepare`), in separate processes, so that an
image that crashes or hangs its decoder affects no other image. Records become probabilities exactly
as in evaluation, in batches of the same size. So the predictions for the source files of a pack
are bit for bit equal to those of `alexnet evaluate` on the pack. The prediction for a single image
can differ by rounding from the prediction in a batch, because matrix products with different
numbers of rows are summed in different orders.

`predict.loading` makes classifiers; so do the search and the server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet import device as devices
from alexnet.batches.preprocessing import Preprocessing
from alexnet.batches.transfer import prefetch
from alexnet.batches.views import crop_views
from alexnet.device import Machine
from alexnet.evaluation.counts import VIEWS_PER_BATCH, predict_probabilities
from alexnet.images.decoder_group import count_cores
from alexnet.images.decoder_pool import DecoderPool
from alexnet.images.decoder_process import Item
from alexnet.images.memory import MAX_PIXELS
from alexnet.images.preparation import PreparationResult, RecordOptions
from alexnet.nets.layers import Hook, pass_through
from alexnet.predict.images import Image, make_error, make_item, name_image
from alexnet.predict.prediction import ImageFeatures, Prediction
from alexnet.sources.entry import Entry, Skipped
from alexnet.sources.names import quote_names
from alexnet.terminal import format_count


class DecodedImages:
    """Images in order, the outcome of decoding each, and the records of the readable ones."""

    def __init__(self, record_shape: tuple[int, ...]) -> None:
        self.images: list[Image] = []
        self.outcomes: list[PreparationResult] = []
        self.readable: list[NDArray[np.uint8]] = []
        self._record_shape = record_shape

    def add(self, image: Image, outcome: PreparationResult, record: NDArray[np.uint8]) -> None:
        """Add an image. If it was readable, its record is copied."""
        self.images.append(image)
        self.outcomes.append(outcome)
        if not outcome.reason:
            self.readable.append(record.reshape(self._record_shape).copy())

    @property
    def records(self) -> NDArray[np.uint8]:
        """The records of the readable images: uint8 (N, *record_shape)."""
        if not self.readable:
            return np.empty((0, *self._record_shape), np.uint8)
        return np.stack(self.readable)


class Classifier:
    """A trained network with its classes and its preprocessing. Usually made by `alexnet.load`.

    Paths and encoded bytes are decoded in separate processes. These start with the first such image
    and end with `close`, with this object, or with the program. Several threads may use a
    classifier at once. All results are on the CPU.

    An image is a path, the bytes of an image file, a file that is open for reading bytes, a PIL
    image, or uint8 values from 0 to 255: a NumPy array (height, width, 3), RGB, or (height, width),
    gray, or a torch tensor (3, height, width).

    >>> classifier = alexnet.load("run")
    >>> classifier
    Classifier(2 classes: 'cats', 'dogs'; 28×28 pixels of images of 32×32; on cpu)
    >>> [prediction.name for prediction in classifier.predict(["cat.jpg", "dog.jpg"])]
    ['cat.jpg', 'dog.jpg']
    >>> classifier.probabilities(["cat.jpg", "dog.jpg"]).shape
    torch.Size([2, 2])
    >>> classifier.features("cat.jpg", "conv3").shape
    torch.Size([1, 64, 7, 7])
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
        """Move the network to the device.

        Images with more than `max_pixels` pixels are not read. A process that needs more than
        `timeout` seconds for an image is ended, and the image counts as unreadable.
        """
        self.classes, self.machine, self.device = classes, machine, machine.device
        self.preprocessing = preprocessing = preprocessing.to(machine.device)
        self.network = devices.move_to_device(network, machine).eval()
        self.options = RecordOptions(
            preprocessing.side,
            preprocessing.fit,
            preprocessing.pixels,
            preprocessing.upright,
            max_pixels,
        )
        self._decoders = DecoderPool(self.options, count_cores(), timeout)

    def __repr__(self) -> str:
        """Return the classes and the sizes on one line."""
        size, side = self.preprocessing.crop, self.preprocessing.side
        return (
            f"Classifier({format_count(len(self.classes), 'class')}: {quote_names(self.classes)}; "
            f"{size}×{size} pixels of images of {side}×{side}; on {self.device})"
        )

    def __enter__(self) -> Classifier:
        """Return the classifier; the end of the `with` block closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the decoding processes. Predicting again would start new ones."""
        self._decoders.close()

    @overload
    def predict(  # type: ignore[overload-overlap]
        self, images: list[Any] | tuple[Any, ...], *, top: int = 5, views: int = 1
    ) -> list[Prediction]: ...

    @overload
    def predict(self, images: object, *, top: int = 5, views: int = 1) -> Prediction: ...

    def predict(
        self, images: Image | list[Image], *, top: int = 5, views: int = 1
    ) -> Prediction | list[Prediction]:
        """Predict the `top` most probable labels of an image, or of each image of a list.

        `views` is the number of crops whose probabilities are averaged: 1 (the center), 10 (section
        4.1) or 5 (the ten without mirror images).

        For a single image that cannot be read, raises NotAnImage if its content is no image, or
        OSError if the file cannot be opened. In a list, such an image gets a Prediction with an
        `error`. Raises TypeError for an object that is no image.
        """
        if isinstance(images, list | tuple):
            return list(self.stream(images, top=top, views=views))
        likely = self.probabilities(images, views=views)
        return self._select_labels([name_image(images)], likely, top)[0]

    def stream(
        self, images: Iterable[Image], *, top: int = 5, views: int = 1
    ) -> Iterator[Prediction]:
        """Yield predictions in the order of the images: see `predict`.

        The next images are decoded while the network works on a batch, so `images` can be endless.
        """
        for decoded, _ in prefetch(self._decode(images, views)):
            pairs = list(zip(decoded.images, decoded.outcomes, strict=True))
            names = [name_image(image) for image, outcome in pairs if not outcome.reason]
            likely = self._predict_records(decoded.records, views)
            predictions = iter(self._select_labels(names, likely, top))
            for image, outcome in pairs:
                yield _describe_failure(image, outcome) if outcome.reason else next(predictions)

    def probabilities(self, images: Image | list[Image], *, views: int = 1) -> Tensor:
        """Return the probabilities of all classes, averaged over the views: float32 (N, classes).

        Raises what `predict` raises for a single image, also for an image of a list.
        """
        records = self._iterate_records(images, views)
        return torch.cat([self._predict_records(x, views) for x in records])

    @torch.inference_mode()
    def logits(self, images: Image | list[Image]) -> Tensor:
        """Return the logits for the center views: float32 (N, classes).

        Raises what `probabilities` raises.
        """
        return torch.cat([self._run_network(x) for x in self._iterate_records(images)])

    @torch.inference_mode()
    def features(self, images: Image | list[Image], layer: str = "fc7") -> Tensor:
        """Return the output of a layer for the center views: float32 (N, …).

        Raises ValueError, with the names of the layers, if the network has no such layer, and what
        `probabilities` raises.
        """
        return torch.cat([self.run_layer(x, layer) for x in self._iterate_records(images)])

    def stream_features(
        self, images: Iterable[Image], layer: str = "fc7"
    ) -> Iterator[ImageFeatures]:
        """Yield the output of a layer for the center view of each image, in their order.

        An image that cannot be read gets an `error`. Raises ValueError as `features` does.
        """
        for decoded, _ in prefetch(self._decode(images, 1)):
            records = decoded.records
            outputs = self.run_layer(records, layer) if len(records) else ()
            rows = zip(outputs, records, strict=True)
            for image, outcome in zip(decoded.images, decoded.outcomes, strict=True):
                if outcome.reason:
                    error = f"{outcome.reason}: {outcome.detail}"
                    yield ImageFeatures(name_image(image), error=error)
                else:
                    yield ImageFeatures(name_image(image), *next(rows))

    def list_layers(self) -> dict[str, tuple[int, ...]]:
        """Return the names of the network's layers, in order, with the shapes of their outputs.

        The shapes are those for one image, without the batch.
        """
        shapes: dict[str, tuple[int, ...]] = {}

        def note_shape(name: str, x: Tensor) -> Tensor:
            shapes[name] = tuple(x.shape[1:])
            return x

        with torch.inference_mode():
            self._run_network(np.zeros((1, *self.options.record_shape), np.uint8), note_shape)
        return shapes

    @torch.inference_mode()
    def run_layer(self, records: NDArray[np.uint8], layer: str) -> Tensor:
        """Return the output of a layer for the center views of records: float32 (N, …).

        Records are uint8 (N, *record_shape). Raises ValueError, with the names of the layers, if
        the network has no such layer.
        """
        outputs: dict[str, Tensor] = {}

        def keep(name: str, x: Tensor) -> Tensor:
            outputs[name] = x.clone() if name == layer else x[:0]  # of the others, only the name
            return x

        self._run_network(records, keep)
        if layer not in outputs:
            raise ValueError(f"the network has no layer {layer!r}; it has {', '.join(outputs)}")
        return outputs[layer].float().cpu().contiguous()

    def _select_labels(self, names: list[str], likely: Tensor, top: int) -> list[Prediction]:
        """Make the predictions of named images from their probabilities (N, classes)."""
        best = likely.topk(min(top, len(self.classes)), dim=1)
        rows = zip(names, best.indices.tolist(), best.values.tolist(), strict=True)
        return [
            Prediction(name, tuple(self.classes[i] for i in indices), tuple(values))
            for name, indices, values in rows
        ]

    def _run_network(self, records: NDArray[np.uint8], hook: Hook = pass_through) -> Tensor:
        with self.machine.cast():
            return self.network(crop_views(records, self.preprocessing, 1), hook).float().cpu()

    def _predict_records(self, records: NDArray[np.uint8], views: int) -> Tensor:
        if not len(records):
            return torch.empty(0, len(self.classes))
        with self.machine.cast():
            images = crop_views(records, self.preprocessing, views)
            return predict_probabilities(self.network, images, views).cpu()

    def _iterate_records(
        self, images: Image | list[Image], views: int = 1
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield the records of one image, or of a list in batches; raise for unreadable images."""
        if isinstance(images, list | tuple):
            batches = (decoded for decoded, _ in prefetch(self._decode(images, views)))
        else:
            batches = (decoded for decoded in self._decode([images], views))
        for decoded in batches:
            for image, outcome in zip(decoded.images, decoded.outcomes, strict=True):
                if outcome.reason:
                    raise make_error(image, outcome)
            yield decoded.records

    def _decode(self, images: Iterable[Image], views: int) -> Iterator[DecodedImages]:
        """Decode images into batches with as many readable images as evaluation takes at a time.

        Unreadable images stay in their place in the order and do not count.
        """
        size, shape = max(1, VIEWS_PER_BATCH // views), self.options.record_shape
        waiting: deque[Image] = deque()  # images that the decoders were given, in order

        def items() -> Iterator[Item]:
            for image in images:
                # the bytes of an entry, which may be large, are not kept until its batch is full
                waiting.append(image.name if isinstance(image, Entry) else image)
                yield make_item(image, self.options.upright)

        decoded = DecodedImages(shape)
        for item, outcome, record in self._decoders.prepare(items()):
            if isinstance(item, Skipped):
                outcome = PreparationResult("", item.reason, item.detail)
            assert outcome is not None
            decoded.add(waiting.popleft(), outcome, record)
            if len(decoded.readable) == size:
                yield decoded
                decoded = DecodedImages(shape)
        if decoded.images:
            yield decoded


def _describe_failure(image: Image, outcome: PreparationResult) -> Prediction:
    return Prediction(name_image(image), error=f"{outcome.reason}: {outcome.detail}")
