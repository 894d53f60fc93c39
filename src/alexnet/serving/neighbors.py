"""The nearest images of an index, for /v1/similar: names, labels, distances and their pictures.

`NearestImages` is what `app` needs of an index. `IndexNeighbors` is it for a folder that
`alexnet features` has made; the pictures are the records of the pack that the index was made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from alexnet.images.records import records_to_pictures
from alexnet.packs.pack import Pack
from alexnet.search.exact import ExactSearch
from alexnet.search.index import FeatureIndex, open_index


@dataclass(frozen=True)
class NearImage:
    """An image of the index that is near to the one that was sent."""

    position: int
    """Its position in the index."""
    name: str
    label: str | None
    """The name of its class; None if it has no label."""
    distance: float
    """Euclidean distance of its features to those of the image that was sent."""


class NearestImages(Protocol):
    """An index of images that can be searched. `find` is called by one thread at a time."""

    @property
    def layer(self) -> str:
        """The layer whose outputs are compared."""

    def __len__(self) -> int:
        """The number of images."""

    def find(self, features: NDArray[np.float32], count: int) -> list[NearImage]:
        """Return the nearest images to features in the shape of the layer, the nearest first."""

    def read_picture(self, position: int) -> NDArray[np.uint8] | None:
        """Return an image of the index, uint8 (H, W, 3); None if its pixels are not there.

        Raises IndexError if there is no image at this position.
        """


def describe_near(image: NearImage, has_pictures: bool) -> dict[str, Any]:
    """Return an image as /v1/similar gives it, with the path of its picture."""
    path = f"/v1/images/{image.position}" if has_pictures else None
    return {
        "position": image.position,
        "name": image.name,
        "label": image.label,
        "distance": image.distance,
        "image": path,
    }


class IndexNeighbors:
    """Searches an index, exactly, and shows the records of its pack, if that is there."""

    def __init__(self, index: FeatureIndex, pack: Pack | None) -> None:
        self.index, self.pack = index, pack
        self._search = ExactSearch(index.features)

    @property
    def layer(self) -> str:
        """The layer whose outputs are compared."""
        return self.index.layer

    def __len__(self) -> int:
        return len(self.index)

    def find(self, features: NDArray[np.float32], count: int) -> list[NearImage]:
        """Return the nearest images to features in the shape of the layer, the nearest first."""
        found = self._search.search(self.index.round_features(features.reshape(1, -1)), count)
        pairs = zip(found.indices[0].tolist(), found.distances[0].tolist(), strict=True)
        return [self._describe(position, distance) for position, distance in pairs]

    def _describe(self, position: int, distance: float) -> NearImage:
        label = int(self.index.labels[position])
        name = self.index.classes[label] if label >= 0 else None
        return NearImage(position, self.index.names[position], name, distance)

    def read_picture(self, position: int) -> NDArray[np.uint8] | None:
        """Return the record of an image as pixels, uint8 (size, size, 3); None without a pack.

        Raises IndexError if there is no image at this position.
        """
        split, place = self.index.locate(position)
        if self.pack is None:
            return None
        record = self.pack.splits[split].gather(np.array([place]))
        return records_to_pictures(record, self.pack.size, self.pack.pixels)[0]


def open_neighbors(path: Path, pack: Path | None = None) -> IndexNeighbors:
    """Open an index, and the pack that it was made of: `pack`, or the one that it names.

    Without a pack, neighbors have no pictures. Raises FileNotFoundError if there is no index at
    `path` or no pack at `pack`, and ValueError if one is damaged or the pack is another one.
    """
    index = open_index(path)
    try:
        return IndexNeighbors(index, index.open_pack(pack))
    except FileNotFoundError:
        if pack is not None:
            raise
        return IndexNeighbors(index, None)
