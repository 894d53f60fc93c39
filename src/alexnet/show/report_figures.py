"""The figures of a report, drawn from files and inlined as data URIs.

`report` calls `draw_figures`. A figure that cannot be drawn, because its files are missing, costs
only itself. This module must not import anything of training.
"""

from __future__ import annotations

from dataclasses import dataclass

from alexnet.show.run_facts import RunFacts


@dataclass(frozen=True)
class EmbeddedFigure:
    """One figure, inlined."""

    title: str
    caption: str
    alt: str
    """What the figure shows, for those who cannot see it."""
    source: str
    """The image as a data URI."""
    width: int
    """In CSS pixels, as it is shown at most."""
    height: int


def draw_figures(facts: RunFacts) -> tuple[list[EmbeddedFigure], list[str]]:
    """Draw every figure that the files allow; return them and sentences about those that failed."""
    return [], []
