"""Validation and test images chosen by groups, or named in lists, where a source has no such split.

By groups: all images of one person, scene or video are on the same side. A group is what a pattern
finds in the name of an image, or a column of a list:

    --group-by "^[^_]*"      alice/01_a.jpg → alice/01     the pattern is searched in class/name
    --group-by "(p\\d+)_"     cat/p07_3.jpg  → p07          parentheses mark the group

The groups come in an order that depends on the seed, and each is held out if that brings the number
of held-out images of its classes closer to the fraction asked for, and leaves images of each for
training. An image in which nothing is found is a group by itself.

By lists: text files that name images (`names_list`). Images in no list are for training; without a
list of validation images, some of those are held out, as `holdout` does.

`holdout.HoldOut.divide` makes these divisions; they have the same attributes as its own.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.sources.names import quote_names
from alexnet.sources.names_list import NamesList
from alexnet.sources.repeats import NameBudget
from alexnet.terminal import format_count

if TYPE_CHECKING:
    from alexnet.sources.holdout import Divided, HoldOut

Images = Iterable[tuple[str, ...]]
"""Images as (class, name, key): a group is found in the key, and a list names it."""
GROUP_RULE, LIST_RULE = "by groups", "by lists"
"""Recorded in a pack as `holdout.RULE` is."""


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile the pattern of groups. Raises ValueError if it is none."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"--group-by {pattern!r} is no regular expression ({error}). For the part of a name "
            "before the first underscore, write '^[^_]*'"
        ) from error


def find_group(pattern: re.Pattern[str], key: str) -> str | None:
    """Return the group of an image: what the pattern, or its parentheses, finds in the key."""
    if (found := pattern.search(key)) is None:
        return None
    return "\0".join(part or "" for part in found.groups()) or found[0] or None


@dataclass(frozen=True)
class GroupDivision:
    """Groups of images, some of which are held out for validation."""

    hold_out: "HoldOut"
    groups: dict[str, bool] = field(repr=False)
    """Whether each group is held out."""
    counts: dict[str, tuple[int, int]] = field(repr=False)
    """Of each class, the number of images and of those that are held out."""
    n_without: int = 0
    """Images in which no group was found."""

    leftover_split = "train"

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that result."""
        return ("train", "val") if any(self.groups.values()) else ("train",)

    def find_split(self, class_name: str, name: str, key: str = "") -> str:
        """The split that an image belongs to."""
        return "val" if self.groups.get(self.hold_out.group_of(key)) else "train"

    def metadata(self) -> dict[str, Any]:
        """The rule and its parameters, as recorded in a pack."""
        hold_out = self.hold_out
        return {
            "share": hold_out.effective_fraction, "seed": hold_out.seed, "rule": GROUP_RULE,
            "group_by": hold_out.group_by,
        }  # fmt: skip

    @property
    def remarks(self) -> list[str]:
        """Sentences about the division for whoever makes a pack."""
        images, held_out = (sum(pair[i] for pair in self.counts.values()) for i in (0, 1))
        n_groups, n_held_out = len(self.groups), sum(self.groups.values())
        remarks = [
            f"There is no validation split: {n_held_out:,} of "
            f"{format_count(n_groups, 'group')} (--group-by "
            f"{self.hold_out.group_by}), with {held_out:,} of "
            f"{format_count(images, 'image')}, are held out, "
            f"chosen by seed {self.hold_out.seed}. No group is on both sides."
        ]
        if self.n_without:
            remarks.append(f"In no group, and one each: {format_count(self.n_without, 'image')}.")
        none = [name for name, (_, held_out) in self.counts.items() if not held_out]
        if none:
            remarks.append(f"Of these classes, no group is held out: {quote_names(none)}.")
        return remarks


def divide_groups(hold_out: "HoldOut", images: Images) -> GroupDivision:
    """Choose which groups are held out.

    Raises ValueError if there is only one group, or if a group is found in no image.
    """
    groups: dict[str, Counter[str]] = {}
    budget, n_without, example = NameBudget(Path(hold_out.group_by)), 0, ""
    for class_name, _, key in images:
        group, example = hold_out.group_of(key), key
        n_without += not hold_out.has_group(key)
        if group not in groups:
            budget.spend(group)
            groups[group] = Counter()
        groups[group][class_name] += 1
    total = sum(groups.values(), Counter[str]())
    if groups and n_without == total.total():
        raise ValueError(
            f"--group-by {hold_out.group_by} finds no group in any image, as {example!r}: give a "
            "column of the list, or a regular expression that matches a part of the names"
        )
    if len(groups) == 1:
        raise ValueError(
            f"--group-by {hold_out.group_by} puts all images into one group, {next(iter(groups))!r}"
            f" (as {example!r}): with one group, none can be held out"
        )
    held_out = _choose_groups(hold_out, groups, total)
    counts: Counter[str] = sum((groups[group] for group in held_out), Counter[str]())
    return GroupDivision(
        hold_out,
        {group: group in held_out for group in groups},
        {name: (n, counts[name]) for name, n in sorted(total.items())},
        n_without,
    )


def _choose_groups(
    hold_out: "HoldOut", groups: dict[str, Counter[str]], total: Counter[str]
) -> set[str]:
    """Hold out each group that brings its classes closer to the fraction, and leaves some."""
    wanted = {name: max(1, round(hold_out.effective_fraction * n)) for name, n in total.items()}
    held: Counter[str] = Counter()
    chosen = set()
    for group in sorted(groups, key=lambda group: hold_out.hash_of("", group)):
        counts = groups[group]
        leaves_some = all(held[name] + n < total[name] for name, n in counts.items())
        gain = sum(
            abs(wanted[name] - held[name]) - abs(wanted[name] - held[name] - n)
            for name, n in counts.items()
        )
        if leaves_some and gain > 0:
            chosen.add(group)
            held.update(counts)
    return chosen


@dataclass(frozen=True)
class ListDivision:
    """Images that lists name, for validation and for tests; `rest` divides the others."""

    lists: dict[str, NamesList]
    """By split."""
    rest: "Divided"
    remarks: list[str]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that result."""
        names = {*self.rest.splits, *self.lists}
        return tuple(name for name in ("train", "val", "test") if name in names)

    leftover_split = "train"

    def find_split(self, class_name: str, name: str, key: str = "") -> str:
        """The split that an image belongs to."""
        for split, listed in self.lists.items():
            if listed.find(key) is not None:
                return split
        return self.rest.find_split(class_name, name, key)

    def metadata(self) -> dict[str, Any]:
        """The rule and its parameters, as recorded in a pack."""
        recorded: dict[str, Any] = {**(self.rest.metadata() or {}), "rule": LIST_RULE}
        for split, listed in self.lists.items():
            recorded[f"{split}_list"] = str(listed.path.absolute())
            recorded[f"{split}_list_digest"] = listed.digest
        return recorded


def divide_by_lists(hold_out: "HoldOut", images: Images) -> ListDivision:
    """Choose the images that lists name; of the others, hold out some if no list is for that.

    Raises ValueError for a name that is in two lists or stands for two images, and for a list of
    which no name is found.
    """
    paths = {"val": hold_out.val_list, "test": hold_out.test_list}
    root = hold_out.root
    lists = {split: NamesList.read(path, root) for split, path in paths.items() if path}
    found: dict[str, dict[str, str]] = {split: {} for split in lists}
    rest, key = [], "cats/1.jpg"
    for class_name, name, key in images:
        hits = {split: hit for split, listed in lists.items() if (hit := listed.find(key))}
        if len(hits) > 1:
            raise ValueError(
                f"{key!r} is named for validation and for tests, in {hold_out.val_list} and in "
                f"{hold_out.test_list}: leave it in one of them"
            )
        for split, hit in hits.items():
            if (other := found[split].setdefault(hit, key)) != key:
                raise ValueError(
                    f"{hit!r} in {lists[split].path} stands for {other!r} and for {key!r}: write "
                    "the names with their folders and extensions"
                )
        if not hits:
            rest.append((class_name, name, key))
    if not rest:
        raise ValueError("all images are named in lists, so that none is left for training")
    remarks = [_describe_list(split, lists[split], found[split], key) for split in lists]
    others = hold_out.without_lists(keep_all="val" in lists).divide(rest)
    return ListDivision(lists, others, [*remarks, *([] if "val" in lists else others.remarks)])


def _describe_list(split: str, listed: NamesList, found: dict[str, str], example: str) -> str:
    """A sentence about a list. Raises ValueError if none of its names was found.

    `example` is the name of an image.
    """
    missing = sorted(listed.names - found.keys())
    if not found:
        raise ValueError(
            f"{listed.path} has {format_count(len(listed.names), 'name')}, as {missing[0]!r}, "
            "and none is that of an image: write them as in the folder of the images, as "
            f"{example!r}"
        )
    purpose = "validation" if split == "val" else "tests"
    text = f"Named for {purpose} in {listed.path}: {format_count(len(found), 'image')}."
    if missing:
        text += f" {len(missing):,} of its names are those of no image: {quote_names(missing, 3)}."
    return text
