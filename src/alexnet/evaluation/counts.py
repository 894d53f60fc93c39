"""Counting top-1 and top-5 errors over every image of a split.

Errors are counted as integers and divided once, at the end. `evaluate` checks that the number of
counted images is exactly the number of images that had to be counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet.batches.loaders import Batch
from alexnet.batches.preprocessing import Preprocessing
from alexnet.batches.views import iterate_views
from alexnet.device import Machine
from alexnet.evaluation.confusion import ClassScores, find_mistaken_pairs, score_counts
from alexnet.packs.pack import Split
from alexnet.processes import ALONE, World

CPU = torch.device("cpu")
VIEWS_PER_BATCH = 128
"""Views that the network is given at a time, in evaluation and in prediction. Another number
changes the last bits of the probabilities, because sums are then formed in another order."""


LEAST_CLASSES_FOR_TOP5 = 6
"""Of five classes or fewer, every label is among the five most probable ones."""


@dataclass
class Counts:
    """Counted images, top-1 errors, top-5 errors and the summed loss, on the device.

    `add` does not wait for the device; reading a number does. Use `read` once, at the end.
    """

    classes: int
    """The number of classes."""
    device: torch.device = CPU
    per_class: Tensor = field(init=False)
    """For each class, the images, the top-1 errors and the top-5 errors: int64 (classes, 3)."""
    log_loss: Tensor = field(init=False)
    """The sum of the negative log-probabilities of the right classes, float64, in nats."""
    batch_losses: list[Tensor] = field(init=False, default_factory=list)
    """For each batch, its part of that sum: float64 scalars."""
    pairs: list[Tensor] = field(init=False, default_factory=list)
    """For each batch, the right and the most probable class of each image: int64 (N, 2)."""

    def __post_init__(self) -> None:
        self.per_class = torch.zeros(self.classes, 3, dtype=torch.int64, device=self.device)
        self.log_loss = torch.zeros((), dtype=torch.float64, device=self.device)

    def add(self, probabilities: Tensor, labels: Tensor) -> None:
        """Count N images: probabilities (N, classes) and labels (N,), both on the device."""
        ranks = rank_labels(probabilities, labels)
        right = probabilities.gather(1, labels[:, None])[:, 0]
        rows = torch.stack([torch.ones_like(ranks), (ranks >= 1).long(), (ranks >= 5).long()], 1)
        self.per_class.index_add_(0, labels, rows)
        self.pairs.append(torch.stack([labels, probabilities.argmax(1)], 1))
        self.batch_losses.append(-right.double().clamp_min(1e-45).log().sum())
        self.log_loss += self.batch_losses[-1]

    def read(self) -> Counts:
        """Wait for the device and return the same counts on the CPU."""
        counts = Counts(self.classes)
        counts.per_class, counts.log_loss = self.per_class.cpu(), self.log_loss.cpu()
        counts.pairs = [torch.cat(self.pairs).cpu()] if self.pairs else []
        counts.batch_losses = (
            list(torch.stack(self.batch_losses).cpu()) if self.batch_losses else []
        )
        return counts

    def join(self, world: World) -> Counts:
        """Return the counts of all processes, summed in the order of their batches.

        All processes call this together. The result has the same bits as one process that counts
        all batches.
        """
        if world.size == 1:
            return self
        losses = [float(loss) for loss in self.batch_losses]
        own = {"per_class": self.per_class.tolist(), "losses": losses}
        counts = Counts(self.classes)
        for part in world.gather({**own, "pairs": [pairs.tolist() for pairs in self.pairs]}):
            counts.per_class += torch.tensor(part["per_class"])
            counts.pairs += [torch.tensor(pairs).view(-1, 2) for pairs in part["pairs"]]
            for loss in part["losses"]:
                counts.batch_losses.append(torch.tensor(loss, dtype=torch.float64))
                counts.log_loss += loss
        return counts

    def score_classes(self) -> ClassScores:
        """Compute precision, recall and F1 of each class, in the order of the classes."""
        seen, wrong1, wrong5 = self.per_class.cpu().numpy().T
        taken = np.bincount(self._read_pairs()[1], minlength=self.classes)
        return score_counts(seen - wrong1, seen, taken, wrong5)

    def find_mistakes(self, n: int) -> list[tuple[int, int, int]]:
        """Return the n most frequent mistakes as (right class, most probable class, images)."""
        return find_mistaken_pairs(*self._read_pairs(), self.classes, n)

    def _read_pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The right and the most probable class of every image, each int64 (N,)."""
        empty = torch.empty(0, 2, dtype=torch.int64, device=self.device)
        labels, predicted = torch.cat([empty, *self.pairs]).cpu().numpy().T
        return labels, predicted

    @property
    def seen(self) -> int:
        """The number of images."""
        return self._sum_column(0)

    @property
    def wrong1(self) -> int:
        """The number of images whose most probable class is not their label."""
        return self._sum_column(1)

    @property
    def wrong5(self) -> int:
        """The number of images whose label is not among the five most probable classes."""
        return self._sum_column(2)

    def _sum_column(self, column: int) -> int:
        return int(self.per_class[:, column].sum())

    @property
    def top1(self) -> float:
        """The top-1 error: `wrong1` divided by the number of images."""
        return self._divide_by_images(self.wrong1)

    @property
    def top5(self) -> float:
        """The top-5 error: `wrong5` divided by the number of images."""
        return self._divide_by_images(self.wrong5)

    @property
    def loss(self) -> float:
        """The mean negative log-probability of the right class, in nats."""
        return self._divide_by_images(self.log_loss.item())

    def _divide_by_images(self, total: float) -> float:
        """Raises ValueError if there are no images, because their error is not 0 but undefined."""
        if not self.seen:
            raise ValueError("there is no error to report: no image was evaluated")
        return total / self.seen


def has_top5(n_classes: int) -> bool:
    """Return whether the top-5 error of so many classes says anything: of five it is always 0."""
    return n_classes >= LEAST_CLASSES_FOR_TOP5


def rank_labels(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Rank the label of each image: the number of classes that are more probable than it.

    Probabilities (N, classes) and labels (N,) → ranks (N,), int64. Rank 0 is a right top-1
    prediction, and ranks below 5 are right top-5 predictions. Of two equally probable classes the
    one with the lower index comes first. A probability that is NaN ranks last.
    """
    right = probabilities.gather(1, labels[:, None])
    index = torch.arange(probabilities.shape[1], device=labels.device)
    before = ~(probabilities <= right) | ((probabilities == right) & (index < labels[:, None]))
    return before.sum(1)


@torch.inference_mode()
def predict_probabilities(network: nn.Module, views: Tensor, n_views: int = 1) -> Tensor:
    """Average the softmax outputs of the network over the views of each image (section 4.1).

    Views (N · n_views, 3, crop, crop), those of an image consecutive → probabilities (N, classes).
    """
    softmax = F.softmax(network(views).float(), dim=1)
    return softmax.unflatten(0, (-1, n_views)).mean(1)


def predict_batches(
    network: nn.Module, batches: Iterable[Batch], machine: Machine, n_views: int = 1
) -> Iterator[tuple[Tensor, Batch]]:
    """Yield the probabilities (N, classes) of the N images of each batch, and the batch."""
    for batch in batches:
        with machine.cast():
            likely = predict_probabilities(network, batch.images, n_views)
        yield likely, batch


def evaluate(
    network: nn.Module,
    split: Split,
    preprocessing: Preprocessing,
    classes: int,
    machine: Machine,
    *,
    n_views: int = 1,
    batch_size: int = VIEWS_PER_BATCH,
    relabel: NDArray[np.int64] | None = None,
    world: World = ALONE,
) -> Counts:
    """Count the top-1 and top-5 errors of a network on every image of a split.

    The top-1 error is `Counts.top1`, the top-5 error `Counts.top5`; the counts are on the CPU.

    Args:
        network: on the device of `machine`.
        split: the images. Images with a label of −1 are left out.
        preprocessing: on the device of `machine`.
        classes: the number of classes of the network.
        machine: the device and the precision.
        n_views: 1, 5 or 10 views per image, over which probabilities are averaged.
        batch_size: the number of views per batch.
        relabel: `relabel[i]` is the network's index for class i of the pack, or −1 to leave out
            the images of that class.
        world: the processes that share the batches. All of them call this function, and all get
            the counts of all images, with the same bits as one process.

    Raises RuntimeError if the number of counted images is not the number that had to be counted.
    """
    labels = split.labels if relabel is None else relabel[split.labels]
    indices, counts = np.flatnonzero(labels >= 0), Counts(classes, machine.device)
    was_training, n_images = network.training, max(1, batch_size // n_views)
    network.eval()
    batches = iterate_views(
        split,
        labels,
        choose_own(indices, n_images, world),
        preprocessing,
        machine.device,
        n_views=n_views,
        batch_size=n_images,
    )
    for likely, batch in predict_batches(network, batches, machine, n_views):
        counts.add(likely, batch.labels)
    network.train(was_training)
    counts = counts.read().join(world)
    if counts.seen != len(indices):
        raise RuntimeError(f"{counts.seen} images were counted, but there are {len(indices)}")
    return counts


def choose_own(indices: NDArray[np.int64], n_images: int, world: World) -> NDArray[np.int64]:
    """Return the indices that a process evaluates: those of consecutive whole batches.

    The probabilities of an image have the same bits in the same batch only, so batches of
    `n_images` are the same whichever process has them. Every index belongs to one process.
    """
    n_batches = -(-len(indices) // n_images)
    first, last = (n_batches * (world.rank + i) // world.size * n_images for i in (0, 1))
    return indices[first:last]
