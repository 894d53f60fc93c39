"""The folder of a run: who may train in it, what it holds at the start, what is left of a failure.

`learn.train` holds a RunFolder while it trains; `commands.train` asks what there is to go on from.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from alexnet.learn import checkpoint as checkpoints
from alexnet.learn.transfer import Transfer

BEGUN = "recipe.json", "environment.json", "log.jsonl", "samples.safetensors", "tensorboard"
"""What a run's folder holds before its first checkpoint, beside hidden files."""


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the run's folder. Raises BlockingIOError if another process holds it.

    The lock belongs to the process and goes with it, however it ends.
    """
    with (run / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"another process is training in {run}. Wait for it, or name another folder"
            ) from None
        yield


class RunFolder:
    """While entered, the folder is there and locked; a training that never began leaves no trace.

    Raises BlockingIOError as `locked`, OSError where the folder cannot be made.
    """

    def __init__(self, run: Path) -> None:
        self.run, self.used = run, False
        """Whether there is something in it to keep: a step was done, or it was resumed."""

    def __enter__(self) -> RunFolder:
        self._made = [path for path in (self.run, *self.run.parents) if not path.exists()]
        self._before = set() if self._made else set(os.listdir(self.run))
        self.run.mkdir(parents=True, exist_ok=True)
        self._lock = locked(self.run)
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
        for name in {*BEGUN, ".lock"} - self._before:
            path = self.run / name
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        with suppress(OSError):  # somebody else has put something there
            for folder in self._made:
                folder.rmdir()


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


def first_init(run: Path) -> Transfer | None:
    """What a run that has no checkpoint yet began with, as its description says."""
    try:
        init = json.loads((run / "environment.json").read_text("utf-8")).get("init")
        return init and Transfer(Path(init["path"]), tuple(init["take"]), tuple(init["reset"]))
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return None


def describe_init(init: Transfer | None) -> dict[str, Any]:
    """What `first_init` reads."""
    if init is None:
        return {}
    path = os.path.abspath(init.init)
    return {"init": {"path": path, "take": list(init.take), "reset": list(init.reset)}}


def describe_pack(pack: Path, checksum: str, run: Path) -> dict[str, str]:
    """Where a run's pack is: for everybody on this machine, and for whoever copies both."""
    return {
        "path": os.path.abspath(pack),
        "relative": os.path.relpath(pack.resolve(), run.resolve()),
        "checksum": checksum,
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file that people read, whole or not at all. Raises OSError."""
    text = json.dumps(content, indent=2) + "\n"  # ASCII, whatever the names in it
    checkpoints.replace_file(path, lambda beside: beside.write_text(text, "ascii"))
