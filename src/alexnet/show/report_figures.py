"""The figures of a report, inlined as data URIs.

`report` calls `draw_report_figures`, and `figures` draws each. A figure that cannot be drawn,
because what it shows is not there, costs only itself: the report names the reason. This module must
not import anything of training.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alexnet.show.figures import iterate_figures
from alexnet.show.kinds import FIGURES
from alexnet.show.style import Format, encode_figure

FigureChoice = Literal["all", "quick", "none"]
"""Which figures a report has. quick: those for which the network does not run."""
QUICK = "curves", "kernels", "augmentation"
"""Figures for which the network does not run."""
VECTORS = "curves", "classes"
"""Figures of lines and bars, which are inlined as SVG; the others, with images, are PNG."""
PIXELS_PER_INCH = 100
"""CSS pixels per inch of a figure at full size."""
MEDIA_TYPES: dict[Format, str] = {"png": "image/png", "svg": "image/svg+xml"}

Progress = Callable[[str, int, int], None]
"""Called with what is under way, how many are done, and of how many."""


@dataclass(frozen=True)
class EmbeddedFigure:
    """One figure, inlined; or why there is none."""

    title: str
    caption: str
    source: str = ""
    """The image as a data URI; empty if there is no figure."""
    width: int = 0
    """Pixels of CSS at full size."""
    height: int = 0
    skipped: str = ""
    """Why there is no figure."""

    @property
    def alt(self) -> str:
        """What the figure shows, for those who cannot see it."""
        return f"Figure: {self.title}. {self.caption}"


def draw_report_figures(
    run: Path,
    pack: Path | None,
    choice: FigureChoice,
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> list[EmbeddedFigure]:
    """Draw the chosen figures of a run, one after the other, and inline each.

    `run` is a checkpoint file, `pack` that of its training if it is there.
    """
    names: Sequence[str] = {"all": tuple(FIGURES), "quick": QUICK, "none": ()}[choice]
    if not names:
        return []
    embedded = []
    for drawn in iterate_figures(run, pack, only=names, device=device, progress=progress):
        if drawn.figure is None:
            embedded.append(EmbeddedFigure(drawn.title, drawn.explanation, skipped=drawn.skipped))
            continue
        form: Format = "svg" if drawn.name in VECTORS else "png"
        content = base64.b64encode(encode_figure(drawn.figure, form)).decode("ascii")
        width, height = (round(PIXELS_PER_INCH * x) for x in drawn.figure.get_size_inches())
        source = f"data:{MEDIA_TYPES[form]};base64,{content}"
        embedded.append(EmbeddedFigure(drawn.title, drawn.explanation, source, width, height))
    return embedded
