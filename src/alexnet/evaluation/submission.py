"""The text file for the ILSVRC challenge: five class numbers per image, the most probable first.

The challenge numbers classes as its development kit does, and wants the images in the order of the
numbers in their file names. `alexnet evaluate --submission` calls `write_submission`.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.evaluation.predictions import SplitPredictions
from alexnet.files import replace_bytes
from alexnet.packs.pack import open_pack
from alexnet.sources.devkit import Devkit, find_devkit
from alexnet.sources.directory import Directory
from alexnet.terminal import format_count

NUMBERED = re.compile(r".*_(?:val|test)_(\d{1,8})\.\w+", re.ASCII | re.DOTALL)
LARGEST_NUMBER = 1_000_000
"""No image of the challenge has a larger number: the largest test set has 150,000 images."""
TOP = 5


def write_submission(predictions: SplitPredictions, path: Path, devkit: Path | None = None) -> str:
    """Write a submission file; return a message about its lines and its class numbers.

    Classes are numbered as in the development kit at `devkit`, or in the one that the pack was made
    with if it is still there; else from 1 in the network's order, which the message then says.
    Raises ValueError if `devkit` has no kit, or one of other classes.
    """
    numbers, remark = _number_classes(predictions, devkit)
    best = np.argsort(-predictions.probabilities, axis=1, kind="stable")[:, :TOP]
    rows, gaps = _sort_by_number(predictions.names, numbers[best])
    text = "".join(" ".join(map(str, row)) + "\n" for row in rows.tolist())
    replace_bytes(path, text.encode("ascii"))
    if gaps:
        remark += f" Not in the pack, so that a line holds a guess: {format_count(gaps, 'image')}."
    return f"{path}: {format_count(len(rows), 'line')}, in the order of the images. {remark}"


def _sort_by_number(
    names: NDArray[np.str_], guesses: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """Return a row per image number, from 1, and how many of these images are not in the pack.

    Names end in the number: `…_val_00000001.JPEG`. If some name has none, or two have the same one,
    the rows stay in the order of the pack.
    """
    matches = [NUMBERED.fullmatch(name) for name in names.tolist()]
    places = np.array([int(match[1]) - 1 for match in matches if match], np.int64)
    if len(places) < len(names) or not len(names) or len(np.unique(places)) < len(places):
        return guesses, 0
    if not 0 <= places.min() <= places.max() < LARGEST_NUMBER:
        return guesses, 0
    rows = np.tile(guesses[0], (places.max() + 1, 1))  # a missing image still needs a line
    rows[places] = guesses
    return rows, len(rows) - len(names)


def _number_classes(
    predictions: SplitPredictions, devkit: Path | None
) -> tuple[NDArray[np.int64], str]:
    """Return the number of each class, and a sentence that states which numbering is used."""
    path = devkit or _find_source(predictions)
    kit = _find_kit(path) if path else None
    if devkit and kit is None:
        raise ValueError(
            f"{devkit} has no development kit of ILSVRC. Name the folder that "
            "ILSVRC2012_devkit_t12.tar.gz (or what is in it) lies in"
        )
    number_of = dict(zip(kit.wordnet_ids, kit.synset_numbers, strict=True)) if kit else {}
    known = [number_of.get(name, 0) for name in predictions.wordnet_ids or ()]
    if len(known) == len(predictions.classes) and all(known):
        return np.array(known), f"Classes have the numbers of the development kit at {path}."
    if devkit:
        raise ValueError(f"{devkit} does not number all the classes of the network")
    numbers = np.arange(1, len(predictions.classes) + 1)
    return numbers, (
        "Classes are numbered from 1 in the order of the network's classes (for ILSVRC: by WordNet "
        "id), NOT as in the development kit; the challenge wants those: --devkit FOLDER."
    )


def _find_source(predictions: SplitPredictions) -> Path | None:
    """Return the path of what was packed; None if the pack cannot be opened."""
    try:
        return Path(open_pack(predictions.pack).source["path"])
    except (OSError, ValueError):
        return None


def _find_kit(path: Path) -> Devkit | None:
    """Return the development kit in a folder, or next to a file, if it numbers the classes."""
    folder = path if path.is_dir() else path.parent
    kit = find_devkit(Directory(folder), "") if folder.is_dir() else None
    return kit if kit and kit.synset_numbers else None
