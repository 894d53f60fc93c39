"""The nearest images of an index, for /v1/similar: names, labels, distances and their pictures.

`NearestImages` is what `app` needs of an index. `IndexNeighbors` is it for a folder that
`alexnet features` has made; the pictures are the records of the pack that the index was made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


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
