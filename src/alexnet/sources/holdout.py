"""A validation split for sources that have none: the same fraction of every class is held out.

Each image has one 64-bit hash of its class, its name within the class, and a seed. In each class,
the images with the smallest hashes are held out:

    hashes of a class, sorted    │ 0x03 │ 0x1f │ 0x5a │ 0x77 │ 0x90 │ 0xc4 │ …
                                   val     val  ▲ train  train  train …
                                                └ `last` = 0x1f: the last hash that is held out

So the choice does not depend on the order of the images, every later pass can decide about each
image independently, and the first pass takes eight bytes per image. `class_folders`, `image_list`
and `digits` call `HoldOut.divide`.
"""

import hashlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alexnet.sources.names import quote_names

DEFAULT_FRACTION = 0.1
EVALUATION_SPLITS = "", "train", "val", "test"
"""The names that `HoldOut.evaluation_split` may have."""
RULE = "of each class"
"""Recorded in a pack, next to fraction and seed: how validation images were chosen. Packs from
before this rule have no such entry."""


@dataclass(frozen=True)
class HoldOut:
    """The request: which images to hold out for validation if a source has no validation split.

    Raises ValueError for a fraction below 0, or of 1 or more, and for a split of another name.
    """

    fraction: float | None = None
    """The fraction of each class to hold out; None for DEFAULT_FRACTION, or for the source's own
    default."""
    seed: int = 0
    evaluation_split: str = ""
    """If the images are only to be evaluated: the name of the one split that all of them belong to.
    Then nothing is held out."""

    def __post_init__(self) -> None:
        if self.fraction is not None and not 0 <= self.fraction < 1:
            raise ValueError(
                f"the validation fraction is {self.fraction}, but must be at least 0 and below 1"
            )
        if self.evaluation_split not in EVALUATION_SPLITS:
            raise ValueError(
                f"images have no split {self.evaluation_split!r}: it must be train, val or test"
            )

    @property
    def effective_fraction(self) -> float:
        """The fraction to hold out: `fraction`, or DEFAULT_FRACTION if it is None."""
        return DEFAULT_FRACTION if self.fraction is None else self.fraction

    def divide(self, images: Iterable[tuple[str, str]]) -> "Division":
        """Choose which of `images` (class, name within the class) are held out.

        Of a class of n images, round(effective_fraction · n) are held out, but at least one and at
        most n − 1 (so none if n is 1). A repeated image counts once. If nothing is to be held out,
        `images` is not iterated over.
        """
        hashes: dict[str, array[int]] = {}
        if not self.effective_fraction or self.evaluation_split:
            return Division(self, {})
        for class_name, name in images:
            hashes.setdefault(class_name, array("Q")).append(self.hash_of(class_name, name))
        classes = {}
        for class_name in sorted(hashes):
            values = np.unique(np.frombuffer(hashes.pop(class_name), np.uint64))
            classes[class_name] = _divide_class(values, self.effective_fraction)
        return Division(self, classes)

    def hash_of(self, class_name: str, name: str) -> int:
        """The 64-bit hash that decides whether an image is held out."""
        key = f"{self.seed}\0{class_name}\0{name}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


@dataclass(frozen=True)
class ClassDivision:
    """How many images one class has, how many are held out, and the last hash of those."""

    images: int
    held_out: int
    last: int


def _divide_class(hashes: np.ndarray, effective_fraction: float) -> ClassDivision:
    """Hold out the smallest of `hashes`, which are sorted and distinct."""
    images = len(hashes)
    held_out = min(images - 1, max(1, round(effective_fraction * images)))
    return ClassDivision(images, held_out, int(hashes[held_out - 1]) if held_out else -1)


@dataclass(frozen=True)
class Division:
    """The result: which images of a source are held out. `classes` is empty if none are."""

    hold_out: HoldOut
    classes: dict[str, ClassDivision] = field(repr=False)

    @property
    def held_out(self) -> int:
        """Number of images that are held out."""
        return sum(chosen.held_out for chosen in self.classes.values())

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that a source without splits of its own is divided into."""
        if self.hold_out.evaluation_split:
            return (self.hold_out.evaluation_split,)
        return ("train", "val") if self.held_out else ("train",)

    @property
    def leftover_split(self) -> str:
        """The split in which files that are not an image of any class are reported as Skipped."""
        return self.splits[0]

    def find_split(self, class_name: str, name: str) -> str:
        """The split that an image belongs to."""
        if class_name not in self.classes:
            return self.leftover_split
        held_out = self.hold_out.hash_of(class_name, name) <= self.classes[class_name].last
        return "val" if held_out else "train"

    def metadata(self) -> dict[str, Any] | None:
        """The rule and its parameters, as recorded in a pack; None if nothing is held out."""
        if not self.held_out:
            return None
        return {"share": self.hold_out.effective_fraction, "seed": self.hold_out.seed, "rule": RULE}

    @property
    def remarks(self) -> list[str]:
        """Sentences about the division for whoever makes a pack."""
        if self.hold_out.evaluation_split:
            return ["It has no splits: all its images are evaluated."]
        if not self.hold_out.effective_fraction:
            none = "There is no validation split, and none was asked for: all images are for "
            return [none + "training."]
        if not self.held_out:
            return ["There is no validation split, and no class has a second image to hold out."]
        images = sum(chosen.images for chosen in self.classes.values())
        return [
            f"There is no validation split: {self.held_out:,} of {images:,} images are held out, "
            f"{100 * self.hold_out.effective_fraction:.3g} % of each class but at least one image, "
            f"chosen by seed {self.hold_out.seed}, class and name.",
            *self._single_images(),
        ]

    def _single_images(self) -> list[str]:
        single = [name for name, chosen in self.classes.items() if chosen.images == 1]
        if not single:
            return []
        return [f"With one image only, so that no image of it is held out: {quote_names(single)}."]
