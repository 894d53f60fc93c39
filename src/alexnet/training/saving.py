"""Writes the files of a run: its description, `last.safetensors` and `best.safetensors`.

`training.loop` owns a `RunWriter`; `training.train` calls `mend_best` for a training that is
finished already. Every file is written through `alexnet.files`, so after a kill or on a full disk
the earlier file is still complete. Nothing here depends on the network or the loop.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Callable
from pathlib import Path

from alexnet import checkpoint as checkpoints
from alexnet import device as devices
from alexnet import runs
from alexnet.checkpoint import Checkpoint, Position
from alexnet.device import Machine
from alexnet.files import lock_folder, replace_json
from alexnet.packs.pack import Pack
from alexnet.packs.samples import write_samples
from alexnet.recipes.recipe import Recipe
from alexnet.training.log import Screen
from alexnet.training.transfer import Transfer, describe_init

FULL = errno.ENOSPC, errno.EDQUOT, errno.EFBIG
"""Errors that go away when space on the disk is freed."""


class RunWriter:
    """Writes the files of one run. A failure is reported and does not end the training."""

    def __init__(
        self,
        pack: Pack,
        run: Path,
        recipe: Recipe,
        machine: Machine,
        init: Transfer | None,
        screen: Screen,
    ) -> None:
        self.pack, self.run, self.recipe = pack, run, recipe
        self.machine, self.init, self.screen = machine, init, screen

    def describe_run(self, is_new: bool) -> None:
        """Write `recipe.json`, `environment.json` and the sample images.

        Raises OSError if that fails in a new run. In a resumed one it is only reported: the
        training can continue without them.
        """
        if is_new:
            self._describe()
        else:
            self._try(self._describe, "description")

    def save(self, checkpoint: Checkpoint) -> bool:
        """Write `last.safetensors`; return False, keeping the earlier one, if that fails."""
        return self._try(lambda: checkpoints.save(checkpoint, self.run / "last.safetensors"))

    def keep_best(self, history: tuple[dict[str, float], ...]) -> bool:
        """If the last epoch is the best so far, make `best.safetensors` the same as `last`.

        Returns False if that could not be done.
        """
        if not is_best(history):
            return True
        last, best = self.run / "last.safetensors", self.run / "best.safetensors"
        return self._try(lambda: checkpoints.link_or_copy(last, best))

    def _describe(self) -> None:
        write_samples(self.pack, self.run)
        replace_json(self.run / "recipe.json", self.recipe.to_dict())
        pack = runs.describe_pack(self.pack.path, self.pack.checksum, self.run)
        machine, init = devices.describe_machine(self.machine), describe_init(self.init)
        replace_json(self.run / "environment.json", {**machine, "pack": pack, **init})

    def _try(self, write: Callable[[], None], what: str = "checkpoint") -> bool:
        """Write, making the folder again if it has disappeared; return whether that succeeded."""
        try:
            if not self.run.is_dir():
                self.run.mkdir(parents=True)
                self.screen.warn(f"{self.run} had disappeared: it is made again.")
                self._describe()
            write()
        except OSError as error:
            cure = "Make room on that disk" if error.errno in FULL else "Check that folder"
            self.screen.warn(
                f"No {what} could be written to {self.run}: {error.strerror}. Training continues; "
                f"the files saved before are unchanged, and the next save will be tried. {cure}."
            )
            return False
        return True


class NoWriter(RunWriter):
    """Writes nothing: for processes other than the first of a training."""

    def describe_run(self, is_new: bool) -> None:
        """Do nothing."""

    def save(self, checkpoint: Checkpoint) -> bool:
        """Do nothing."""
        return True

    def keep_best(self, history: tuple[dict[str, float], ...]) -> bool:
        """Do nothing."""
        return True


def is_best(history: tuple[dict[str, float], ...]) -> bool:
    """Whether the last epoch has a lower top-1 error than every epoch before it.

    Without validation images every epoch counts as better than those before.
    """
    if not history:
        return False
    errors = [measured.get("val_top1", -float(i)) for i, measured in enumerate(history)]
    return errors[-1] < min(errors[:-1], default=math.inf)


def mend_best(run: Path, path: Path, position: Position, screen: Screen) -> bool:
    """Write the `best.safetensors` of a finished training if a kill has prevented that.

    `path` is the checkpoint that was asked for, at `position`. A kill between the writing of
    `last` and of `best` leaves an earlier `best`, or none. Returns False if it still is not the
    best epoch's. Raises BlockingIOError if another process is training in `run`.
    """
    last, best = run / "last.safetensors", run / "best.safetensors"
    should_be_last = last.exists() and path.samefile(last) and is_best(position.history)
    if not should_be_last or _is_at(best, position):
        return True
    try:
        with lock_folder(run, "training"):
            checkpoints.link_or_copy(last, best)
    except BlockingIOError:
        raise
    except OSError as error:
        screen.warn(f"{best} is not the best epoch's and cannot be written: {error.strerror}")
        return False
    screen.say(f"{best} was not the best epoch's; now it is.")
    return True


def _is_at(path: Path, position: Position) -> bool:
    """Whether a checkpoint file is whole and holds a training at this position."""
    try:
        return checkpoints.load(path).position == position
    except (OSError, ValueError):
        return False
