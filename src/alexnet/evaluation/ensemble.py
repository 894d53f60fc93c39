"""Ensembles: the probabilities of several networks are averaged, with or without weights.

The paper averages the predictions of five and of seven networks (section 6). `predict_split`
makes the probabilities of one network, `average_predictions` those of an ensemble, and
`search_weights` looks for weights with fewer errors. `alexnet evaluate` and the claims call this
module.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet import device as devices
from alexnet.batches.views import iterate_views
from alexnet.evaluation.counts import VIEWS_PER_BATCH, choose_own, predict_batches, rank_labels
from alexnet.evaluation.measured_pack import open_run_and_pack
from alexnet.evaluation.predictions import UNLABELED, SplitPredictions
from alexnet.evaluation.scores import WeightedCheckpoint, match_classes
from alexnet.packs.background_check import check_while_reading
from alexnet.processes import ALONE, World

WEIGHTS = 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0
"""Weights that `search_weights` tries for each network in turn; all weights start at 1."""


@torch.inference_mode()
def predict_split(
    run: str | Path,
    pack: str | Path | None = None,
    *,
    split: str = "val",
    views: int = 1,
    device: str = "auto",
    ignore_unknown: bool = False,
    batch_size: int = VIEWS_PER_BATCH,
    world: World = ALONE,
) -> SplitPredictions:
    """Compute the probabilities of a run's network for every image of a split, labeled or not.

    The arguments and the errors are those of `scores.evaluate_run`, but images without a label are
    accepted. Raises RuntimeError if the number of predictions is not that of the images.
    """
    path, trained, opened = open_run_and_pack(run, pack, split)
    images, machine = opened.splits[split], devices.set_up_machine(device)
    matched = match_classes(trained, opened, split, ignore_unknown, unlabeled=True)
    labels = np.append(matched, UNLABELED)[images.labels]  # a label of −1 takes the last entry
    indices = np.flatnonzero((labels >= 0) | (images.labels < 0))
    member, n_images = WeightedCheckpoint.of(path), max(1, batch_size // views)
    world.agree({"checkpoint": member.sha256, "pack": opened.checksum, "split": split})
    batches = iterate_views(
        images,
        labels,
        choose_own(indices, n_images, world),
        trained.adapt_preprocessing(opened).to(machine.device),
        machine.device,
        n_views=views,
        batch_size=n_images,
    )
    network = devices.move_to_device(trained.build_network(), machine)
    with check_while_reading(opened, split):
        parts = [likely.cpu() for likely, _ in predict_batches(network, batches, machine, views)]
    own = torch.cat([torch.empty(0, len(trained.classes)), *parts])
    probabilities = gather_rows(own, world)
    if len(probabilities) != len(indices):
        raise RuntimeError(f"{len(probabilities)} predictions of {len(indices)} images were made")
    return SplitPredictions(
        members=(member,),
        pack=str(opened.path),
        pack_checksum=opened.checksum,
        split=split,
        views=views,
        classes=trained.classes,
        wordnet_ids=trained.wordnet_ids,
        left_out=len(images) - len(indices),
        names=np.array(images.names, np.str_)[indices],
        labels=labels[indices],
        probabilities=probabilities.numpy(),
    )


def gather_rows(own: Tensor, world: World) -> Tensor:
    """Return the rows of all processes, rank 0's first: (n, …), n of each process → (N, …)."""
    if world.size == 1:
        return own
    lengths = world.gather(len(own))
    padded = own.new_zeros(max(lengths), *own.shape[1:])
    padded[: len(own)] = own
    parts = zip(world.all_gather(padded), lengths, strict=True)
    return torch.cat([rows[:n] for rows, n in parts])


def average_predictions(
    predictions: Sequence[SplitPredictions], weights: Sequence[float] = ()
) -> SplitPredictions:
    """Average the probabilities of several networks, with equal weights unless `weights` are given.

    Classes are matched by name. Raises ValueError if the predictions are of different images or
    classes, if there is not one weight for each of them, if a weight is negative, or if all weights
    are 0.
    """
    first, weights = predictions[0], list(weights) or [1.0] * len(predictions)
    if len(weights) != len(predictions) or min(weights) < 0 or sum(weights) == 0:
        raise ValueError(
            f"{len(predictions)} networks need as many weights, of 0 or more, not {weights}"
        )
    aligned = [_align_classes(first, other) for other in predictions]
    shares = [weight / sum(weights) for weight in weights]
    total = np.zeros_like(first.probabilities)
    for share, probabilities in zip(shares, aligned, strict=True):
        total += np.float32(share) * probabilities
    members = (
        replace(member, weight=member.weight * share)
        for one, share in zip(predictions, shares, strict=True)
        for member in one.members
    )
    return replace(first, members=tuple(members), probabilities=total)


def search_weights(predictions: Sequence[SplitPredictions]) -> tuple[float, ...]:
    """Search for the weights of an average with the fewest top-5 errors, then top-1 errors.

    Coordinate descent: from equal weights, one weight at a time is set to the best of WEIGHTS,
    until a round over all networks changes nothing.

    The weights are fitted to these images, so the error measured on the same images is optimistic.
    Raises ValueError if an image has no label.
    """
    first = predictions[0]
    if not first.labeled:
        raise ValueError(
            f"the search for weights needs labeled images, but some images of {first.pack} have no "
            "label"
        )
    aligned = [torch.from_numpy(_align_classes(first, one)) for one in predictions]
    labels = torch.from_numpy(first.labels)
    weights, before = [1.0] * len(predictions), None
    best = _count_errors(aligned, weights, labels)
    while before != weights:
        before = list(weights)
        for i, weight in itertools.product(range(len(predictions)), WEIGHTS):
            trial = [*weights[:i], weight, *weights[i + 1 :]]
            if any(trial) and (errors := _count_errors(aligned, trial, labels)) < best:
                best, weights = errors, trial
    return tuple(weights)


def _count_errors(aligned: list[Tensor], weights: list[float], labels: Tensor) -> tuple[int, int]:
    """Count the top-5 and the top-1 errors of the weighted sum of probabilities, in this order."""
    total = torch.zeros_like(aligned[0])
    for weight, probabilities in zip(weights, aligned, strict=True):
        total.add_(probabilities, alpha=weight)
    ranks = rank_labels(total, labels)
    return int((ranks >= 5).sum()), int((ranks >= 1).sum())


def _align_classes(first: SplitPredictions, other: SplitPredictions) -> NDArray[np.float32]:
    """Return the probabilities of `other` with the classes in the order of `first`.

    Raises ValueError for predictions of other images, other views or other classes.
    """
    if other.views != first.views or not np.array_equal(other.names, first.names):
        raise ValueError(
            f"predictions of {other.members[0].checkpoint} ({len(other.names):,} images of "
            f"{other.pack}, {other.views} views) are not of the images and views of "
            f"{first.members[0].checkpoint} ({len(first.names):,} of {first.pack}, {first.views})"
        )
    if set(other.classes) != set(first.classes):
        raise ValueError(
            f"{other.members[0].checkpoint} and {first.members[0].checkpoint} were trained on "
            "different classes"
        )
    column = {name: i for i, name in enumerate(other.classes)}
    return other.probabilities[:, [column[name] for name in first.classes]]
