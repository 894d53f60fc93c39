"""Top-1 and top-5 error over exactly the images there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet.batches.preprocessing import Preprocessing
from alexnet.batches.views import iterate_views
from alexnet.batches.loaders import Batch
from alexnet.device import Machine
from alexnet.packs.pack import Split

CPU = torch.device("cpu")
VIEWS_AT_ONCE = 128
"""Views that the network is shown together, in evaluating and in predicting: where the number
differs, so do the last bits of what it says."""


@dataclass
class Counts:
    """What an evaluation has counted, on the device that it runs on.

    Adding waits for nothing there; reading a number waits for the device. Errors stay integers
    until somebody prints them.
    """

    classes: int
    device: torch.device = CPU
    per_class: Tensor = field(init=False)
    """classes 3 int64: seen, wrong at 1, wrong at 5."""
    log_loss: Tensor = field(init=False)
    """The sum of the negative log-probabilities of the right classes, float64, in nats."""

    def __post_init__(self) -> None:
        self.per_class = torch.zeros(self.classes, 3, dtype=torch.int64, device=self.device)
        self.log_loss = torch.zeros((), dtype=torch.float64, device=self.device)

    def add(self, probabilities: Tensor, labels: Tensor) -> None:
        """Count N images: probabilities N classes, labels N, both on the device."""
        ranks = ranks_of(probabilities, labels)
        chosen = probabilities.gather(1, labels[:, None])[:, 0]
        tally = torch.stack([torch.ones_like(ranks), (ranks >= 1).long(), (ranks >= 5).long()], 1)
        self.per_class.index_add_(0, labels, tally)
        self.log_loss -= chosen.double().clamp_min(1e-45).log().sum()

    def read(self) -> Counts:
        """The same counts on the CPU, once the device has finished."""
        counts = Counts(self.classes)
        counts.per_class, counts.log_loss = self.per_class.cpu(), self.log_loss.cpu()
        return counts

    @property
    def seen(self) -> int:
        """Images."""
        return self._total(0)

    @property
    def wrong1(self) -> int:
        """Images whose first label is wrong."""
        return self._total(1)

    @property
    def wrong5(self) -> int:
        """Images whose label is not among the first five."""
        return self._total(2)

    def _total(self, column: int) -> int:
        return int(self.per_class[:, column].sum())

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
        return self._per_image(self.log_loss.item())

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
def probabilities(network: nn.Module, images: Tensor, n_views: int = 1) -> Tensor:
    """Softmax averaged over the views of an image: N·many 3 crop crop → N classes (section 4.1)."""
    soft = F.softmax(network(images).float(), dim=1)
    return soft.unflatten(0, (-1, n_views)).mean(1)


def answers(
    network: nn.Module, batches: Iterable[Batch], machine: Machine, n_views: int = 1
) -> Iterator[tuple[Tensor, Batch]]:
    """Of each batch of views, the probabilities N classes, and the batch."""
    for batch in batches:
        with machine.cast():
            likely = probabilities(network, batch.images, n_views)
        yield likely, batch


def evaluate(
    network: nn.Module,
    split: Split,
    preprocessing: Preprocessing,
    classes: int,
    machine: Machine,
    *,
    n_views: int = 1,
    batch_size: int = VIEWS_AT_ONCE,
    relabel: NDArray[np.int64] | None = None,
) -> Counts:
    """Measure a network on every image of a split, with 1 or 10 views of each.

    `relabel` gives the network's label of each of the split's labels; images that get −1 are left
    out. Raises RuntimeError if the images counted are not exactly those that had to be.
    """
    labels = split.labels if relabel is None else relabel[split.labels]
    indices, counts = np.flatnonzero(labels >= 0), Counts(classes, machine.device)
    was_training = network.training
    network.eval()
    size = max(1, batch_size // n_views)
    batches = iterate_views(
        split, labels, indices, preprocessing, machine.device, n_views=n_views, batch_size=size
    )
    for likely, batch in answers(network, batches, machine, n_views):
        counts.add(likely, batch.labels)
    network.train(was_training)
    counts = counts.read()
    if counts.seen != len(indices):
        raise RuntimeError(f"{counts.seen} images were counted where there are {len(indices)}")
    return counts
