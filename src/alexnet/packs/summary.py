"""What is in a pack, for people: a summary in words, and a contact sheet."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.images.png import write_png
from alexnet.images.records import records_to_rgb
from alexnet.images.resizing import fit
from alexnet.packs.pack import Pack, Split
from alexnet.terminal import escape_unprintable

THUMBNAIL, CAPTION, GAP = 96, 18, 4
SHEET_CLASSES, SHEET_IMAGES = 20, 10


def outcome(pack: Pack) -> str:
    """What a packing has come to, in a few lines."""
    counts = " and ".join(f"{len(split):,} {name}" for name, split in pack.splits.items())
    gigabytes = sum(len(s) * int(np.prod(s.shape)) for s in pack.splits.values()) / 1e9
    lines = [
        f"{pack.path}: {counts} images of {len(pack.classes):,} classes, "
        f"{pack.size}×{pack.size} {pack.pixels}, {gigabytes:.2f} GB"
    ]
    if skipped := _counted(pack, "skipped"):
        lines.append(f"  not used: {skipped} (each is named in {pack.path / 'skipped.jsonl'})")
    if notes := _counted(pack, "notes"):
        lines.append(f"  peculiar but used: {notes}")
    if twice := pack.facts.get("duplicates"):
        lines.append(
            f"  in two splits: {twice:,} images (named in {pack.path / 'duplicates.jsonl'})"
        )
    return "\n".join(lines)


def _counted(pack: Pack, what: str) -> str:
    counts: Counter[str] = Counter()
    for split in pack.facts["splits"].values():
        counts.update(split[what])
    return ", ".join(f"{count:,} {name}" for name, count in counts.most_common())


def info(pack: Pack) -> str:
    """Everything worth knowing about a pack, as text."""
    mean = ", ".join(f"{value:.1f}" for value in pack.mean.mean((0, 1)))
    deviations = ", ".join(f"{value:.1f}" for value in pack.deviations)
    lines = [
        outcome(pack),
        f"  from {pack.source['kind']} {pack.source['path']}, fit by {pack.facts['fit']}",
        *(f"  {remark}" for remark in pack.facts["remarks"]),
        f"  mean of red, green, blue: {mean}; deviations along the components: {deviations}",
        f"  checksum {pack.checksum}",
        "",
        *_class_table(pack),
    ]
    return "\n".join(lines)


def _class_table(pack: Pack) -> list[str]:
    """One line a class: its index, its images in each split and its name."""
    counts = {name: _per_class(pack, split) for name, split in pack.splits.items()}
    lines = ["".join(f"{name:>9}" for name in ("class", *counts)) + "  name"]
    for index, name in enumerate(pack.classes):
        known = pack.wordnet_ids[index] if pack.wordnet_ids else name
        title = name if known == name else f"{known} {name}"
        numbers = (index, *(int(count[index]) for count in counts.values()))
        lines.append(
            "".join(f"{number:>9,}" for number in numbers) + f"  {escape_unprintable(title)}"
        )
    return lines


def _per_class(pack: Pack, split: Split) -> NDArray[np.int64]:
    return np.bincount(split.labels[split.labels >= 0], minlength=len(pack.classes))


def contact_sheet(pack: Pack, path: str | Path) -> None:
    """Write a PNG with the first images of each class, of up to 20 classes evenly chosen.

    They are taken from the first split that has any.
    """
    split = next(split for split in pack.splits.values() if len(split))
    step = -(-len(pack.classes) // SHEET_CLASSES)
    classes = range(0, len(pack.classes), step)
    side = min(THUMBNAIL, max(32, pack.size))
    row, column = side + CAPTION + GAP, side + GAP
    sheet = np.full((len(classes) * row + GAP, SHEET_IMAGES * column + GAP, 3), 255, np.uint8)
    for place, label in enumerate(classes):
        indices = np.flatnonzero(split.labels == label)[:SHEET_IMAGES]
        for number, image in enumerate(_thumbnails(pack, split, indices, side)):
            top, left = place * row + CAPTION, number * column + GAP
            sheet[top : top + side, left : left + side] = image
    titles = [escape_unprintable(pack.classes[at]) for at in classes]
    captions = ((GAP, place * row + 2, title) for place, title in enumerate(titles))
    write_png(Path(path), sheet, captions)


def _thumbnails(
    pack: Pack, split: Split, indices: NDArray[np.int64], side: int
) -> list[NDArray[np.uint8]]:
    images = records_to_rgb(split.gather(indices), pack.size, pack.pixels)
    return [fit(np.clip(np.rint(image), 0, 255).astype(np.uint8), side) for image in images]
