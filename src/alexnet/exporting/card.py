"""The model card: what a trained network is for, what it cannot do, and what it must be given.

`write_card` makes it of a checkpoint, its scores and, if that is there, its pack. The texts are
plain; whoever shows them escapes them: `show.report` for HTML, `exporting.hub` for Markdown. Names
of classes and files come from others. This module must import neither of those.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from alexnet.batches.preprocessing import Preprocessing
from alexnet.checkpoint import Checkpoint
from alexnet.evaluation.stored_scores import StoredScores
from alexnet.exporting.metadata import COLORS, describe_resizing
from alexnet.packs.pack import Pack
from alexnet.terminal import format_count

FEW_IMAGES = 50
"""A class with fewer training images than this is named as a limit."""
NORMAL_95 = 1.96
"""The normal distribution has 95 % of its mass within so many standard deviations."""


@dataclass(frozen=True)
class Card:
    """A model card: sentences under each heading, and the classes."""

    use: tuple[str, ...]
    """What the network is for."""
    limits: tuple[str, ...]
    """What it cannot do, and what was not measured."""
    preprocessing: tuple[str, ...]
    """What becomes of an image file before the network is given it, step by step."""
    output: str
    classes: tuple[str, ...]
    """In the order of the network's outputs."""
    wordnet_ids: tuple[str, ...] | None


def write_card(
    trained: Checkpoint, scores: list[StoredScores] | None = None, pack: Pack | None = None
) -> Card:
    """Write the card of a trained network. Without scores or a pack, it says less."""
    return Card(
        use=_describe_use(trained),
        limits=(
            *_list_general_limits(trained),
            *_list_limits_of_scores(scores or []),
            *(_list_limits_of_images(pack) if pack is not None else ()),
        ),
        preprocessing=describe_preprocessing(trained.preprocessing),
        output=(
            f"{len(trained.classes):,} logits, one per class in the order of the classes; softmax "
            "makes them probabilities that sum to 1."
        ),
        classes=trained.classes,
        wordnet_ids=trained.wordnet_ids,
    )


def _describe_use(trained: Checkpoint) -> tuple[str, ...]:
    """What any such network is for."""
    return (
        f"Telling which of {format_count(len(trained.classes), 'class')} an image shows, for "
        "images like those "
        "that it was trained on.",
        "As a start for training on other classes, and for its features.",
    )


def _list_general_limits(trained: Checkpoint) -> tuple[str, ...]:
    """Limits of every classifier of this kind."""
    side = trained.preprocessing.side
    return (
        "It names one of its classes for every image, also for one that shows none of them: a high "
        "probability is no sign that the image belongs to any.",
        "Its probabilities are not calibrated: labels with a probability of 0.9 need not be right "
        "nine times out of ten.",
        f"It sees images at {side}×{side} pixels: smaller detail is lost.",
        "The errors are those on the images named with them. For images of another origin (camera, "
        "place, light, crop) they can be much higher; measure on your own before you rely on it.",
        "Whether it errs more often for some groups of people, places or things than for others "
        "was not measured. Do not let it decide about people.",
    )


def _list_limits_of_scores(scores: list[StoredScores]) -> tuple[str, ...]:
    """What restricts the meaning of the measured errors."""
    if not scores:
        return ("Its errors were not measured by themselves: alexnet evaluate RUN.",)
    limits = []
    if any(x.split == "val" for x in scores):
        limits.append(
            "The validation images also chose the epoch that is kept, so their error is slightly "
            "optimistic. Images that had no part in the training give an unbiased one."
        )
    fewest = min(scores, key=lambda x: x.seen)
    error, plus_minus = fewest.wrong1 / fewest.seen, compute_half_width(fewest)
    limits.append(
        f"The top-1 error of {100 * error:.2f} % on {format_count(fewest.seen, 'image')} is "
        "uncertain by about "
        f"±{100 * plus_minus:.1f} points (95 % interval), by the choice of these images alone."
    )
    return tuple(limits)


def compute_half_width(scores: StoredScores) -> float:
    """Return half the width of the Wilson interval of a top-1 error, at 95 %: from 0 to 1."""
    n, error = scores.seen, scores.wrong1 / scores.seen
    spread = error * (1 - error) / n + NORMAL_95**2 / (4 * n**2)
    return NORMAL_95 / (1 + NORMAL_95**2 / n) * math.sqrt(spread)


def _list_limits_of_images(pack: Pack) -> tuple[str, ...]:
    """Limits that follow from the images: rare classes, images in two splits."""
    limits = []
    if "train" in pack.splits:
        labels = pack.splits["train"].labels
        counts = np.bincount(labels[labels >= 0], minlength=len(pack.classes))
        if n_few := int((counts < FEW_IMAGES).sum()):
            limits.append(
                f"{n_few:,} of {format_count(len(counts), 'class')} had fewer than "
                f"{FEW_IMAGES} training "
                f"images; the rarest had {counts.min():,}."
            )
    if duplicates := pack.metadata["duplicates"]:
        limits.append(
            f"In two splits: {format_count(duplicates, 'image')}. If it was trained on images "
            "that it is "
            "measured on, the errors are too low."
        )
    return tuple(limits)


def describe_preprocessing(preprocessing: Preprocessing) -> tuple[str, ...]:
    """Say in English what becomes of an image before the network is given it, step by step."""
    side, crop = preprocessing.side, preprocessing.crop
    red, green, blue = preprocessing.mean.float().mean((0, 1)).tolist()
    colors = COLORS[preprocessing.pixels].removeprefix(". ")
    return (
        "Decode it to 8 bits each of red, green and blue, in this order, from 0 to 255.",
        f"Resize it to {side}×{side}: {describe_resizing(preprocessing)}.",
        *((f"{colors}.",) if colors else ()),
        f"Cut out the central {crop}×{crop} pixels, from row and column "
        f"{preprocessing.center_offset} on.",
        f"Subtract the same part of the mean image, which is {side}×{side}×3. Over all its pixels "
        f"it is on average {red:.1f} in red, {green:.1f} in green and {blue:.1f} in blue.",
        f"Multiply by {preprocessing.pixel_scale:g}.",
        f"Arrange it as float32 (N, 3, {crop}, {crop}): planes of red, green and blue.",
    )
