"""What a classifier says of one image: `Prediction`, its labels; `ImageFeatures`, of a layer.

`predict.classifier` makes them; commands, figures and the search read them.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from alexnet.terminal import escape_unprintable


@dataclass(frozen=True)
class Prediction:
    """The most probable labels of one image, or the reason why it could not be read.

    >>> prediction = alexnet.load("run").predict("cat.jpg", top=2)
    >>> prediction.labels[0] in ("cats", "dogs")
    True
    >>> len(prediction.probabilities)
    2
    >>> prediction.error is None
    True
    """

    name: str
    """The image's path, or the name of its type if it has no path."""
    labels: tuple[str, ...] = ()
    """Class names, the most probable first."""
    probabilities: tuple[float, ...] = ()
    """The probability of each label, from 0 to 1. Over all classes, shown or not, they sum to 1."""
    error: str | None = None
    """Why the image could not be read ("reason: detail"); None if it could."""
    unsure: float | None = None
    """The highest probability of an image that has no labels because this is below a threshold."""

    def apply_threshold(self, threshold: float) -> Prediction:
        """Return the prediction, without labels if the most probable is below `threshold`."""
        if not self.probabilities or self.probabilities[0] >= threshold:
            return self
        return Prediction(self.name, unsure=self.probabilities[0])

    def __repr__(self) -> str:
        """Return the labels with their probabilities on one line, or the error."""
        if self.error is not None:
            return f"Prediction({self.name!r}, error={self.error!r})"
        if self.unsure is not None:
            return f"Prediction({self.name!r}: unsure, {self.unsure:.1%} at most)"
        pairs = zip(self.labels, self.probabilities, strict=True)
        shown = ", ".join(f"{escape_unprintable(label)} {p:.1%}" for label, p in pairs)
        return f"Prediction({self.name!r}: {shown})"

    def _repr_html_(self) -> str:
        """Return a table of the labels for a notebook. Names are escaped."""
        name = _escape_html(self.name)
        if self.error is not None:
            return f"<p><b>{name}</b>: {_escape_html(self.error)}</p>"
        if self.unsure is not None:
            return f"<p><b>{name}</b>: unsure, {self.unsure:.1%} at most</p>"
        pairs = zip(self.labels, self.probabilities, strict=True)
        rows = (
            f"<tr><td style='text-align:left'>{_escape_html(label)}</td><td>{p:.1%}</td>"
            f"<td style='text-align:left'><meter min='0' max='1' value='{p:.4f}'></meter></td></tr>"
            for label, p in pairs
        )
        return f"<table><caption>{name}</caption>{''.join(rows)}</table>"

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as `alexnet predict --format json` prints it, one object per line.

        An image that could be read, with the most probable label first::

            {"image": "cat.jpg", "labels": [{"label": "tabby", "probability": 0.71}, …]}

        An image that could not be read::

            {"image": "bad.jpg", "error": "truncated: Premature end of JPEG file"}

        An image whose highest probability is below the threshold::

            {"image": "dim.jpg", "labels": [], "unsure": true, "probability": 0.41}
        """
        if self.error is not None:
            return {"image": self.name, "error": self.error}
        if self.unsure is not None:
            facts = {"labels": [], "unsure": True, "probability": self.unsure}
            return {"image": self.name, **facts}
        pairs = zip(self.labels, self.probabilities, strict=True)
        return {
            "image": self.name,
            "labels": [{"label": label, "probability": p} for label, p in pairs],
        }


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """The output of a layer for one image, or the reason why the image could not be read."""

    name: str
    """The image's path, or the name of its type if it has no path."""
    features: Tensor | None = None
    """float32, in the shape of the layer's output for one image."""
    record: NDArray[np.uint8] | None = None
    """The image as it is packed, of which the network was given the center view."""
    error: str | None = None
    """Why the image could not be read ("reason: detail"); None if it could."""


def _escape_html(text: str) -> str:
    return html.escape(escape_unprintable(text))
