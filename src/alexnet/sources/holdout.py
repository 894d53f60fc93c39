"""A validation split for sources that have none: of every class the same share, at least one image.

An image is given by the name of its class and its name within the class, and each image by one
64-bit hash of both and of a seed. Of each class, the images with the smallest hashes are held out.
So the choice does not depend on the order in which a source yields its images, and counting them
takes eight bytes an image.
"""

import hashlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alexnet.sources.names import quote_names

DEFAULT_FRACTION = 0.1
RULE = "of each class"
"""What a pack says of how its validation images were chosen; earlier packs say nothing."""


@dataclass(frozen=True)
class HoldOut:
    """Which images are to be kept back for validation where a source has no validation split."""

    fraction: float | None = None
    """The share of each class; None: one tenth, where the source itself says nothing."""
    seed: int = 0
    measured: str = ""
    """The one split that all images belong to, if they are there to be measured and not trained on;
    then nothing is held out."""

    def __post_init__(self) -> None:
        if self.fraction is not None and not 0 <= self.fraction < 1:
            raise ValueError(
                f"a validation fraction of {self.fraction}: give one from 0 to below 1"
            )

    @property
    def share(self) -> float:
        """The fraction that is held out where the source itself says nothing."""
        return DEFAULT_FRACTION if self.fraction is None else self.fraction

    def divide(self, images: Iterable[tuple[str, str]]) -> "Division":
        """Choose among images, each its class and its name in it; a repeated one counts once.

        Of a class of n images, round(share·n) are held out, but at least one and at most n − 1; of
        a class of one image, none. The images are not iterated over if there is nothing to choose.
        """
        hashes: dict[str, array[int]] = {}
        if not self.share or self.measured:
            return Division(self, {})
        for class_name, name in images:
            hashes.setdefault(class_name, array("Q")).append(self.hash_of(class_name, name))
        classes = {}
        for class_name in sorted(hashes):
            values = np.unique(np.frombuffer(hashes.pop(class_name), np.uint64))
            classes[class_name] = _choose(values, self.share)
        return Division(self, classes)

    def hash_of(self, class_name: str, name: str) -> int:
        """The 64-bit number that decides about an image."""
        key = f"{self.seed}\0{class_name}\0{name}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


@dataclass(frozen=True)
class Chosen:
    """How many images of one class there are, how many are held out, and the last hash of those."""

    images: int
    held_out: int
    last: int


def _choose(hashes: np.ndarray, share: float) -> Chosen:
    """Hold out the smallest of these hashes, sorted and each different."""
    images = len(hashes)
    held_out = min(images - 1, max(1, round(share * images)))
    return Chosen(images, held_out, int(hashes[held_out - 1]) if held_out else -1)


@dataclass(frozen=True)
class Division:
    """Which images of a source are held out."""

    hold_out: HoldOut
    classes: dict[str, Chosen] = field(repr=False)

    @property
    def held_out(self) -> int:
        """Images that are held out."""
        return sum(chosen.held_out for chosen in self.classes.values())

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that a source without splits of its own is divided into."""
        if self.hold_out.measured:
            return (self.hold_out.measured,)
        return ("train", "val") if self.held_out else ("train",)

    @property
    def first(self) -> str:
        """The split in which what is no image of a class is named."""
        return self.splits[0]

    def split(self, class_name: str, name: str) -> str:
        """The split of one image."""
        if class_name not in self.classes:
            return self.first
        held_out = self.hold_out.hash_of(class_name, name) <= self.classes[class_name].last
        return "val" if held_out else "train"

    def facts(self) -> dict[str, Any] | None:
        """What decides about every image, as a pack keeps it; None where nothing is held out."""
        if not self.held_out:
            return None
        return {"share": self.hold_out.share, "seed": self.hold_out.seed, "rule": RULE}

    @property
    def remarks(self) -> list[str]:
        """What a person should know of the division, in sentences."""
        if self.hold_out.measured:
            return ["It has no splits: all its images are measured."]
        if not self.hold_out.share:
            none = "There is no validation split, and none was asked for: all images are for "
            return [none + "training."]
        if not self.held_out:
            return ["There is no validation split, and no class has a second image to hold out."]
        images = sum(chosen.images for chosen in self.classes.values())
        return [
            f"There is no validation split: {self.held_out:,} of {images:,} images are held out, "
            f"{100 * self.hold_out.share:.3g} % of each class but at least one image, chosen by "
            f"seed {self.hold_out.seed}, class and name.",
            *self._single_images(),
        ]

    def _single_images(self) -> list[str]:
        single = [name for name, chosen in self.classes.items() if chosen.images == 1]
        if not single:
            return []
        return [f"With one image only, so that no image of it is held out: {quote_names(single)}."]
