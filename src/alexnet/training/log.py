"""What a training tells: `log.jsonl`, TensorBoard where it is installed, and the screen.

None of them can end a training: what cannot be written or shown is said once and left out.
"""

from __future__ import annotations

import io
import json
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


@dataclass(frozen=True)
class TrainingProgress:
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

    def progress(self, progress: TrainingProgress) -> None:
        """A logging interval has passed."""

    def say(self, text: str) -> None:
        """Something happened that a person should read."""


class SafeScreen(Screen):
    """Another screen whose failures (a closed pipe, a full disk) end nothing."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen

    def progress(self, progress: TrainingProgress) -> None:
        """See Screen."""
        self._show(self.screen.progress, progress)

    def say(self, text: str) -> None:
        """See Screen."""
        self._show(self.screen.say, text)

    def _show(self, show: Callable[[Any], None], what: object) -> None:
        with suppress(OSError, ValueError, SystemExit):  # rich exits the program at a closed pipe
            show(what)


class RunLog:
    """The log of one run: an object a line, each with its epoch and step."""

    def __init__(self, run: Path, screen: Screen, done: int = 0) -> None:
        """Open the log of a run in which `done` steps were done before."""
        self.path, self.screen = run / "log.jsonl", screen
        self._failed: set[Path] = set()
        self._curves = _curves(run / "tensorboard", done)

    def rewind(self, epoch: int, step: int) -> None:
        """Forget what was logged after this moment: a resumed run says it again."""
        self._try(self.path, lambda: _rewrite(self.path, epoch, step))

    def write(self, event: str, *, epoch: int, step: int, **values: Any) -> None:
        """Append one object. A full disk costs the line, not the run."""
        line = json.dumps({"event": event, "epoch": epoch, "step": step, **values}) + "\n"
        self._try(self.path, lambda: append(self.path, line.encode()))

    def write_scalars(self, at: int, **values: float) -> None:
        """Curves for TensorBoard: `train_loss` becomes train/loss; `at` counts steps."""
        curves = self._curves
        shown = {
            name.replace("_", "/", 1): value
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
                self.screen.say(
                    f"{path}: {error.strerror}. Training goes on; what cannot be written there is "
                    "left out"
                )
            self._failed.add(path)


class Curves:
    """TensorBoard's events of one process, each in the file as soon as it is written.

    TensorBoard's own writer hands them to a thread, which a full disk ends with a traceback.
    """

    def __init__(self, folder: Path, done: int) -> None:
        """Raises ImportError where TensorBoard is not installed."""
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._events, self._summaries, self._records = event_pb2, summary_pb2, RecordWriter
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self.path, self._done = folder / name, done

    def write(self, step: int, values: dict[str, float]) -> None:
        """Add a point to each curve. Raises OSError."""
        self.path.parent.mkdir(exist_ok=True)
        if not self.path.exists():
            append(self.path, self._head())
        points = [self._summaries.Summary.Value(tag=k, simple_value=v) for k, v in values.items()]
        summary = self._summaries.Summary(value=points)
        append(self.path, self._record(step=step, summary=summary))

    def _head(self) -> bytes:
        """The version and, in a resumed training, from where on earlier curves do not count."""
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
    """Keep the lines of a log up to a moment."""
    kept = [line for line in _objects(path) if (line["epoch"], line["step"]) <= (epoch, step)]
    replace_bytes(path, "".join(json.dumps(line) + "\n" for line in kept).encode())


def _objects(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log, without others, such as a last one that a kill has cut."""
    found = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with suppress(ValueError):
            found.append(parse_json(line, str(path)))
    return [line for line in found if _has_position(line)]


def _has_position(line: object) -> bool:
    return isinstance(line, dict) and all(isinstance(line.get(k), int) for k in ("epoch", "step"))


def _curves(folder: Path, done: int) -> Curves | None:
    try:
        return Curves(folder, done)
    except ImportError:
        return None
