"""The outputs of a training: `log.jsonl`, TensorBoard if it is installed, and a screen.

None of them can end a training: if a file cannot be written, a message is shown once, and its lines
are left out. Used by `training.loop` and `training.meter`; `screen.TrainingScreen` is a Screen.
This module must not import any other module of `training`.
"""

from __future__ import annotations

import io
import json
import math
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet.files import append, replace_bytes
from alexnet.validate import parse_json

TAGS = {"val_top1": "val/top1_error", "val_top5": "val/top5_error"}
"""The curves whose name in TensorBoard says more than the name in the log."""


@dataclass(frozen=True)
class TrainingProgress:
    """The position and the speed of a training at the time of a report."""

    epoch: int
    """The current epoch, from 1."""
    epochs: int
    step: int
    """Steps of this epoch that are done."""
    steps: int
    """Steps per epoch."""
    loss: float
    """Mean over the steps since the last report."""
    learning_rate: float
    images_per_second: float
    waiting: float
    """Share of the time spent waiting for batches, 0 to 1."""
    seconds_left: float


@dataclass(frozen=True)
class EpochReport:
    """What was measured after an epoch."""

    epoch: int
    """The finished epoch, from 1."""
    epochs: int
    n_classes: int
    measured: dict[str, float]
    """Its entry of the history in a checkpoint: train_loss, val_loss, val_top1 (an error), …"""
    is_best: bool
    """Whether its validation error is the lowest so far."""
    text: str
    """The same as a line for a person."""


class Screen:
    """Receives the progress and the messages of a training.

    This base class ignores them; `screen.TrainingScreen` shows them on a terminal.
    """

    seconds_between = math.inf
    """Seconds after which `progress` is called between two reports, too, where that is free."""

    def progress(self, progress: TrainingProgress) -> None:
        """Called at every report: after two seconds, then once in `log_seconds`."""

    def say(self, text: str) -> None:
        """Called with a message for a person."""

    def warn(self, text: str) -> None:
        """Called with a message about something that went wrong or will."""
        self.say(text)

    def end_epoch(self, report: EpochReport) -> None:
        """Called after every epoch, when it is measured and saved."""
        self.say(report.text)


class SafeScreen(Screen):
    """Wraps a screen so that its failures (a closed pipe, a full disk) do not end a training."""

    def __init__(self, screen: Screen) -> None:
        self.screen, self.seconds_between = screen, screen.seconds_between

    def progress(self, progress: TrainingProgress) -> None:
        """Pass the progress on."""
        self._show(self.screen.progress, progress)

    def say(self, text: str) -> None:
        """Pass the message on."""
        self._show(self.screen.say, text)

    def warn(self, text: str) -> None:
        """Pass the warning on."""
        self._show(self.screen.warn, text)

    def end_epoch(self, report: EpochReport) -> None:
        """Pass the report on."""
        self._show(self.screen.end_epoch, report)

    def _show(self, show: Callable[[Any], None], what: object) -> None:
        with suppress(OSError, ValueError, SystemExit):  # rich exits the program at a closed pipe
            show(what)


class RunLog:
    """The log of one run: one JSON object per line, each with its epoch and step.

        {"event": "step", "epoch": 0, "step": 120, "loss": 4.2, "learning_rate": 0.01, …}
        {"event": "epoch", "epoch": 1, "step": 0, "train_loss": 3.9, "val_top1": 0.71, …}

    `epoch` counts the epochs done before, `step` the steps of the one under way.
    """

    def __init__(self, run: Path, screen: Screen, done: int = 0) -> None:
        """Open the log of a run. `done`: steps done before, by earlier processes."""
        self.path, self.screen = run / "log.jsonl", screen
        self._failed: set[Path] = set()
        self._curves = _open_curves(run / "tensorboard", done)

    def rewind(self, epoch: int, step: int) -> None:
        """Remove what was logged after this position: a resumed run logs it again."""
        self._try(self.path, lambda: _rewrite(self.path, epoch, step))

    def write(self, event: str, *, epoch: int, step: int, **values: Any) -> None:
        """Append one object. If the disk is full the line is left out."""
        line = json.dumps({"event": event, "epoch": epoch, "step": step, **values}) + "\n"
        self._try(self.path, lambda: append(self.path, line.encode()))

    def write_scalars(self, at: int, **values: float) -> None:
        """Add a point to the curves of TensorBoard, at step `at` of the whole training.

        Only values named train_… and val_… are shown: `train_loss` as train/loss. `val_top1` is
        an error, and shown as val/top1_error; the first versions wrote it as val/top1.
        """
        curves = self._curves
        shown = {
            TAGS.get(name, name.replace("_", "/", 1)): value
            for name, value in values.items()
            if name.startswith(("train_", "val_"))
        }
        if curves is not None and shown:
            self._try(curves.path.parent, lambda: curves.write(at, shown))

    def _try(self, path: Path, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError as error:
            if path not in self._failed:
                self.screen.warn(
                    f"{path}: {error.strerror}. Training continues; lines that cannot be written "
                    "are left out"
                )
            self._failed.add(path)


class NoLog(RunLog):
    """Logs nothing: for processes other than the first of a training."""

    def __init__(self, run: Path, screen: Screen, done: int = 0) -> None:
        """Open nothing."""

    def rewind(self, epoch: int, step: int) -> None:
        """Do nothing."""

    def write(self, event: str, *, epoch: int, step: int, **values: Any) -> None:
        """Do nothing."""

    def write_scalars(self, at: int, **values: float) -> None:
        """Do nothing."""


class Curves:
    """The curves that one process writes for TensorBoard, in an event file of its own.

    Every point is in the file as soon as `write` returns. TensorBoard's own writer hands points to
    a thread instead, which a full disk ends with a traceback.
    """

    def __init__(self, folder: Path, done: int) -> None:
        """Raises ImportError if TensorBoard is not installed."""
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._events, self._summaries, self._records = event_pb2, summary_pb2, RecordWriter
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self.path, self._done = folder / name, done

    def write(self, step: int, values: dict[str, float]) -> None:
        """Add a point to each curve. Raises OSError if that fails."""
        self.path.parent.mkdir(exist_ok=True)
        if not self.path.exists():
            append(self.path, self._head())
        points = [self._summaries.Summary.Value(tag=k, simple_value=v) for k, v in values.items()]
        summary = self._summaries.Summary(value=points)
        append(self.path, self._record(step=step, summary=summary))

    def _head(self) -> bytes:
        """The version and, in a resumed training, the step from which earlier points are void."""
        head = self._record(file_version="brain.Event:2")
        if self._done:
            session = self._events.SessionLog(status=self._events.SessionLog.START)
            head += self._record(step=self._done + 1, session_log=session)
        return head

    def _record(self, **fields: Any) -> bytes:
        record = io.BytesIO()
        event = self._events.Event(wall_time=time.time(), **fields)
        self._records(record).write(event.SerializeToString())
        return record.getvalue()


def _rewrite(path: Path, epoch: int, step: int) -> None:
    """Keep the lines of a log up to a position."""
    kept = [line for line in _objects(path) if (line["epoch"], line["step"]) <= (epoch, step)]
    replace_bytes(path, "".join(json.dumps(line) + "\n" for line in kept).encode())


def _objects(path: Path) -> list[dict[str, Any]]:
    """The objects of a log. Damaged lines, as a last one cut by a kill, are left out."""
    objects = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with suppress(ValueError):
            objects.append(parse_json(line, str(path)))
    return [line for line in objects if _has_position(line)]


def _has_position(line: object) -> bool:
    return isinstance(line, dict) and all(isinstance(line.get(k), int) for k in ("epoch", "step"))


def _open_curves(folder: Path, done: int) -> Curves | None:
    try:
        return Curves(folder, done)
    except ImportError:
        return None
