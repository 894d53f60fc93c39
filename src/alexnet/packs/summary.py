"""A pack described for people: a summary in words, a table of classes and a contact sheet.

`commands.pack` prints these. Nothing here changes a pack, and no program should parse the text:
`alexnet pack --info PACK --json` prints the metadata for programs.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.fonts import escape_missing
from alexnet.images.png import write_png
from alexnet.images.records import records_to_pictures
from alexnet.images.resizing import fit
from alexnet.packs.balance import count_images, describe_balance
from alexnet.packs.pack import Pack, Split
from alexnet.packs.unused import describe_unused
from alexnet.terminal import escape_unprintable, format_count

THUMBNAIL, CAPTION, GAP = 96, 18, 4
"""Pixels of the contact sheet: maximum side of an image, height of a caption, space between."""
SHEET_CLASSES, SHEET_IMAGES = 20, 10
"""Maximum number of classes (rows) of the contact sheet, and of images of a class (columns)."""


def summarize_pack(pack: Pack) -> str:
    """Return the images, classes and size of a pack, and what was not used, in a few lines."""
    counts = " and ".join(f"{len(split):,} {name}" for name, split in pack.splits.items())
    gigabytes = sum(len(s) * int(np.prod(s.shape)) for s in pack.splits.values()) / 1e9
    lines = [
        f"{pack.path}: {counts} images of {format_count(len(pack.classes), 'class')}, "
        f"{pack.size}×{pack.size} {pack.pixels}, {gigabytes:.2f} GB"
    ]
    if skipped := _count_by_name(pack, "skipped"):
        lines.append(f"  not used: {skipped} (each is named in {pack.folder / 'skipped.jsonl'})")
        lines += [f"  {line}" for line in describe_unused(pack)]
    if notes := _count_by_name(pack, "notes"):
        lines.append(f"  used, but unusual: {notes}")
    if duplicates := pack.metadata.get("duplicates"):
        lines.append(
            f"  in two splits: {format_count(duplicates, 'image')} (named in "
            f"{pack.folder / 'duplicates.jsonl'})"
        )
    lines += [f"  {line}" for line in describe_balance(pack)]
    return "\n".join(lines)


def _count_by_name(pack: Pack, field: str) -> str:
    """Sum the counts of all splits in the field `field`: "3 truncated, 1 empty"."""
    counts: Counter[str] = Counter()
    for split in pack.metadata["splits"].values():
        counts.update(split[field])
    return ", ".join(f"{count:,} {name}" for name, count in counts.most_common())


def describe_pack(pack: Pack) -> str:
    """Return the summary, the source, the statistics and the table of classes as text."""
    mean = ", ".join(f"{value:.1f}" for value in pack.mean.mean((0, 1)))
    deviations = ", ".join(f"{value:.1f}" for value in pack.deviations)
    lines = [
        summarize_pack(pack),
        f"  from {pack.source['kind']} {pack.source['path']}, fit by {pack.metadata['fit']}",
        *(f"  {remark}" for remark in pack.metadata["remarks"]),
        f"  mean of red, green, blue: {mean}; deviations along the components: {deviations}",
        f"  checksum {pack.checksum}",
        "",
        *_format_classes(pack),
    ]
    return "\n".join(lines)


def _format_classes(pack: Pack) -> list[str]:
    """Return one line per class: its index, its number of images in each split and its name."""
    counts = {name: count_images(pack, split) for name, split in pack.splits.items()}
    lines = ["".join(f"{name:>9}" for name in ("class", *counts)) + "  name"]
    for index, name in enumerate(pack.classes):
        known = pack.wordnet_ids[index] if pack.wordnet_ids else name
        title = name if known == name else f"{known} {name}"
        numbers = (index, *(int(count[index]) for count in counts.values()))
        lines.append(
            "".join(f"{number:>9,}" for number in numbers) + f"  {escape_unprintable(title)}"
        )
    return lines


def draw_contact_sheet(pack: Pack, path: str | Path) -> None:
    """Write a PNG of the first images of up to 20 evenly spaced classes, one row per class.

    The images are those of the first split that is not empty. Letters that no installed font has
    are drawn as their code points, which `alexnet` says at its end.
    """
    split = next(split for split in pack.splits.values() if len(split))
    step = -(-len(pack.classes) // SHEET_CLASSES)
    classes = range(0, len(pack.classes), step)
    side = min(THUMBNAIL, max(32, pack.size))
    row, column = side + CAPTION + GAP, side + GAP
    sheet = np.full((len(classes) * row + GAP, SHEET_IMAGES * column + GAP, 3), 255, np.uint8)
    for row_index, label in enumerate(classes):
        indices = np.flatnonzero(split.labels == label)[:SHEET_IMAGES]
        for column_index, image in enumerate(_make_thumbnails(pack, split, indices, side)):
            top, left = row_index * row + CAPTION, column_index * column + GAP
            sheet[top : top + side, left : left + side] = image
    titles = [escape_missing(pack.classes[label]) for label in classes]
    captions = ((GAP, index * row + 2, title) for index, title in enumerate(titles))
    write_png(Path(path), sheet, captions)


def _make_thumbnails(
    pack: Pack, split: Split, indices: NDArray[np.int64], side: int
) -> list[NDArray[np.uint8]]:
    """Return the images at `indices` in RGB, `side` pixels wide and high."""
    images = records_to_pictures(split.gather(indices), pack.size, pack.pixels)
    return [fit(image, side) for image in images]
