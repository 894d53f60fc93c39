"""The folder of a run: who may train in it, what it holds at the start, what is left of a failure.

`learn.train` holds a RunFolder while it trains; `commands.train` asks what there is to go on from.
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
"""A kill may leave the second, on its way to be the first."""
BEGUN = "recipe.json", "environment.json", "log.jsonl", *SAMPLES, "tensorboard"
"""What a run's folder holds before its first checkpoint, beside hidden files."""


class RunFolder:
    """While entered, the folder is there and locked; a training that never began leaves no trace.

    Raises BlockingIOError as `lock_folder`, OSError where the folder cannot be made.
    """

    def __init__(self, run: Path) -> None:
        self.run, self.used = run, False
        """Whether there is something in it to keep: a step was done, or it was resumed."""

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
        """Take away what was made since it was entered."""
        for name in {*BEGUN, LOCK} - self._before:
            path = self.run / name
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        with suppress(OSError):  # somebody else has put something there
            for folder in self._made:
                folder.rmdir()


def check_folder(run: Path, images: Path) -> None:
    """Raise FileExistsError if `run` holds something else than a run, or lies among the images.

    `images` is the source of the images as a pack has it: no folder if that is not known.
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
    """Raise FileExistsError for a folder that holds a training already."""
    if (run / "last.safetensors").exists():
        raise FileExistsError(
            f"{run} already holds a training. Go on with it (--resume {run}) or name another folder"
        )


def checkpoint_of(resume: str | Path) -> Path | None:
    """The checkpoint to go on from; None for a run that has not saved one yet.

    Raises FileNotFoundError for a checkpoint file that is missing and for a folder of other things.
    """
    resume = Path(resume)
    try:
        return checkpoints.find(resume, ("last", "best"))
    except FileNotFoundError:
        if resume.suffix == ".safetensors":
            raise FileNotFoundError(f"there is no checkpoint file {resume}") from None
    there = os.listdir(resume) if resume.exists() else []
    if strange := [name for name in there if not name.startswith(".") and name not in BEGUN]:
        raise FileNotFoundError(
            f"{resume} is no run: it has no last.safetensors or best.safetensors, but "
            f"{strange[0]}. Name the folder of a run: --resume RUN"
        )
    return None


def read_environment(run: Path) -> dict[str, Any]:
    """What the run's `environment.json` says; nothing where it is missing or damaged.

    A run can be used without it: what it would have said is then asked for, or left out.
    """
    try:
        found = read_json(run / "environment.json")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def described_pack(run: Path) -> dict[str, str]:
    """What a run says of the pack that it was trained on: path, relative path, checksum."""
    pack = read_environment(run).get("pack")
    said = pack.items() if isinstance(pack, dict) else ()
    return {name: text for name, text in said if isinstance(text, str) and "\0" not in text}


def describe_pack(pack: Path, checksum: str, run: Path) -> dict[str, str]:
    """Where a run's pack is: for everybody on this machine, and for whoever copies both."""
    return {
        "path": os.path.abspath(pack),
        "relative": os.path.relpath(pack.resolve(), run.resolve()),
        "checksum": checksum,
    }
