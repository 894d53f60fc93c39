"""A validation split for sources that have none: the same fraction of every class is held out.

Each image has one 64-bit hash of its class, its name within the class, and a seed. In each class,
the images with the smallest hashes are held out:

    hashes of a class, sorted    │ 0x03 │ 0x1f │ 0x5a │ 0x77 │ 0x90 │ 0xc4 │ …
                                   val     val  ▲ train  train  train …
                                                └ `last` = 0x1f: the last hash that is held out

So the choice does not depend on the order of the images, every later pass can decide about each
image independently, and the first pass takes eight bytes per image. Groups and lists that choose
the images instead are in `chosen_splits`. `class_folders`, `image_list` and `digits` call
`HoldOut.divide`.
"""

import hashlib
from array import array
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.sources.chosen_splits import (
    GroupDivision,
    ListDivision,
    compile_pattern,
    divide_by_lists,
    divide_groups,
    find_group,
)
from alexnet.sources.names import quote_names
from alexnet.terminal import format_count

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
    group_by: str = ""
    """A regular expression, or a column of a list: images of one group are all held out or none."""
    val_list: Path | None = None
    """A text file with the names of the validation images."""
    test_list: Path | None = None
    """A text file with the names of the test images."""
    root: Path | None = None
    """The folder of the images, or their archive without the ending: paths in lists lead there."""
    is_column: bool = False
    """Whether `group_by` is a column, so that the key of an image is its group."""

    def __post_init__(self) -> None:
        if self.group_by and not self.is_column:
            compile_pattern(self.group_by)
        if self.group_by and (self.val_list or self.test_list):
            raise ValueError(
                "--group-by chooses validation images by groups, --val-list and --test-list name "
                "them: give one or the other"
            )
        if self.group_by and self.fraction == 0:
            raise ValueError("--group-by holds out groups, and --val-fraction 0 holds out nothing")
        for path in (self.val_list, self.test_list):
            if path is not None and not path.is_file():
                raise FileNotFoundError(f"{path}, a list of names of images, does not exist")
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

    @property
    def is_chosen(self) -> bool:
        """Whether groups or lists choose the validation images."""
        return bool(self.group_by or self.val_list or self.test_list)

    def check_usable(self, path: Path, own_splits: Collection[str] | None = None) -> None:
        """Raise ValueError if groups or lists were given for a source that has its own splits.

        `own_splits` is None for a data set, whose splits are part of it.
        """
        options = {"--group-by": "val", "--val-list": "val", "--test-list": "test"}
        values = (self.group_by, self.val_list, self.test_list)
        for (option, split), value in zip(options.items(), values, strict=True):
            if value and (own_splits is None or split in own_splits):
                has = "splits" if own_splits is None else f"a {split} split"
                raise ValueError(
                    f"{path} has {has} of its own, so that {option} has nothing to choose: leave "
                    "it away, or give images without splits"
                )

    def group_of(self, key: str) -> str:
        """The group of an image with this key; an image in no group is one by itself."""
        group = key if self.is_column else find_group(compile_pattern(self.group_by), key)
        return group or f"\0{key}"

    def has_group(self, key: str) -> bool:
        """Whether a group is found in a key."""
        return not self.group_of(key).startswith("\0")

    def without_lists(self, keep_all: bool) -> "HoldOut":
        """The same for the images that no list names; with `keep_all`, nothing is held out."""
        fraction = 0.0 if keep_all else self.fraction
        return replace(self, fraction=fraction, val_list=None, test_list=None)

    def divide(self, images: Iterable[tuple[str, ...]]) -> "Divided":
        """Choose which of `images` are held out: (class, name within the class, key).

        The key is what a group is found in, or what a list names; it may be missing if there is
        neither.

        Of a class of n images, round(effective_fraction · n) are held out, but at least one and at
        most n − 1 (so none if n is 1). A repeated image counts once. If nothing is to be held out,
        `images` is not iterated over.
        """
        hashes: dict[str, array[int]] = {}
        if self.evaluation_split:
            return Division(self, {})
        if self.group_by:
            return divide_groups(self, images)
        if self.is_chosen:
            return divide_by_lists(self, images)
        if not self.effective_fraction:
            return Division(self, {})
        for class_name, name, *_ in images:
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
    def is_evaluation(self) -> bool:
        """Whether the images are only to be evaluated."""
        return bool(self.hold_out.evaluation_split)

    @property
    def leftover_split(self) -> str:
        """The split in which files that are not an image of any class are reported as Skipped."""
        return self.splits[0]

    def find_split(self, class_name: str, name: str, key: str = "") -> str:
        """The split that an image belongs to. The key does not matter."""
        if class_name not in self.classes:
            return self.leftover_split
        held_out = self.hold_out.hash_of(class_name, name) <= self.classes[class_name].last
        return "val" if held_out else "train"

    def metadata(self) -> dict[str, Any] | None:
        """The rule and its parameters, as recorded in a pack; None if no image can be held out."""
        if not self.held_out and (self.hold_out.effective_fraction or self.is_evaluation):
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
            f"There is no validation split: {self.held_out:,} of "
            f"{format_count(images, 'image')} are held out, "
            f"{100 * self.hold_out.effective_fraction:.3g} % of each class but at least one image, "
            f"chosen by seed {self.hold_out.seed}, class and name.",
            *self._single_images(),
        ]

    def _single_images(self) -> list[str]:
        single = [name for name, chosen in self.classes.items() if chosen.images == 1]
        if not single:
            return []
        return [f"With one image only, so that no image of it is held out: {quote_names(single)}."]


Divided = Division | GroupDivision | ListDivision
"""What `HoldOut.divide` returns: which split each image belongs to, and remarks about it."""
