"""Progress of long work: a bar on a terminal or in a notebook, plain lines on stderr elsewhere.

Used by the commands. `TrainingScreen` shows the progress of a training, `Bar` that of anything
else. Displaying progress never changes it.
"""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from alexnet.notebook import NotebookLine, is_notebook
from alexnet.terminal import escape_unencodable, escape_unprintable, unwrap_stream, wrap_text
from alexnet.training.log import Screen, TrainingProgress

BAR = 16
"""Width of the bar in characters."""
WIDTH = 80
"""Columns of a line where there is no terminal."""
NOTABLE_WAITING = 0.05
"""Share of the time spent waiting for data from which on it is shown."""


class Bar:
    """A progress bar followed by a text, on stderr.

    Without a terminal the text is printed as a line instead, at most once in every
    `seconds_between_lines` seconds.
    """

    def __init__(self, seconds_between_lines: float = 10.0) -> None:
        stream = unwrap_stream(sys.stderr)
        self.console = Console(file=stream, highlight=False, soft_wrap=True)
        self.seconds, self.last = seconds_between_lines, 0.0
        columns = BarColumn(BAR), TextColumn("{task.description}", markup=False)
        self.progress = Progress(*columns, console=self.console, transient=True)
        self.task: Any = None
        self.notebook = NotebookLine() if is_notebook() else None

    def __enter__(self) -> Bar:
        if self.console.is_terminal and self.notebook is None:
            self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.notebook is not None:
            self.notebook.remove()
        elif self.console.is_terminal:  # elsewhere it would print an empty line
            self.progress.stop()

    def show(self, done: float, total: float | None, text: str, short: str = "") -> None:
        """Update the bar and its text.

        `total` is None if it is not known. On a terminal the text is `short`, if that is given,
        because the bar takes room.
        """
        if self.notebook is not None:
            self.notebook.show(done, total, text)
            return
        if not self.console.is_terminal:
            if time.monotonic() - self.last > self.seconds:
                self.say(text)
                self.last = time.monotonic()
            return
        if self.task is None:
            self.task = self.progress.add_task("")
        self.progress.update(
            self.task, completed=done, total=total, description=self._safe(short or text)
        )

    def say(self, text: str) -> None:
        """Print a message above the bar; it stays. Long lines are wrapped."""
        if self.notebook is not None:
            sys.stdout.write(escape_unprintable(text, "\n") + "\n")
            return
        self.console.print(Text(wrap_text(self._safe(text), self.width)))

    @property
    def width(self) -> int:
        """The columns of the terminal; WIDTH if there is none."""
        return self.console.width if self.console.is_terminal else WIDTH

    def _safe(self, text: str) -> str:
        """The text with everything escaped that could move the cursor or not be encoded."""
        return escape_unencodable(escape_unprintable(text, "\n"), self.console.encoding)


class TrainingScreen(Screen):
    """Shows a training: a bar of the epoch on a terminal, or lines."""

    seconds_between = 0.5

    def __init__(self) -> None:
        self.bar = Bar(seconds_between_lines=0.0)
        if not self.bar.console.is_terminal:
            self.seconds_between = math.inf  # a line for every report

    def __enter__(self) -> TrainingScreen:
        self.bar.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.bar.__exit__(*error)

    def progress(self, progress: TrainingProgress) -> None:
        """Move the bar of the epoch, or print a line."""
        short = format_progress(progress, self.bar.width - BAR - 1)
        self.bar.show(progress.step, progress.steps, format_progress(progress, WIDTH), short)

    def say(self, text: str) -> None:
        """Print a message."""
        self.bar.say(text)


def format_progress(at: TrainingProgress, width: int = 80) -> str:
    """Describe in one line where a training is and how fast it goes.

    What does not fit into `width` columns is left out, the least important first: the waiting for
    data, which is shown if it takes a twentieth of the time; the learning rate; the speed.
    """
    parts = {
        "position": f"epoch {at.epoch}/{at.epochs}  step {at.step}/{at.steps}",
        "loss": f"loss {at.loss:.2f}",
        "rate": f"rate {at.learning_rate:.2g}",
        "speed": f"{format_speed(at.images_per_second)} images/s",
        "waiting": f"waiting for data {at.waiting:.0%}",
        "left": f"{format_duration(at.seconds_left)} left",
    }
    if at.waiting < NOTABLE_WAITING:
        del parts["waiting"]
    for name in ("waiting", "rate", "speed", "left"):
        if len("  ".join(parts.values())) > width:
            parts.pop(name, None)
    return "  ".join(parts.values())


def format_speed(per_second: float) -> str:
    """A speed with two digits at least: 1,234 or 85 or 2.3."""
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.1f}"


def format_duration(seconds: float) -> str:
    """Seconds as 1:02:03, or as 2:03 under an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
