"""`alexnet figures`: pictures of what a network learned, and of how well it does.

The command parses its arguments here and lists the files; `alexnet.show.figures` does the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

if TYPE_CHECKING:
    from alexnet.screen import Bar
    from alexnet.show.figures import DrawnFigure


@dataclass(frozen=True)
class Figures:
    """Draw what a run learned and how well it does: ten figures, each a file, listed as they are
    written."""

    run_folder: Positional[Path]
    """A run's folder (its best checkpoint, else its last) or a checkpoint file."""
    folder: Positional[Path | None] = None
    """Folder for the files, made if missing. By default `figures` in the run's folder."""
    only: tuple[str, ...] = ()
    """Names of figures to draw, of: predictions (five labels an image), mistakes (the most
    confident ones), curves (of the training), classes (errors, precision, recall, F1), confusion
    (matrix), heat-maps (Grad-CAM and occlusion), neighbors (nearest training images), features (in
    a plane), kernels (of the first layer), augmentation (of one image). By default all."""
    format: Literal["png", "svg"] = "png"
    """png: pixels, 1,350 a line; svg: vectors, for print."""
    pack: Path | None = None
    """Images to show and measure: a pack, or anything that `alexnet pack` reads, which is packed
    first. By default the pack that the run was trained on; if it is gone, the few images that the
    run keeps, as far as they suffice."""
    split: str | None = None
    """Which images of the pack: val, train or test. By default val, if there are any."""
    device: str = "auto"
    """auto, cpu, cuda, or cuda:1 for the second GPU."""

    def run(self) -> int:
        """Draw the figures and list the files.

        Returns 1 if none could be drawn, or not all that `only` names.
        """
        from alexnet.screen import Bar
        from alexnet.show.figures import check_names, draw_figures

        check_names(self.only)
        with Bar() as bar:
            drawn = draw_figures(
                self.run_folder,
                self.folder,
                format=self.format,
                pack=self.pack,
                only=self.only,
                split=self.split,
                device=self.device,
                on_drawn=lambda figure: report(figure, bar),
                progress=lambda doing, done, total: bar.show(
                    done, total, f"{doing} images: {done:,} of {total:,}"
                ),
            )
        missing = [figure for figure in drawn if figure.path is None]
        return int(len(missing) == len(drawn) or bool(self.only and missing))


def report(drawn: DrawnFigure, bar: Bar) -> None:
    """Print a figure's name and file on stdout, or on stderr why there is none."""
    if drawn.path is None:
        bar.say(f"{drawn.name}: skipped, {drawn.skipped}")
        return
    print(f"{drawn.name:<12}  {drawn.path}", flush=True)
