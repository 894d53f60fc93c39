"""The folder of a run: checks before training in it, and reading of its files.

    RUN/
      recipe.json           the recipe
      environment.json      machine, versions, the pack, the earlier training it began with; of
                            imported weights, the file they come from
      log.jsonl             one JSON object per report and per epoch
      tensorboard/          the same as curves, where TensorBoard is installed
      samples.safetensors   some images, to try the network without the pack
      last.safetensors      the newest checkpoint, from which a training is resumed
      best.safetensors      the checkpoint with the lowest validation error
      .lock                 while a process trains in it

`training.train` enters a RunFolder while it trains; `commands.train` asks for the checkpoint to
resume from; everything that opens a run asks for its pack. No other module reads
`environment.json`. This module must not import `training`, which imports it.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from alexnet import checkpoint as checkpoints
from alexnet.files import LOCK, lock_folder
from alexnet.sources.names import quote_names
from alexnet.validate import read_json

SAMPLES = "samples.safetensors", "samples.safetensors.part"
"""Sample images. Earlier versions could leave the second name behind when killed."""
BEGUN = "recipe.json", "environment.json", "log.jsonl", *SAMPLES, "tensorboard"
"""What a run's folder may hold before its first checkpoint, apart from hidden files."""


class RunFolder:
    """The folder of a training in progress: created and locked while entered.

    If the training fails before its first step, so that `used` is still False, everything that was
    made since the folder was entered is removed again. On entering it raises BlockingIOError if
    another process is training there, and OSError if the folder cannot be made.
    """

    def __init__(self, run: Path) -> None:
        self.run, self.used = run, False
        """Whether the folder holds something to keep: set it when a step was done or resumed."""

    def __enter__(self) -> RunFolder:
        self._made = [path for path in (self.run, *self.run.parents) if not path.exists()]
        self._before = set() if self._made else set(os.listdir(self.run))
        self.run.mkdir(parents=True, exist_ok=True)
        self._lock = lock_folder(self.run, "training")
        self._lock.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if error is not None and not self.used:
            self._remove()
        self._lock.__exit__(None, None, None)

    def _remove(self) -> None:
        """Remove what was made since the folder was entered, and parent folders that were made."""
        for name in {*BEGUN, LOCK} - self._before:
            path = self.run / name
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        with suppress(OSError):  # another process has put something there
            for folder in self._made:
                folder.rmdir()


class ForeignFolder(RunFolder):
    """The folder of a training in progress that another process has made and locked."""

    def __enter__(self) -> ForeignFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Do nothing."""


def check_folder(run: Path, images: Path) -> None:
    """Raise FileExistsError if `run` holds something other than a run, or lies among the images.

    `images` is the path that the images were packed from. It need not exist any more, and may be a
    name instead, as "digits".
    """
    if images.is_absolute() and images.is_dir() and run.resolve().is_relative_to(images.resolve()):
        raise FileExistsError(
            f"{run} is inside {images}, a folder of images: name a folder elsewhere for the run"
        )
    if run.exists() and not run.is_dir():
        raise FileExistsError(f"{run} is a file: name a new folder for the run")
    if not run.exists() or any(
        (run / name).exists() for name in (*BEGUN, "last.safetensors", LOCK)
    ):
        return
    if others := [path.name for path in run.iterdir() if not path.name.startswith(".")]:
        raise FileExistsError(
            f"{run} is not empty and holds no run (there is {quote_names(sorted(others), 3)}): "
            "name a new folder for the run"
        )


def check_free(run: Path) -> None:
    """Raise FileExistsError if `run` already holds a training that has saved a checkpoint."""
    if (run / "last.safetensors").exists():
        raise FileExistsError(
            f"{run} already holds a training. Resume it (--resume {run}) or name another folder"
        )


def find_checkpoint_to_resume(resume: str | Path) -> Path | None:
    """Return the checkpoint file to resume from; None if the run has not saved one yet.

    `resume` is a checkpoint file or the folder of a run, of which `last` is preferred to `best`.
    Raises FileNotFoundError if a checkpoint file is missing, or if a folder holds other things.
    """
    resume = Path(resume)
    try:
        return checkpoints.find(resume, ("last", "best"))
    except FileNotFoundError:
        if resume.suffix == ".safetensors":
            raise FileNotFoundError(f"there is no checkpoint file {resume}") from None
    names = os.listdir(resume) if resume.exists() else []
    if strange := [name for name in names if not name.startswith(".") and name not in BEGUN]:
        raise FileNotFoundError(
            f"{resume} is no run: it has no last.safetensors or best.safetensors, but "
            f"{strange[0]}. Name the folder of a run: --resume RUN"
        )
    return None


def read_environment(run: Path) -> dict[str, Any]:
    """Return the content of a run's `environment.json`; {} if it is missing or damaged.

    A run can be used without it: its pack is then asked for, and changes are not reported. Any
    value in it may be of any type, since the file may come from others.
    """
    try:
        content = read_json(run / "environment.json")
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_pack_description(run: Path) -> dict[str, str]:
    """Return the description of a run's pack: those of "path", "relative", "checksum" that exist.

    See `describe_pack` for their meaning.
    """
    pack = read_environment(run).get("pack")
    items = pack.items() if isinstance(pack, dict) else ()
    return {name: text for name, text in items if isinstance(text, str) and "\0" not in text}


def read_import(run: Path) -> dict[str, str]:
    """Return where the weights of an imported run come from; {} for a run that was trained.

    "file", "sha256" and "network", as far as they are there; see `importing.run`.
    """
    origin = read_environment(run).get("imported")
    items = origin.items() if isinstance(origin, dict) else ()
    return {name: text for name, text in items if isinstance(text, str)}


def describe_pack(pack: Path, checksum: str, run: Path) -> dict[str, str]:
    """Describe a run's pack for its `environment.json`.

    "path" is absolute and finds the pack from any folder of this machine; "relative" is the way
    from the run to the pack, which is still right if both are copied together; "checksum" tells
    whether it is the same pack.
    """
    return {
        "path": os.path.abspath(pack),
        "relative": os.path.relpath(pack.resolve(), run.resolve()),
        "checksum": checksum,
    }
