"""Finds the run, its folder and its recipe for `alexnet train --resume`.

Nothing heavy is imported before it is needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from alexnet.recipes.recipe import Recipe
from alexnet.validate import read_json

Resume = tuple[()] | tuple[Path] | None
"""The option --resume: None if it is not given, () if it has no value, else its value."""


def find_resumed(resume: Resume, run_folder: Path | None, images: str) -> Path | None:
    """Return the run or checkpoint file to resume; None if --resume is not given.

    --resume alone means the run folder that is given, else the newest run of these images, whose
    name is printed. Raises ValueError if there is none.
    """
    if resume is None:
        return None
    if resume:
        return resume[0]
    if run_folder is not None:
        return run_folder
    newest = find_newest_run(images)
    print(f"Resuming {newest}, the newest run of {images}.", file=sys.stderr)
    return newest


def find_restarted(run_folder: Path | None) -> Path | None:
    """Return the run that torchrun has started before and starts again after a failure.

    None if this is the first start, or if the first one ended before it began a run.
    """
    is_restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    if not is_restart or run_folder is None or not (run_folder / "recipe.json").exists():
        return None
    return run_folder


def find_folder(resumed: Path | None) -> Path | None:
    """Return the folder of a run or of a checkpoint file."""
    if resumed is None or resumed.suffix != ".safetensors" or resumed.is_dir():
        return resumed
    return resumed.parent


def find_newest_run(images: str) -> Path:
    """Return the run on these images, or this pack, that was started last.

    It is looked for in runs/, in the current folder and its subfolders, and in the folders of runs
    that the pack stands beside. Raises ValueError if there is none.
    """
    starts = {  # environment.json is written whenever a training starts or is resumed
        path.parent: path.stat().st_mtime_ns
        for path in _list_descriptions(images)
        if was_trained_on(path.parent, images)
    }
    if not starts:
        places = " or ".join(map(str, dict.fromkeys(_list_places(images))))
        raise ValueError(
            f"there is no run of {images} in {places}: name the run to resume, --resume RUN"
        )
    return max(starts, key=starts.__getitem__)


def _list_places(images: str) -> list[Path]:
    """The folders of runs: runs/, this folder, and those around the pack and the images."""
    around = Path(os.path.abspath(images)).parent
    places = [Path("runs"), Path(), around / "runs", around]
    if around.name == "packs":
        places.append(around.parent / "runs")
    known: dict[str, Path] = {}
    for place in places:
        known.setdefault(os.path.realpath(place), place)
    return list(known.values())


def _list_descriptions(images: str) -> Iterator[Path]:
    """Yield `environment.json` of this folder, if it is a run, and of those in `_list_places`."""
    if Path("environment.json").is_file():
        yield Path(os.path.abspath("environment.json"))
    for place in _list_places(images):
        yield from place.glob("*/environment.json")


def was_trained_on(run: Path, images: str) -> bool:
    """Return whether `images` is the pack of a run, or what its pack was made of."""
    from alexnet.evaluation.measured_pack import open_training_pack
    from alexnet.runs import read_pack_description

    pack = read_pack_description(run).get("path", "")
    if pack and os.path.realpath(pack) == os.path.realpath(images):
        return True
    return open_training_pack(run, images, may_be_relative=True) is not None


def read_recipe(resumed: Path) -> Recipe | None:
    """Return the recipe of a run or checkpoint file; None for a folder that has none yet.

    Raises ValueError if there is no checkpoint and recipe.json is damaged.
    """
    from alexnet.checkpoint import load_recipe
    from alexnet.runs import find_checkpoint_to_resume

    checkpoint, description = find_checkpoint_to_resume(resumed), resumed / "recipe.json"
    if checkpoint is not None:
        return load_recipe(checkpoint)
    try:
        return Recipe.from_dict(read_json(description))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(
            f"{description} is damaged ({error}), and there is no checkpoint yet: begin again in "
            "another folder"
        ) from error
