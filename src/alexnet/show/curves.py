"""Curves for people: Figure 1 of the paper, drawn from what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

STYLES = "-", "--", "-.", ":"


def training_errors(
    curves: Mapping[str, Sequence[Sequence[float]]],
    path: Path,
    *,
    finish: float,
    start: float,
    title: str,
) -> None:
    """Draw training errors over epochs like Figure 1 into a PNG file.

    `curves` holds, for each name, a curve a seed: the error after epochs 1, 2, …; `start` is the
    error before them, `finish` the one that is raced for.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.2), dpi=130, layout="constrained")
    axes = figure.subplots()
    for (name, seeds), style in zip(curves.items(), STYLES, strict=False):
        for number, curve in enumerate(seeds):
            label = name if number == 0 else None
            axes.plot(range(len(curve) + 1), [start, *curve], style, color="black", label=label)
    axes.axhline(finish, color="#b5493c", linewidth=0.8)
    axes.set_xlabel("epochs")
    axes.set_ylabel("training error")
    axes.set_xlim(left=0)
    axes.set_ylim(0, start)
    axes.set_title(title, fontsize=9)
    axes.legend(frameon=False)
    figure.savefig(path)
