"""`alexnet report`: one HTML file about a run, which opens anywhere and can be printed.

`alexnet.show.report` writes it. Nothing heavy is imported before `run`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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

    def run(self) -> int:
        """Write the report and print its path."""
        from alexnet.show.report import write_report

        print(f"Report: {write_report(self.run_folder, self.out)}")
        return 0
