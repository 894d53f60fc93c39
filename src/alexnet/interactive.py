"""`train` as a notebook or a script calls it: on a path or a pack, with a recipe of any form.

    alexnet.train("photos", epochs=3)
        │  checks of the arguments, before anything is read
        ▼
    pack of the images, made in packs/ if needed           commands.training_pack
        ▼
    the recipe: named, given, or chosen for the images     commands.recipe_options
        ▼
    training.train.train, with a bar in the notebook or on the terminal

Packs, recipes and the names of runs are those of `alexnet train`. `train` is public as
`alexnet.train`; nothing else of the package calls this module.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from alexnet import device as devices
from alexnet.commands.recipe_options import RecipeChoice
from alexnet.commands.refusals import TrainingPlan, check_start
from alexnet.commands.resumption import find_folder, read_recipe
from alexnet.commands.training_output import silence
from alexnet.commands.training_pack import TrainingPack
from alexnet.device import Precision, Residence
from alexnet.evaluation.measured_pack import is_run
from alexnet.notebook import is_notebook
from alexnet.packing.automatic import pack_name
from alexnet.packs.pack import Pack
from alexnet.recipes.named import RECIPES
from alexnet.recipes.recipe import TEXTS, Recipe
from alexnet.runs import check_folder
from alexnet.screen import TrainingScreen
from alexnet.training import train as training
from alexnet.training.job import TrainingOutcome
from alexnet.training.log import Screen
from alexnet.training.transfer import Transfer
from alexnet.validate import check, suggest

StrPath = str | os.PathLike[str]
OTHER_NAMES = {
    "lr": "learning_rate",
    "lr0": "learning_rate",
    "bs": "batch_size",
    "batch": "batch_size",
    "wd": "weight_decay",
    "imgsz": "crop",
    "img_size": "crop",
    "image_size": "crop",
    "model": "network",
    "arch": "network",
    "name": "run",
    "data": "images",
    "pretrained": "init",
    "weights": "init",
    "verbose": "progress",
}
"""What other programs call an argument of `train`."""
ARGUMENTS = (
    *("images", "run", "recipe", "progress", "device", "precision", "resident", "compiled"),
    *("resume", "init", "save_minutes", "log_seconds", "screen"),
)
"""The arguments of `train` besides the fields of a recipe."""


def train(
    images: StrPath | Pack,
    run: StrPath | None = None,
    recipe: Recipe | str | None = None,
    *,
    progress: bool = True,
    device: str = "auto",
    precision: Precision = "auto",
    resident: Residence = "auto",
    compiled: bool = False,
    resume: StrPath | None = None,
    init: Transfer | StrPath | None = None,
    save_minutes: float = 10.0,
    log_seconds: float = 10.0,
    screen: Screen | None = None,
    **changes: Any,
) -> TrainingOutcome:
    """Train a classifier on labeled images; evaluate it on `val` images after every epoch.

    Parameters
    ----------
    images
        A folder, list or archive of labeled images, which is packed first (packs/NAME.pack),
        as `alexnet train` does; the path of a pack; or a Pack. Without a `val` split nothing is
        evaluated.
    run
        Folder to write the run to: checkpoints, recipe, log. It is made if it does not exist, and
        removed again if the training fails before its first step. By default
        runs/<name>-<date and time>; the result has its name.
    recipe
        The network and all hyper-parameters: a Recipe, or the name of one in `alexnet.RECIPES`. By
        default one is chosen for the images, and its name is printed with the reason.
    progress
        Whether to show a bar (in a notebook, on a terminal) or lines, and messages.
    device
        "auto" (a GPU if there is one), "cpu", "cuda", or "cuda:1" for the second GPU.
    precision
        Of matrix products and convolutions: "float32", "tf32", "bf16", or "auto" (bf16 on a GPU
        that has it, else float32). The weights are always float32.
    resident
        Whether to hold the training images in the memory of the GPU: "yes", "no", or "auto" (if
        they fit).
    compiled
        Whether to prepare the step with torch.compile, which takes about a minute.
    resume
        A run, or a checkpoint file, to go on with; by default its folder and its recipe are kept.
        Of the recipe, only `epochs` may differ.
    init
        A trained run whose weights the new training begins with, or a Transfer that names the
        layers to take.
    save_minutes
        Minutes between two checkpoints within an epoch. One is always saved after every epoch.
    log_seconds
        Seconds between two reports to the log and the screen.
    screen
        Receives progress and messages in place of the bar.
    **changes
        Fields of the recipe that are to be different, as `epochs=3, learning_rate=0.005`;
        `help(alexnet.Recipe)` lists them.

    Returns
    -------
    TrainingOutcome
        The folder, as `outcome.run`, and the errors of every epoch. `load`, `evaluate` and all
        functions that take a run also take the outcome. If SIGINT (Ctrl-C, the notebook's stop
        button) or SIGTERM came, the training was saved after that step, and `outcome.signal` is
        set: `resume=outcome` goes on.

    Raises
    ------
    TypeError
        An argument that does not exist, with the one that was probably meant, or of a wrong type.
    FileNotFoundError
        There are no images, or there is no run at `resume` or `init`.
    FileExistsError
        `run` holds another training, or something that is not a run.
    BlockingIOError
        Another process is training in `run`.
    ValueError
        Images, recipe and checkpoint do not fit each other; swapped arguments; a device that is not
        available; a file of the pack that turned out to be damaged during the training.
    alexnet.training.loop.Diverged
        The loss became infinite or NaN.
    MemoryError
        A step does not fit into the memory.
    OSError
        The folder cannot be written.

    Examples
    --------
    >>> outcome = alexnet.train("photos", "runs/photos", epochs=2, progress=False)
    >>> outcome.position.epoch
    2
    >>> sorted(alexnet.load(outcome).classes)
    ['cats', 'dogs']
    """
    refuse_unknown(changes)
    _refuse_swapped(images, run, recipe)
    changes = {name: convert_field(name, value) for name, value in changes.items()}
    place = images.path if isinstance(images, Pack) else Path(images)
    resumed = None if resume is None else Path(resume)
    name = f"{pack_name(place)}-{time.strftime('%Y%m%d-%H%M%S')}"  # in local time
    folder = Path(run) if run is not None else find_folder(resumed) or Path("runs") / name
    check_folder(folder, place.absolute())
    devices.set_up_machine(device, precision, resident, compiled)  # refuses what is not there
    start = init if isinstance(init, Transfer | None) else Transfer(Path(init))
    choice = _make_choice(recipe, start, changes)
    intervals = {"save_minutes": save_minutes, "log_seconds": log_seconds}
    check_start(TrainingPlan(folder, choice, resumed, start), intervals=intervals)
    with _redirect_messages(show=progress and screen is None):
        pack = images
        if not isinstance(pack, Pack):
            pack = TrainingPack(str(place), choice, resumed, start).open_or_make(folder)
        chosen = _choose_recipe(recipe, choice, pack, resumed)
    with _open_screen(progress, screen) as shown:
        outcome = training.train(
            pack,
            folder,
            chosen,
            device=device,
            precision=precision,
            resident=resident,
            compiled=compiled,
            resume=resumed,
            init=start,
            save_minutes=save_minutes,
            log_seconds=log_seconds,
            screen=shown,
        )
        if outcome.signal is not None and outcome.saved:
            shown.say(f"Stopped and saved. To go on: train(…, resume={str(folder)!r})")
    return outcome


def refuse_unknown(changes: dict[str, Any]) -> None:
    """Raise TypeError for a name that no field of a recipe has, with the one that was meant."""
    known = [field.name for field in dataclasses.fields(Recipe)]
    for name in changes:
        if name in known:
            continue
        meant = OTHER_NAMES.get(name.lower())
        advice = f" Did you mean {meant}?" if meant else suggest(name, (*known, *ARGUMENTS))
        raise TypeError(
            f"neither train nor a recipe has {name!r}.{advice or ' There are ' + ', '.join(known)}"
        )


def convert_field(name: str, value: Any) -> Any:
    """Return the value of a field of a recipe in its type. Raises TypeError for another type.

    Numbers of NumPy become Python's, and the texts of `steps` or `rates` may be one text, separated
    by spaces, as on the command line.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if name in TEXTS:
        return tuple(value.split()) if isinstance(value, str) else tuple(value)
    try:
        return check(value, get_type_hints(Recipe)[name], name)
    except ValueError as error:
        raise TypeError(f"{error} (help(alexnet.Recipe) describes every field)") from None


def _refuse_swapped(images: object, run: object, recipe: object) -> None:
    """Raise TypeError or ValueError for arguments in each other's place."""
    if not isinstance(images, str | os.PathLike | Pack):
        found = type(images).__name__
        raise TypeError(f"images are given by a path or as a Pack, and not as a {found}")
    if isinstance(run, Recipe) or (isinstance(run, str) and run in RECIPES and recipe is None):
        shown = repr(run) if isinstance(run, str) else "…"
        raise TypeError(
            f"the second argument is the folder of the run, and a recipe was given: "
            f"train(images, recipe={shown})"
        )
    if isinstance(run, Pack) or (run is not None and not isinstance(run, str | os.PathLike)):
        raise TypeError(f"run is the path of a folder, and not a {type(run).__name__}")
    if not isinstance(recipe, Recipe | str | None):
        raise TypeError(f"recipe is a Recipe or a name, and not a {type(recipe).__name__}")
    if isinstance(recipe, str) and recipe not in RECIPES:
        raise ValueError(
            f"no recipe is called {recipe!r}.{suggest(recipe, RECIPES)} There are "
            f"{', '.join(RECIPES)}"
        )
    if isinstance(images, Pack):
        return
    place = Path(images)
    if is_run(place):
        raise ValueError(
            f"{place} is a run, and not images: the images come first, and the run second. To go "
            f"on with a run: train(images, resume={str(place)!r})"
        )
    if run is not None and not place.exists() and Path(run).exists() and not is_run(Path(run)):
        raise FileNotFoundError(
            f"there are no images at {place}. If they are at {os.fspath(run)}, swap the arguments: "
            f"train({os.fspath(run)!r}, {str(place)!r})"
        )


def _make_choice(
    recipe: Recipe | str | None, init: Transfer | None, changes: dict[str, Any]
) -> RecipeChoice:
    """Return what the command line would have been told: a name, a run to start from, fields."""
    if isinstance(recipe, Recipe):
        fields = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)}
        recipe, changes = None, {**fields, **changes}
    return RecipeChoice(recipe, None if init is None else Path(init.init), changes)


def _choose_recipe(
    recipe: Recipe | str | None, choice: RecipeChoice, pack: Pack, resumed: Path | None
) -> Recipe:
    """Return the recipe to train by: the one given, that of the resumed run, or a chosen one."""
    if isinstance(recipe, Recipe):
        return dataclasses.replace(recipe, **choice.changes)
    if resumed is not None and (before := read_recipe(resumed)) is not None:
        return dataclasses.replace(before, **choice.changes)
    return choice.choose_for_pack(pack)


@contextlib.contextmanager
def _redirect_messages(show: bool) -> Iterator[None]:
    """Send what is printed on stderr nowhere or, in a notebook, to stdout, which is not red."""
    if show and not is_notebook():
        yield
        return
    with silence(True) if not show else contextlib.redirect_stderr(sys.stdout):
        yield


@contextlib.contextmanager
def _open_screen(progress: bool, screen: Screen | None) -> Iterator[Screen]:
    """Yield the screen that was given, one that draws a bar, or one that shows nothing."""
    if screen is not None or not progress:
        yield screen or Screen()
        return
    with TrainingScreen() as bar:
        yield bar
