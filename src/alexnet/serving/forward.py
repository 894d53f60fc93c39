"""What the network says of a batch of records: probabilities, a layer's output, an explanation.

`BatchForward` is called by the thread of `batcher` with questions of several clients, and by nobody
else, so the network has one user. Records become probabilities with the functions that
`predict.Classifier` uses, in one forward pass for all questions with the same number of views. A
heat map needs a gradient (`explaining.heat_maps`) and is computed image by image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from alexnet.batches.views import crop_views
from alexnet.evaluation.counts import predict_probabilities
from alexnet.explaining.heat_maps import compute_grad_cam
from alexnet.predict import Classifier


@dataclass(frozen=True, eq=False)
class Question:
    """A record, and what is asked of it."""

    record: NDArray[np.uint8]
    """uint8 (*record_shape)."""
    views: int = 1
    """Crops whose probabilities are averaged: 1, 5 or 10."""
    layer: str | None = None
    """The layer whose output for the center view is wanted."""
    explain: bool = False
    """Whether the heat map and the first-layer responses are wanted."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """What the network looked at in the center view of an image. All arrays are float32."""

    label: int
    """The class that the heat map is for: the most probable one."""
    layer: str | None
    """The layer that the heat map was computed at."""
    heat: NDArray[np.float32] | None
    """Grad-CAM, (h, w), ≥ 0; None if the network gives no gradient."""
    first_layer: str | None
    responses: NDArray[np.float32] | None
    """Output of the first layer, (channels, h, w); None if the network does not show it."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What was asked for of one image; the rest is None."""

    probabilities: Tensor
    """float32 (classes,)."""
    features: NDArray[np.float32] | None = None
    """The output of `Question.layer`, in its shape for one image."""
    explanation: Explanation | None = None


class BatchForward:
    """Answers questions of several images with few forward passes.

    `layers` are the names of the network's layers with the shapes of their outputs for one image;
    of an exported file only the last is known.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.layers = self._find_layers()
        maps = [name for name, shape in self.layers.items() if _is_map(name, shape)]
        self.heat_layer = maps[-1] if maps else None
        """Where the heat map is computed: the last convolution, conv5 in the paper's network."""
        self.first_layer = maps[0] if maps else None

    def __call__(self, questions: list[Question]) -> list[Answer]:
        """Answer all questions, in their order."""
        answers: dict[int, Answer] = {}
        for views in sorted({question.views for question in questions}):
            alike = [i for i, question in enumerate(questions) if question.views == views]
            found = self._answer_alike([questions[i] for i in alike], views)
            answers.update(zip(alike, found, strict=True))
        return [answers[i] for i in range(len(questions))]

    def _find_layers(self) -> dict[str, tuple[int, ...]]:
        """Run the network once on black pixels, which also warms it up; return its layers."""
        shapes: dict[str, tuple[int, ...]] = {}

        def note(name: str, x: Tensor) -> Tensor:
            shapes[name] = tuple(x.shape[1:])
            return x

        record = np.zeros((1, *self.classifier.options.record_shape), np.uint8)
        with torch.inference_mode(), self.classifier.machine.cast():
            self.classifier.network(crop_views(record, self.classifier.preprocessing, 1), note)
        return shapes

    def _answer_alike(self, questions: Sequence[Question], views: int) -> list[Answer]:
        """Answer questions with the same number of views in one forward pass."""
        records = np.stack([question.record for question in questions])
        wanted = {question.layer for question in questions}
        wanted |= {self.first_layer for question in questions if question.explain}
        if views > 1:
            wanted.clear()  # layers and explanations are of the center view
        likely, outputs = self._run_network(records, views, wanted)
        return [
            Answer(
                likely[row],
                outputs[q.layer][row].numpy() if q.layer in outputs else None,
                self._explain(records, row, likely, outputs) if q.explain and views == 1 else None,
            )
            for row, q in enumerate(questions)
        ]

    @torch.inference_mode()
    def _run_network(
        self, records: NDArray[np.uint8], views: int, wanted: set[str | None]
    ) -> tuple[Tensor, dict[str | None, Tensor]]:
        """Return the probabilities (N, classes) and the wanted layers' outputs, on the CPU."""
        outputs: dict[str | None, Tensor] = {}
        network = self.classifier.network

        def keep(name: str, x: Tensor) -> Tensor:
            if name in wanted:
                outputs[name] = x.float().cpu().contiguous().clone()
            return x

        with self.classifier.machine.cast():
            images = crop_views(records, self.classifier.preprocessing, views)
            if views > 1:
                return predict_probabilities(network, images, views).cpu(), outputs
            return F.softmax(network(images, keep).float(), dim=1).cpu(), outputs

    def _explain(
        self,
        records: NDArray[np.uint8],
        row: int,
        likely: Tensor,
        outputs: dict[str | None, Tensor],
    ) -> Explanation:
        """Explain the most probable label of one image of a batch."""
        label = int(likely[row].argmax())
        responses = outputs[self.first_layer][row].numpy() if self.first_layer in outputs else None
        heat = None
        if self.heat_layer is not None:
            labels = torch.tensor([label], device=self.classifier.device)
            with self.classifier.machine.cast():
                images = crop_views(records[row : row + 1], self.classifier.preprocessing, 1)
                network = self.classifier.network
                (heat,) = compute_grad_cam(network, images, labels, self.heat_layer)
        return Explanation(label, self.heat_layer, heat, self.first_layer, responses)


def _is_map(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a layer is a convolution whose output still has a height and a width."""
    return len(shape) == 3 and shape[1] > 1 and name.startswith(("conv", "local"))
