"""Curves of trainings: loss, errors and learning rate of one, and the paper's Figure 1.

`read_log` reads the `log.jsonl` of a run, which may be cut short or still growing; `draw_curves`
draws it. `draw_training_errors` compares trainings, for `alexnet claims`. Nothing here imports the
training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.show.style import (
    BLACK,
    BLUE,
    GRAY,
    ORANGE,
    PALETTE,
    RED,
    SKY,
    WIDTH,
    escape_label,
    new_figure,
    with_style,
)
from alexnet.validate import parse_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE_STYLES = "-", "--", "-.", ":"
LARGEST_LOG = 1 << 28
"""Bytes of a log that are read, at most: years of training."""
LARGEST = 1e30
"""Values beyond this are left out, as those that are not finite: no axis can show them."""
Points = list[tuple[float, float]]
"""Pairs of an epoch, which may be a fraction, and a value."""


@dataclass(frozen=True)
class TrainingLog:
    """What a run's log says, as points over epochs; values that are not finite are left out."""

    step_loss: Points = field(default_factory=list)
    """Training loss since the report before, in nats per image."""
    rate: Points = field(default_factory=list)
    """Learning rate."""
    epochs: dict[str, Points] = field(default_factory=dict)
    """train_loss, val_loss, val_top1 and val_top5 after each epoch, as far as they are there."""

    def __bool__(self) -> bool:
        return bool(self.step_loss or any(self.epochs.values()))


def read_log(path: Path) -> TrainingLog:
    """Read a run's `log.jsonl`.

    Lines that are damaged, such as a last one cut by a kill, are left out. Raises OSError if the
    file cannot be read.
    """
    with path.open("rb") as file:
        lines = file.read(LARGEST_LOG).splitlines()
    events = []
    for line in lines:
        with suppress(ValueError):
            events.append(parse_json(line, str(path)))
    events = [event for event in events if _has_position(event)]
    steps = max((e["step"] for e in events if e.get("event") == "step"), default=1) or 1
    log = TrainingLog()
    for event in events:
        _add_event(log, event, event["epoch"] + event["step"] / steps)
    return log


def _has_position(event: object) -> bool:
    """Whether an object of a log says of which epoch and step it is; both are small integers."""
    return isinstance(event, dict) and all(
        type(event.get(name)) is int and 0 <= event[name] < 1 << 40 for name in ("epoch", "step")
    )


def _add_event(log: TrainingLog, event: dict[str, Any], epoch: float) -> None:
    """Add the values of one line to the points."""
    if event.get("event") == "step":
        _add_point(log.step_loss, epoch, event.get("loss"))
        _add_point(log.rate, epoch, event.get("learning_rate"))
    elif event.get("event") == "epoch":
        for name in ("train_loss", "val_loss", "val_top1", "val_top5"):
            _add_point(log.epochs.setdefault(name, []), epoch, event.get(name))


def _add_point(points: Points, epoch: float, value: object) -> None:
    with suppress(OverflowError):  # a whole number of a thousand digits
        if type(value) in (int, float) and abs(float(value)) <= LARGEST:  # type: ignore[arg-type]
            points.append((epoch, float(value)))  # type: ignore[arg-type]


@with_style
def draw_curves(log: TrainingLog, *, title: str | None = None) -> Figure:
    """Draw loss, errors and learning rate over epochs, side by side.

    Curves whose values the log lacks are left out, as those of validation are in a training
    without validation images. Raises ValueError if the log has no values at all.
    """
    if not log:
        raise ValueError("the log of the training has no losses yet")
    figure = new_figure(WIDTH, 3.1, title)
    loss, error, rate = figure.subplots(1, 3)
    _draw_lines(
        loss,
        "loss (nats per image)",
        [
            ("training, as it went", log.step_loss, SKY, "-", ""),
            ("training, epoch", log.epochs.get("train_loss", []), BLUE, "-", "o"),
            ("validation", log.epochs.get("val_loss", []), RED, "--", "s"),
        ],
    )
    _draw_lines(
        error,
        "validation error (%)",
        [
            (name, _read_percent(log, key), color, style, marker)
            for name, key, color, style, marker in (
                ("top-1", "val_top1", RED, "-", "o"),
                ("top-5", "val_top5", ORANGE, "--", "s"),
            )
        ],
    )
    _draw_lines(rate, "learning rate", [("", log.rate, BLACK, "-", "")])
    if log.rate and all(y > 1 / LARGEST for _, y in log.rate):
        rate.set_yscale("log")
    return figure


def _read_percent(log: TrainingLog, key: str) -> Points:
    """The points of an error in percent; none of a top-5 error that is always 0 (five classes)."""
    points = [(x, 100 * y) for x, y in log.epochs.get(key, [])]
    return points if any(y for _, y in points) or key == "val_top1" else []


def _draw_lines(axes: Axes, name: str, lines: Sequence[tuple[str, Points, str, str, str]]) -> None:
    """Draw lines (label, points, color, style, marker) that have points, with a legend."""
    drawn = [line for line in lines if line[1]]
    for label, points, color, style, marker in drawn:
        x, y = zip(*points, strict=True)
        few = marker if len(points) <= 30 else ""
        axes.plot(
            x, y, style, color=color, label=label, marker=few or None, markersize=4, linewidth=1.5
        )
    axes.set_xlabel("epochs")
    axes.set_title(name)
    axes.grid(color="#e5e9ee", linewidth=0.6)
    axes.set_axisbelow(True)
    if not drawn:
        axes.text(0.5, 0.5, "not measured", ha="center", color=GRAY, transform=axes.transAxes)
        return
    axes.set_xlim(left=0)
    if any(label for label, *_ in drawn):
        axes.set_ylim(bottom=0)
        axes.legend(loc="best")


@with_style
def draw_training_errors(
    curves: Mapping[str, Sequence[Sequence[float]]],
    *,
    finish: float,
    start: float,
    title: str,
) -> Figure:
    """Draw training error over epochs, like Figure 1 of the paper.

    Args:
        curves: for each name, one curve per seed: the errors after epochs 1, 2, …, from 0 to 1.
        finish: the target error, drawn as a horizontal line.
        start: the error before training, where every curve begins.
        title: the title of the figure.
    """
    figure = new_figure(5.5, 4.2)
    axes = figure.subplots()
    for number, (name, seeds) in enumerate(curves.items()):
        style, color = LINE_STYLES[number % 4], PALETTE[number % len(PALETTE)]
        for seed, curve in enumerate(seeds):
            label = name if seed == 0 else None
            axes.plot(range(len(curve) + 1), [start, *curve], style, color=color, label=label)
    axes.axhline(finish, color=GRAY, linewidth=0.8)
    axes.set_xlabel("epochs")
    axes.set_ylabel("training error")
    axes.set_xlim(left=0)
    axes.set_ylim(0, start)
    axes.set_title(escape_label(title), parse_math=False)
    axes.legend(frameon=False)
    return figure
