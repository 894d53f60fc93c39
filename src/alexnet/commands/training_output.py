"""What `alexnet train` prints: for a person, for a program (`--json`), or next to nothing.

    --quiet     warnings and errors on stderr, one line on stdout at the end
    --json      one JSON object per line on stdout: the start, every epoch, the end

docs/files.md describes the objects. `commands.train` calls this module.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.terminal import escape_unprintable, format_count
from alexnet.training.log import EpochReport, Screen

if TYPE_CHECKING:
    from alexnet.packs.pack import Pack
    from alexnet.recipes.recipe import Recipe
    from alexnet.training.job import TrainingOutcome


@contextmanager
def silence(quiet: bool) -> Iterator[None]:
    """While entered and `quiet`, what is written to stderr is thrown away; errors are raised."""
    if not quiet:
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nothing, redirect_stderr(nothing):
        yield


class QuietScreen(Screen):
    """Shows warnings only."""

    def warn(self, text: str) -> None:
        """Print the warning on stderr."""
        print(escape_unprintable(text, "\n"), file=sys.stderr, flush=True)


class JsonScreen(Screen):
    """Prints an object per epoch on stdout; all else goes to another screen."""

    def __init__(self, other: Screen) -> None:
        self.other, self.seconds_between = other, other.seconds_between
        self.progress, self.say, self.warn = other.progress, other.say, other.warn  # type: ignore[method-assign]

    def end_epoch(self, report: EpochReport) -> None:
        """Print the object, and tell the other screen."""
        print_object(
            "epoch",
            epoch=report.epoch,
            epochs=report.epochs,
            **_hide_top5(report.measured, report.n_classes),
            best=report.is_best,
        )
        self.other.end_epoch(report)


def print_object(event: str, **values: Any) -> None:
    """Print one line of JSON on stdout."""
    print(json.dumps({"event": event, **values}), flush=True)


def print_start(pack: Pack, run: Path, recipe: Recipe) -> None:
    """Print the first object of `--json`: what is trained, on what."""
    print_object(
        "start",
        run=str(run),
        pack=str(pack.path),
        classes=len(pack.classes),
        images={name: len(split) for name, split in pack.splits.items()},
        recipe=recipe.to_dict(),
    )


def print_end(outcome: TrainingOutcome, n_classes: int) -> None:
    """Print the last object of `--json`: how it ended; `best` is the entry of the best epoch."""
    best = _find_best(outcome)
    print_object(
        "end",
        run=str(outcome.run),
        epochs=outcome.position.epoch,
        best=best and _hide_top5(best, n_classes),
        signal=outcome.signal,
        saved=outcome.saved,
    )


def format_outcome(outcome: TrainingOutcome) -> str:
    """Return in one line where the run is and what it reached."""
    reached = f"{escape_unprintable(str(outcome.run))}: " + format_count(
        outcome.position.epoch, "epoch"
    )
    best = _find_best(outcome)
    if best is None:
        return reached
    error = best["val_top1"]
    return f"{reached}, accuracy {1 - error:.2%} (error {error:.2%}) after epoch {best['epoch']}"


def format_next_steps(run: Path, recipe: Recipe) -> str:
    """Return the commands that come after a training, a line for each."""
    place, views = shlex.quote(str(run)), 10 if recipe.flip else 5
    return "\n".join(
        [
            f"Measure it:  alexnet evaluate {place} --views {views}",
            f"Use it:      alexnet predict {place} IMAGE…",
            f"Share it:    alexnet serve {place}",
            "Also:        alexnet report, alexnet export, each with --help",
        ]
    )


def _hide_top5(measured: dict[str, Any], n_classes: int) -> dict[str, Any]:
    """Return the entry of an epoch; its top-5 error is None where it is always 0."""
    from alexnet.evaluation.counts import has_top5

    if "val_top5" not in measured or has_top5(n_classes):
        return measured
    return {**measured, "val_top5": None}


def _find_best(outcome: TrainingOutcome) -> dict[str, Any] | None:
    """The entry of the epoch with the lowest validation error, with its number from 1."""
    measured = [
        {"epoch": number, **entry}
        for number, entry in enumerate(outcome.position.history, 1)
        if "val_top1" in entry
    ]
    return min(measured, key=lambda entry: entry["val_top1"], default=None)
