"""All figures of a run: what `alexnet figures` writes and a report shows.

    for drawn in iterate_figures("runs/photos"):
        if drawn.figure is not None:
            save_figure(drawn.figure, f"{drawn.name}.svg")

`kinds.FIGURES` says how each is drawn, from what `material.Material` computes: each thing once, and
only if a figure asks for it. A figure whose data is missing is skipped, and the reason is kept.
`draw_figures` is public as `alexnet.draw_figures`. Imports `explaining`, never `training`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.show.kinds import FIGURES
from alexnet.show.material import Material, MissingDataError
from alexnet.show.style import Format, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class DrawnFigure:
    """One figure of a run, or why there is none."""

    name: str
    """Its name in `FIGURES`, and of its file."""
    title: str
    """What it shows, in a few words; the same is above it."""
    explanation: str
    """How to read it, in a sentence or two: a caption, and the text for those who cannot see it."""
    figure: Figure | None = None
    skipped: str = ""
    """Why there is no figure."""
    path: Path | None = None
    """The file, if it was written."""


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of figures to draw, all if none is given.

    Raises ValueError for a name that no figure has.
    """
    if unknown := [name for name in names if name not in FIGURES]:
        raise ValueError(f"no figure is called {unknown[0]!r}; there are {', '.join(FIGURES)}")
    return tuple(name for name in FIGURES if name in names) if names else tuple(FIGURES)


def iterate_figures(
    run: str | os.PathLike[str],
    pack: str | os.PathLike[str] | None = None,
    *,
    only: Sequence[str] = (),
    split: str | None = None,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> Iterator[DrawnFigure]:
    """Draw the figures of a run one after the other; nothing is written.

    Args:
        run: a run's folder (its `best` checkpoint, else its `last`), or a checkpoint file.
        pack: a pack, or images, which are packed first (packs/NAME.pack). By default the pack that
            the run was trained on; without it, figures are drawn from the images that the run
            keeps, as far as they suffice.
        only: names in `FIGURES`; by default all.
        split: which images of the pack to show and measure; by default val, or else the first
            split that has images.
        device: auto, cpu, cuda, or cuda:1 for the second GPU.
        progress: called with what is under way, how many images are done, and of how many.

    A figure whose data is missing or damaged has a reason instead (`skipped`). Raises ValueError
    for an unknown name, and FileNotFoundError if `run` is no run or `pack` does not exist.
    """
    names, material = (
        check_names(only),
        Material(run, pack, split=split, device=device, progress=progress),
    )
    if pack is not None or not (material.folder / "log.jsonl").is_file():
        _ = material.subject  # raises for what the user named and is not there
    return (_draw(material, name) for name in names)


def _draw(material: Material, name: str) -> DrawnFigure:
    kind = FIGURES[name]
    try:
        figure = kind.draw(material, kind.title)
    except (MissingDataError, OSError, ValueError) as error:
        return DrawnFigure(name, kind.title, kind.explanation, skipped=str(error))
    return DrawnFigure(name, kind.title, kind.explanation, figure)


def draw_figures(
    run: str | os.PathLike[str],
    folder: str | Path | None = None,
    *,
    format: Format = "png",
    on_drawn: Callable[[DrawnFigure], Any] | None = None,
    **options: Any,
) -> list[DrawnFigure]:
    """Draw the figures of a run into files, named after the figures.

    Args:
        run: a run's folder, or a checkpoint file.
        folder: where to; made if missing. By default `figures` in the folder of the run.
        format: png or svg.
        on_drawn: called with each figure when its file is written or it is skipped.
        options: `pack`, `only`, `split`, `device`, `progress`: see `iterate_figures`.

    Returns all of them, those that were skipped with the reason. Raises what `iterate_figures`
    raises, and OSError if a file cannot be written.

    >>> [figure.path.name for figure in alexnet.draw_figures("run", only=["kernels"])]
    ['kernels.png']
    """
    if format not in ("png", "svg"):
        raise ValueError(f"figures are written as png or svg, not as {format!r}")
    found = []
    figures = iterate_figures(run, **options)
    into = Path(folder) if folder is not None else Material(run).folder / "figures"
    for drawn in figures:
        if drawn.figure is not None:
            path = into / f"{drawn.name}.{format}"
            into.mkdir(parents=True, exist_ok=True)
            save_figure(drawn.figure, path)
            drawn = DrawnFigure(drawn.name, drawn.title, drawn.explanation, drawn.figure, path=path)
        if on_drawn is not None:
            on_drawn(drawn)
        found.append(drawn)
    return found
