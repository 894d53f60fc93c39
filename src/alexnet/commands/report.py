"""`alexnet report`: one HTML file about a run, which opens anywhere and can be printed.

`alexnet.show.report` writes it. Nothing heavy is imported before `run`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional


@dataclass(frozen=True)
class Report:
    """Write a report on a run as one HTML file: what was trained, on what, how well, how to repeat
    it, and a model card."""

    run_folder: Positional[Path]
    """A run's folder (its best checkpoint, else its last) or a checkpoint file."""
    out: Positional[Path | None] = None
    """The file to write; it is replaced. By default report.html in the run's folder. It needs no
    other file and no network, and holds the paths of the run and the pack."""
    figures: Literal["all", "quick", "none"] = "all"
    """Which figures are in it. quick: those for which the network does not run."""
    device: str = "auto"
    """For the figures: auto, cpu, cuda, or cuda:1 for the second GPU."""

    def run(self) -> int:
        """Write the report and print its path."""
        from alexnet.screen import Bar
        from alexnet.show.report import write_report

        with Bar() as bar:
            path = write_report(
                self.run_folder,
                self.out,
                figures=self.figures,
                device=self.device,
                progress=lambda doing, done, total: bar.show(
                    done, total, f"{doing} images: {done:,} of {total:,}"
                ),
            )
        print(f"Report: {path}")
        return 0
