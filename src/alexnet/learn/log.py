"""What a training tells: `log.jsonl`, TensorBoard where it is installed, and the screen."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Progress:
    """Where a training is, for whoever looks on."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    """Mean over the steps since the last report."""
    learning_rate: float
    images_per_second: float
    waiting: float
    """Share of the time that the device waited for data."""
    seconds_left: float


class Screen:
    """Somebody looking on. This one sees nothing; the command line's draws lines and bars."""

    def progress(self, progress: Progress) -> None:
        """A logging interval has passed."""

    def say(self, text: str) -> None:
        """Something happened that a person should read."""


class RunLog:
    """The log of one run: an object a line, each with its epoch and step."""

    def __init__(self, run: Path, screen: Screen, done: int = 0) -> None:
        """Open the log of a run in which `done` steps were done before."""
        self.path, self.screen = run / "log.jsonl", screen
        self._board = _tensorboard(run, done)
        self._lines = self.path.open("a", encoding="utf-8")

    def rewind(self, epoch: int, step: int) -> None:
        """Forget what was logged after this moment: a resumed run says it again."""
        self._lines.close()
        kept = [
            line for line in _objects(self.path) if (line["epoch"], line["step"]) <= (epoch, step)
        ]
        beside = self.path.with_name(".log.jsonl.partial")
        beside.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        os.replace(beside, self.path)
        self._lines = self.path.open("a", encoding="utf-8")

    def write(self, event: str, *, epoch: int, step: int, **values: Any) -> None:
        """Append one object. A full disk costs the line, not the run."""
        line = {"event": event, "epoch": epoch, "step": step, **values}
        try:
            self._lines.write(json.dumps(line) + "\n")
            self._lines.flush()
        except OSError as error:
            self.screen.say(f"{self.path}: {error.strerror}; this line of the log is lost")

    def scalars(self, at: int, **values: float) -> None:
        """Curves for TensorBoard: `train_loss` becomes train/loss; `at` counts steps."""
        if self._board is None:
            return
        for name, value in values.items():
            if name.startswith(("train_", "val_")):
                self._board.add_scalar(name.replace("_", "/", 1), value, at)

    def close(self) -> None:
        """Flush and close."""
        with suppress(OSError):
            self._lines.close()
        if self._board is not None:
            self._board.close()


def _objects(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; a last one that a kill has cut is dropped."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found


def _tensorboard(run: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(run / "tensorboard"), purge_step=done + 1 if done else None)
