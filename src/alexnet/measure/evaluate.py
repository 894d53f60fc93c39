"""Top-1 and top-5 error over exactly the images there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet.data.augment import Preprocessing
from alexnet.data.batches import views
from alexnet.data.dataset import Split
from alexnet.data.homes import Batch
from alexnet.learn.devices import Machine

VIEWS_AT_ONCE = 128
"""Views that the network is shown together, in evaluating and in predicting: where the number
differs, so do the last bits of what it says."""


@dataclass
class Counts:
    """What an evaluation has counted. Errors stay integers until somebody prints them."""

    classes: int
    seen: int = 0
    wrong1: int = 0
    wrong5: int = 0
    loss_sum: float = 0.0
    per_class: Tensor = field(init=False)
    """classes 3 int64: seen, wrong at 1, wrong at 5."""

    def __post_init__(self) -> None:
        self.per_class = torch.zeros(self.classes, 3, dtype=torch.int64)

    def add(self, probabilities: Tensor, labels: Tensor) -> None:
        """Count N images: probabilities N classes, labels N."""
        ranks = ranks_of(probabilities, labels)
        chosen = probabilities.gather(1, labels[:, None])[:, 0]
        tally = torch.stack([torch.ones_like(ranks), (ranks >= 1).long(), (ranks >= 5).long()], 1)
        self.per_class.index_add_(0, labels.cpu(), tally.cpu())
        self.seen, self.wrong1, self.wrong5 = self.per_class.sum(0).tolist()
        self.loss_sum -= float(chosen.double().clamp_min(1e-45).log().sum())

    @property
    def top1(self) -> float:
        """Share of the images whose first label is wrong."""
        return self._per_image(self.wrong1)

    @property
    def top5(self) -> float:
        """Share of the images whose label is not among the first five."""
        return self._per_image(self.wrong5)

    @property
    def loss(self) -> float:
        """Mean negative log-probability of the right class, in nats."""
        return self._per_image(self.loss_sum)

    def _per_image(self, total: float) -> float:
        """Divide by the images seen. Raises ValueError if there were none: no error is 0 then."""
        if not self.seen:
            raise ValueError("there is no error to tell: not one image was measured")
        return total / self.seen


def ranks_of(probabilities: Tensor, labels: Tensor) -> Tensor:
    """How many classes come before the right one: N classes, N → N.

    Of two equally probable classes the one with the lower index comes first; a probability that is
    not a number is never right.
    """
    right = probabilities.gather(1, labels[:, None])
    index = torch.arange(probabilities.shape[1], device=labels.device)
    before = ~(probabilities <= right) | ((probabilities == right) & (index < labels[:, None]))
    return before.sum(1)


@torch.inference_mode()
def probabilities(network: nn.Module, images: Tensor, many: int = 1) -> Tensor:
    """Softmax averaged over the views of an image: N·many 3 crop crop → N classes (section 4.1)."""
    soft = F.softmax(network(images).float(), dim=1)
    return soft.unflatten(0, (-1, many)).mean(1)


def answers(
    network: nn.Module, batches: Iterable[Batch], machine: Machine, many: int = 1
) -> Iterator[tuple[Tensor, Batch]]:
    """Of each batch of views, the probabilities N classes, and the batch."""
    for batch in batches:
        with machine.cast():
            likely = probabilities(network, batch.images, many)
        yield likely, batch


def evaluate(
    network: nn.Module,
    split: Split,
    how: Preprocessing,
    classes: int,
    machine: Machine,
    *,
    many: int = 1,
    batch_size: int = VIEWS_AT_ONCE,
    relabel: NDArray[np.int64] | None = None,
) -> Counts:
    """Measure a network on every image of a split, with 1 or 10 views of each.

    `relabel` gives the network's label of each of the split's labels; images that get −1 are left
    out. Raises RuntimeError if the images counted are not exactly those that had to be.
    """
    labels = split.labels if relabel is None else relabel[split.labels]
    members, counts = np.flatnonzero(labels >= 0), Counts(classes)
    was_training = network.training
    network.eval()
    size = max(1, batch_size // many)
    batches = views(split, labels, members, how, machine.device, many=many, batch_size=size)
    for likely, batch in answers(network, batches, machine, many):
        counts.add(likely, batch.labels)
    network.train(was_training)
    if counts.seen != len(members):
        raise RuntimeError(f"{counts.seen} images were counted where there are {len(members)}")
    return counts
