"""What the figures of a run are drawn from, computed when a figure first asks for it and kept.

`figures` makes one `Material` for a run and asks it for the network, probabilities, features and
confusions; so the images of a split go through the network once, however many figures need them.
Everything heavy is imported when it is computed.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from alexnet.evaluation.confusion import count_confusions

if TYPE_CHECKING:
    from alexnet.explaining.outputs import Outputs, Progress
    from alexnet.explaining.subject import Examples, Subject
    from alexnet.predict import Prediction

LARGEST_SEARCH = 10_000
"""Training images among which neighbors are looked for; in a larger split, evenly spaced ones."""
LABELS = 5
"""Labels of a prediction that are shown."""


class MissingDataError(Exception):
    """A figure cannot be drawn because what it shows is not there; the message says what."""


class Material:
    """What figures are drawn from, computed when first asked for and kept.

    Every property raises MissingDataError, OSError or ValueError if what it needs is missing.
    """

    def __init__(
        self,
        run: str | os.PathLike[str],
        pack: str | os.PathLike[str] | None = None,
        *,
        split: str | None = None,
        device: str = "auto",
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        """Args as those of `iterate_figures`. Nothing is read yet."""
        self.run, self._pack, self.wanted_split, self._device = Path(run), pack, split, device
        self.progress = progress

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self.run.parent if self.run.is_file() else self.run

    @functools.cached_property
    def subject(self) -> Subject:
        """The network and its images."""
        from alexnet.explaining.subject import open_subject

        return open_subject(self.run, self._pack, device=self._device)

    @functools.cached_property
    def split(self) -> str:
        """The split whose images are shown and measured."""
        return self.subject.choose_split(self.wanted_split)

    @functools.cached_property
    def outputs(self) -> Outputs:
        """Probabilities of all images of the split; features too, if that is not too many."""
        images = len(self.subject.require_pack().splits[self.split])
        return self.compute(self.split, np.arange(images), images <= LARGEST_SEARCH)

    @functools.cached_property
    def labeled(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Labels (N,) and probabilities (N, classes) of the images that have a label."""
        known = self.outputs.labels >= 0
        if not known.any():
            raise MissingDataError(f"the {self.split} images have no labels of the network")
        return self.outputs.labels[known], self.outputs.probabilities[known]

    @functools.cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Who was taken for whom: int64 (C, C)."""
        labels, likely = self.labeled
        return count_confusions(labels, likely.argmax(1), len(self.subject.classes))

    @functools.cached_property
    def searched(self) -> Outputs:
        """Features of the training images among which neighbors are found."""
        from alexnet.packs.samples import space_evenly

        splits = self.subject.require_pack().splits
        if "train" not in splits or not len(splits["train"]):
            raise MissingDataError("the pack has no training images to find neighbors among")
        indices = space_evenly(LARGEST_SEARCH, len(splits["train"]))
        return self.compute("train", indices, True)

    def compute(self, split: str, indices: NDArray[np.int64], with_features: bool) -> Outputs:
        """Run the network on the images at `indices` of a split, reporting progress."""
        from alexnet.explaining.outputs import compute_outputs

        progress: Progress | None = None
        if self.progress is not None:
            progress = functools.partial(self.progress, split)
        return compute_outputs(
            self.subject, split, indices, with_features=with_features, progress=progress
        )

    def predict(self, examples: Examples) -> NDArray[np.float32]:
        """Return the probabilities of some images: float32 (N, classes)."""
        import torch

        from alexnet.batches.views import crop_views

        subject = self.subject
        with torch.inference_mode(), subject.machine.cast():
            views = crop_views(examples.records, subject.preprocessing, 1)
            return subject.network(views).float().softmax(1).cpu().numpy()

    def name_predictions(
        self, names: Sequence[str], likely: NDArray[np.float32]
    ) -> list[Prediction]:
        """Make predictions of probabilities (N, classes): the five most probable labels."""
        from alexnet.predict import Prediction

        best = np.argsort(-likely, axis=1, kind="stable")[:, :LABELS]
        return [
            Prediction(
                name, tuple(self.subject.classes[i] for i in order), tuple(row[order].tolist())
            )
            for name, order, row in zip(names, best, likely, strict=True)
        ]

    def name_labels(self, labels: NDArray[np.int64]) -> list[str] | None:
        """Return the classes of labels, or None if an image has none."""
        return [self.subject.classes[i] for i in labels] if (labels >= 0).all() else None
