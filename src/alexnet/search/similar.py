"""The images of an index that a network considers most similar to other images (section 6.1).

    images ─ Classifier.stream_features ─▶ features ─ ExactSearch ─▶ nearest rows ─▶ SimilarImages

`alexnet similar` and the page call this module. It decodes, preprocesses and computes the features
of the images as was done for the index, and refuses a network that is not the index's own, because
features of two networks have nothing to do with each other.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet import checkpoint as checkpoints
from alexnet import device as devices
from alexnet.evaluation.counts import VIEWS_PER_BATCH
from alexnet.images.memory import MAX_PIXELS
from alexnet.predict import Classifier, Image, ImageFeatures
from alexnet.search.build import refer_to_checkpoint
from alexnet.search.code_files import open_codes
from alexnet.search.codes import BinaryCodes
from alexnet.search.distances import Metric
from alexnet.search.exact import ExactSearch
from alexnet.search.index import FeatureIndex, open_index


@dataclass(frozen=True)
class SimilarImage:
    """An image of an index, and how far it is from a query."""

    index: int
    """Its position in the index."""
    name: str
    """Its path in the source of the pack."""
    split: str
    label: str | None
    """The name of its class; None for an unlabeled image."""
    distance: float
    """Euclidean, or 1 minus the cosine, in the features of the index's layer."""

    def to_dict(self) -> dict[str, Any]:
        """Return the image as it stands in the output of `alexnet similar --format json`."""
        return {
            "image": self.name,
            "split": self.split,
            "index": self.index,
            "label": self.label,
            "distance": self.distance,
        }


@dataclass(frozen=True, eq=False)
class SimilarImages:
    """The images most similar to a query, or the reason why the query could not be read."""

    name: str
    """The query's path, or the name of its type if it has no path."""
    similar: tuple[SimilarImage, ...] = ()
    """The nearest first."""
    record: NDArray[np.uint8] | None = field(default=None, repr=False)
    """The query as it is packed; None if it could not be read."""
    error: str | None = None
    """Why the query could not be read ("reason: detail"); None if it could."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as `alexnet similar --format json` prints it, one object per line.

        A query that could be read, and one that could not::

            {"image": "cat.jpg", "similar": [{"image": "train/cat/7.jpg", "distance": 3.1, …}, …]}
            {"image": "bad.jpg", "error": "truncated: the file ends early"}
        """
        if self.error is not None:
            return {"image": self.name, "error": self.error}
        return {"image": self.name, "similar": [image.to_dict() for image in self.similar]}


class SimilarImageSearch:
    """Finds similar images in an index. Usually made by `open_search`.

    Several threads may use it at once.
    """

    def __init__(
        self,
        classifier: Classifier,
        index: FeatureIndex,
        metric: Metric = "euclidean",
        codes: bool = False,
    ) -> None:
        """`classifier` must have the network that made the index; this is not checked here.

        `codes`: search in the binary codes of the index and compare features of candidates only.
        Raises FileNotFoundError if it has none, ValueError if they are damaged.
        """
        self.classifier, self.index = classifier, index
        self._search: ExactSearch | BinaryCodes = (
            open_codes(index, metric) if codes else ExactSearch(index.features, metric)
        )

    def __enter__(self) -> SimilarImageSearch:
        """Return the search; the end of the `with` block closes the classifier."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        self.classifier.close()

    def stream(
        self, images: Iterable[Image], k: int = 6, split: str | None = None
    ) -> Iterator[SimilarImages]:
        """Yield the k most similar images of each image, in the order of the images.

        `split` limits the search to the images of that split. An image that cannot be read gets an
        `error`. Raises ValueError for a split that is not in the index, and for k below 1.
        """
        within = self._find_range(split)
        features = iter(self.classifier.stream_features(images, self.index.layer))
        while batch := list(itertools.islice(features, VIEWS_PER_BATCH)):
            yield from self._search_batch(batch, k, within)

    def _find_range(self, split: str | None) -> range | None:
        """Return the indices of a split; None for all images."""
        if split is None:
            return None
        if split not in self.index.ranges:
            raise ValueError(
                f"{self.index.path} has no images of {split}; it has {', '.join(self.index.ranges)}"
            )
        return self.index.ranges[split]

    def _search_batch(
        self, batch: list[ImageFeatures], k: int, within: range | None
    ) -> Iterator[SimilarImages]:
        rows = [x.features.flatten().numpy() for x in batch if x.features is not None]
        queries = np.stack(rows) if rows else np.empty((0, self.index.dimensions), np.float32)
        found = self._search.search(self.index.round_features(queries), k, within)
        pairs = iter(zip(found.indices.tolist(), found.distances.tolist(), strict=True))
        for image in batch:
            if image.error is not None:
                yield SimilarImages(image.name, error=image.error)
                continue
            similar = tuple(map(self._describe, *next(pairs)))
            yield SimilarImages(image.name, similar, image.record)

    def _describe(self, index: int, distance: float) -> SimilarImage:
        """Describe the image at `index`."""
        label = int(self.index.labels[index])
        return SimilarImage(
            index=index,
            name=self.index.names[index],
            split=self.index.locate(index)[0],
            label=self.index.classes[label] if label >= 0 else None,
            distance=distance,
        )


def open_search(
    run: str | os.PathLike[str],
    index: str | Path | FeatureIndex,
    *,
    metric: Metric = "euclidean",
    codes: bool = False,
    device: str = "auto",
    max_pixels: int = MAX_PIXELS,
) -> SimilarImageSearch:
    """Open an index for searching with images, and the network that made it.

    Args:
        run: a run's folder (whichever of its `best` and `last` checkpoints made the index) or a
            checkpoint file.
        index: an index, or its folder.
        metric: euclidean, or cosine, which ignores the length of the feature vectors.
        codes: search in the binary codes that `train_codes` made: faster, and not quite exact.
        device: of the network: auto, cpu, cuda, or cuda:1 for the second GPU.
        max_pixels: images with more pixels are not read.

    Raises FileNotFoundError if the run, the index or its codes are missing, ValueError if the index
    is damaged or was made by another network.

    >>> with alexnet.open_search("run", "photos.index") as search:
    ...     found = list(search.stream(["cat.jpg", "dog.jpg"], k=1))
    >>> [len(result.similar) for result in found]
    [1, 1]
    """
    index = index if isinstance(index, FeatureIndex) else open_index(index)
    trained = checkpoints.load(find_checkpoint_of(run, index))
    parts = trained.build_network(), trained.classes, trained.preprocessing
    machine = devices.set_up_machine(device)
    classifier = Classifier(*parts, machine, max_pixels=max_pixels)
    return SimilarImageSearch(classifier, index, metric, codes)


def find_checkpoint_of(run: str | os.PathLike[str], index: FeatureIndex) -> Path:
    """Return the checkpoint file of a run whose network made an index.

    Raises FileNotFoundError if the run has no checkpoint, ValueError if none made the index.
    """
    wanted = index.metadata.origin.checkpoint
    paths = {checkpoints.find(run, names) for names in (("best", "last"), ("last", "best"))}
    for path in sorted(paths):
        if refer_to_checkpoint(path).sha256 == wanted.sha256:
            return path
    raise ValueError(
        f"{index.path} was made by another network than that of {run}: by {wanted.path} as it was "
        f"then. Name that checkpoint, or make an index of this network: alexnet features {run} "
        "PACK INDEX"
    )


def find_similar(
    run: str | os.PathLike[str],
    index: str | Path | FeatureIndex,
    images: list[Image],
    k: int = 6,
    *,
    split: str | None = None,
    metric: Metric = "euclidean",
    codes: bool = False,
    device: str = "auto",
) -> list[SimilarImages]:
    """Find the k images of an index that are most similar to each of some images.

    `images` are paths, bytes, PIL images or arrays. See `open_search` and
    `SimilarImageSearch.stream` for the other arguments and the errors. For more than one call,
    `open_search` once: it keeps the network, the decoders and the norms of the features.

    >>> found = alexnet.find_similar("run", "photos.index", ["cat.jpg"], k=3)[0]
    >>> found.name, len(found.similar)
    ('cat.jpg', 3)
    """
    with open_search(run, index, metric=metric, codes=codes, device=device) as search:
        return list(search.stream(images, k, split))
