"""Uneven classes of a pack, counted and said: before a training, and when a pack was made.

A network that sees nine dogs for every cat can be right nine times of ten by never saying cat. Two
things are said, one line each, with the smallest classes by name:

    uneven classes      the largest has at least UNEVEN times the training images of the smallest
    classes too small   fewer than FEW training images, or no validation image

`summary` prints these lines after packing, `commands.training_pack` before a training.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from alexnet.packs.pack import Pack, Split
from alexnet.sources.names import quote_names
from alexnet.terminal import format_count

UNEVEN = 3
"""Classes are uneven if the largest has so many times the training images of the smallest."""
FEW = 10
"""A class with fewer training images than this is hardly learned."""
SHOWN = 3
"""Classes that a line names, at most."""


def count_images(pack: Pack, split: Split) -> NDArray[np.int64]:
    """Count the images of each class in a split, int64 (classes,); unlabeled ones are left out."""
    return np.bincount(split.labels[split.labels >= 0], minlength=len(pack.classes))


def describe_balance(pack: Pack) -> list[str]:
    """Return a line for each way in which the classes of a pack are uneven; none if they are not.

    Packs without training images are only measured on, where `evaluation` says it.
    """
    if not pack.splits.get("train"):
        return []
    counts = count_images(pack, pack.splits["train"])
    return [
        *_describe_uneven(pack, counts),
        *_describe_small(pack, counts),
        *_describe_unmeasured(pack, counts),
    ]


def _describe_uneven(pack: Pack, counts: NDArray[np.int64]) -> Iterator[str]:
    present = counts[counts > 0]
    if not len(present) or present.max() < UNEVEN * present.min():
        return
    largest, smallest = int(counts.argmax()), int(np.where(counts, counts, present.max()).argmin())
    yield (
        f"Uneven classes: {format_count(counts[largest], 'training image')} of "
        f"{quote_names([pack.classes[largest]])}, and {counts[smallest]:,} of "
        f"{quote_names([pack.classes[smallest]])}. A network trained on them favors the large "
        "classes: add images of the small ones, and compare the balanced accuracy "
        "(alexnet evaluate RUN --per-class)."
    )


def _describe_small(pack: Pack, counts: NDArray[np.int64]) -> Iterator[str]:
    small = np.flatnonzero(counts < FEW)
    if not len(small):
        return
    order = small[np.argsort(counts[small], kind="stable")]
    names = quote_names((pack.classes[i] for i in order), SHOWN)
    yield (
        f"{format_count(len(small), 'class')} with fewer than {FEW} training images: {names} "
        f"({counts[order[0]]:,} in the smallest). They will hardly be learned."
    )


def _describe_unmeasured(pack: Pack, counts: NDArray[np.int64]) -> Iterator[str]:
    """Say which classes that are trained on have no validation image, if others have some."""
    split = pack.splits.get("val")
    if not split:
        return
    missing = np.flatnonzero((counts > 0) & (count_images(pack, split) == 0))
    if len(missing):
        names = quote_names((pack.classes[i] for i in missing), SHOWN)
        have = "has" if len(missing) == 1 else "have"
        yield (
            f"{format_count(len(missing), 'class')} {have} no validation image, so that no error "
            f"of it is measured: {names}."
        )
