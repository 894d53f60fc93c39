"""What `alexnet train` refuses before it packs an image, and arguments in the wrong order.

    check_order                 IMAGES and RUN, each where the other belongs
    check_start                 what needs no images: device, precision, folder, recipe, checkpoint
    check_training              what needs their classes, splits and size, and the free disk space

`commands.train` and `commands.training_pack` call these; `predict` and `evaluate` call
`refuse_reversed`. `training.train` checks again what it needs, since others call it as well.
"""

from __future__ import annotations

import dataclasses
import math
import os
import shlex
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alexnet.commands.recipe_options import RecipeChoice
    from alexnet.recipes.recipe import Recipe
    from alexnet.sources import Source
    from alexnet.training.transfer import Transfer

RECORD_BYTES = {"rgb": 3.0, "yuv420": 1.5}
"""Bytes per pixel of a record."""
EXPORTED = ".onnx", ".xml", ".pt2"
"""Endings of exported networks."""
CHECKPOINTS = 2
"""Checkpoints for which there must be space: `last`, and the next one, written beside it."""


def looks_like_run(path: Path) -> bool:
    """Return whether a path is a checkpoint file or a run; a pack is none."""
    from alexnet.evaluation.measured_pack import is_run

    return is_run(path)


def check_order(images: str, run: Path | None) -> None:
    """Raise ValueError if a run stands where the images belong. `run` is the second argument."""
    first = Path(images)
    if looks_like_run(first):
        other = str(run) if run else "IMAGES"
        raise ValueError(
            f"{images} is a run, and the images come first. To train anew: "
            f"{_join('train', other, 'RUN')}; to go on with that run: "
            f"{_join('train', other, '--resume', images)}"
        )
    if run is None or first.exists() or images == "digits" or not _holds_images(run):
        return
    raise ValueError(
        f"{images} does not exist, and {run} does: the images come first, then the folder of the "
        f"run: {_join('train', str(run), images)}"
    )


def refuse_reversed(command: str, first: Path, others: Iterable[Path]) -> None:
    """Raise ValueError if the first path is no run and a later one is.

    The first may also be a file that `alexnet export` made.
    """
    rest = list(others)
    if looks_like_run(first) or first.suffix in EXPORTED:
        return
    if run := next((path for path in rest if looks_like_run(path)), None):
        words = [str(run), str(first), *(str(path) for path in rest if path != run)]
        raise ValueError(
            f"{first} is no run, and {run} is: the run comes first: {_join(command, *words)}"
        )


def _join(command: str, *words: str) -> str:
    return " ".join(["alexnet", command, *map(shlex.quote, words)])


def _holds_images(path: Path) -> bool:
    """Return whether something other than a run, or an empty folder, is at a path."""
    if path.is_file():
        return True
    return path.is_dir() and not looks_like_run(path) and any(path.iterdir())


@dataclass(frozen=True)
class TrainingPlan:
    """What is known of a training before its images are."""

    folder: Path
    """Folder of the run."""
    choice: RecipeChoice
    resumed: Path | None
    init: Transfer | None


def check_start(plan: TrainingPlan, *, intervals: dict[str, float]) -> None:
    """Refuse what can be refused before the images are looked at. Raises ValueError or OSError.

    `intervals` are the options that are times. The device is checked by the caller, who sets it up.
    """
    from alexnet import checkpoint, runs
    from alexnet.nets import find
    from alexnet.recipes.named import RECIPES

    for name, value in intervals.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"--{name.replace('_', '-')} is {value}; it has to be 0 or more")
    if network := plan.choice.changes.get("network"):
        find(network)
    if plan.init is not None:
        checkpoint.load_recipe(checkpoint.find(plan.init.init))
    if plan.resumed is None:
        runs.check_free(plan.folder)
        name, _ = plan.choice.choose_name("folder", 256, 0, True)  # raises for an unknown name
        dataclasses.replace(RECIPES[name], **plan.choice.changes)  # raises for a value
    else:
        _check_resumed(plan.resumed, plan.folder, plan.choice)
    _check_writable(plan.folder)


def _check_resumed(resumed: Path, folder: Path, choice: RecipeChoice) -> None:
    """Refuse to resume what is no run, or with other values than before."""
    from alexnet import runs
    from alexnet.commands.resumption import read_recipe
    from alexnet.training.refusals import check_same_recipe

    path = runs.find_checkpoint_to_resume(resumed)
    if path is None or path.parent.resolve() != folder.resolve():
        runs.check_free(folder)
    recipe = read_recipe(resumed)
    if recipe is not None and path is not None:
        check_same_recipe(dataclasses.replace(recipe, **choice.changes), recipe)


def _check_writable(folder: Path) -> None:
    """Raise PermissionError if the folder of the run could not be made."""
    place = _find_existing(folder)
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(
            f"{folder} cannot be written: you may not create files in {place}. Name another folder "
            "for the run"
        )


def check_training(
    source: Source, size: int, pixels: str, pack_folder: Path, plan: TrainingPlan, recipe: Recipe
) -> None:
    """Refuse what the classes, the splits and the number of images make impossible.

    Images are going to be packed into `pack_folder`, at `size`×`size` pixels.
    """
    from alexnet.training.refusals import check_layers, check_validation

    if "train" not in source.splits:
        raise ValueError(
            f"{source.path} has no training images; it has {', '.join(source.splits)}. Put them "
            "into a folder called train"
        )
    check_validation(recipe, source.path, has_validation="val" in source.splits)
    check_layers(recipe, source.classes, plan.init)
    is_new = not pack_folder.exists()
    needs = {pack_folder: count_pack_bytes(source, size, pixels) if is_new else 0}
    needs[plan.folder] = needs.get(plan.folder, 0) + CHECKPOINTS * count_checkpoint_bytes(
        recipe, len(source.classes)
    )
    check_disk_space(needs)


def check_disk_space(needs: dict[Path, int]) -> None:
    """Raise OSError if a volume has less free space than the folders on it need, in bytes."""
    volumes: dict[int, list[Path]] = {}
    for folder in needs:
        volumes.setdefault(_find_existing(folder).stat().st_dev, []).append(folder)
    for folders in volumes.values():
        free = shutil.disk_usage(_find_existing(folders[0])).free
        needed = sum(needs[folder] for folder in folders)
        if needed > free:
            raise OSError(
                f"the pack and the checkpoints need about {needed / 1e9:.1f} GB, and "
                f"{free / 1e9:.1f} GB are free on the volume of {folders[0]}: free some space, or "
                "name a folder for the run on another volume"
            )


def count_pack_bytes(source: Source, size: int, pixels: str) -> int:
    """Return the bytes of the records of a source; 0 where its images cannot be counted quickly."""
    from alexnet.packing.progress import count_items

    return count_records(count_items(source) or 0, size, pixels)


def count_records(images: int, size: int, pixels: str) -> int:
    """Return the bytes of so many records."""
    return int(images * size * size * RECORD_BYTES[pixels])


def count_images(source: Source) -> dict[str, int]:
    """Count the images of each split without decoding them: damaged files count as well."""
    from alexnet.sources.entry import Entry

    return {
        split: sum(isinstance(item, Entry) for item in source.entries(split))
        for split in source.splits
    }


def count_checkpoint_bytes(recipe: Recipe, classes: int) -> int:
    """Return the bytes of a checkpoint: weights and momenta, float32."""
    return 8 * count_parameters(recipe, classes)


def count_parameters(recipe: Recipe, classes: int) -> int:
    """Return the number of weights and biases of a recipe's network."""
    import torch

    from alexnet.nets.variations import network_of

    with torch.device("meta"):
        return sum(p.numel() for p in network_of(recipe, classes).parameters())


def _find_existing(folder: Path) -> Path:
    """Return the folder, or the nearest folder above it that exists."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
