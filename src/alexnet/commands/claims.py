"""`alexnet claims`: print the table of the paper's claims, or measure one of them.

`alexnet.claims` explains how the verdict on a claim is computed. Modules that use torch are
imported only to measure a claim, so that the table is printed without delay.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from alexnet.commands.recipe_options import Changes
from alexnet.terminal import format_count

if TYPE_CHECKING:
    from alexnet.claims.claim import Claim
    from alexnet.claims.results import Measurement
    from alexnet.claims.table import ClaimRow
    from alexnet.claims.trainings import MeasurementSettings
    from alexnet.packs.pack import Pack
    from alexnet.training.log import Screen


@dataclass(frozen=True)
class Claims:
    """Print the paper's measurable claims and their results, or measure one: `claims run NAME`."""

    action: Positional[Literal["table", "run"]] = "table"
    """`table` prints every claim, or the one that is named, with the paper's numbers, the measured
    ones, a verdict, and the command that measures it. `run` measures one claim. Trainings that are
    missing are made first; after an interruption, run the same command again to continue."""
    name: Positional[str | None] = None
    """The name of the claim, as in the commands of the table, to measure or to print alone."""
    pack: Path | None = None
    """The pack to measure it on."""
    earlier: tuple[Path, ...] = ()
    """Packs to pre-train on, for claims with pre-training, in the order of the table's command."""
    seeds: int = 1
    """Number of seeds. All trainings are made once per seed; a confidence interval needs two."""
    run_folder: Annotated[Path | None, arg(name="run")] = None
    """Measure this finished run instead of training. For claims about a single network."""
    recipe: str | None = None
    """Recipe of the trainings; by default the claim's own, or the one recommended for the pack."""
    folder: Path = Path("claims")
    """Folder of the trainings (runs/) and of the results (results/)."""
    device: str = "auto"
    """auto, cpu, cuda, or cuda:1 for the second GPU."""
    precision: Literal["auto", "float32", "tf32", "bf16"] = "auto"
    """Precision of matrix products and convolutions in the trainings, as in `alexnet train`."""
    markdown: bool = False
    """Print the whole page docs/claims.md: verdict rules, table, and every number of every seed."""
    json: bool = False
    """Print the rows as JSON."""
    changes: Annotated[Changes, arg(name="")] = field(default_factory=Changes)
    """Recipe fields to change in all trainings. For example, --epochs 10 shortens them."""

    def run(self) -> int:
        """Print the table, or measure a claim and print its rows."""
        if self.action == "run":
            return self.measure()
        from alexnet.claims.page import format_page
        from alexnet.claims.table import build_table

        if self.name is not None:
            return self.show_claim(self.name)
        if self.markdown:
            print(format_page(self.results), end="")
        else:
            self.show(build_table(self.results))
        return 0

    def show_claim(self, name: str) -> int:
        """Print the rows of one claim. Raises ValueError, with all names, if there is none."""
        from alexnet.claims.paper import find_claim
        from alexnet.claims.results import load_with_shipped
        from alexnet.claims.table import build_rows

        if self.markdown:
            raise ValueError("--markdown prints the page of all claims: leave out the name")
        claim = find_claim(name)
        self.show(build_rows(claim, load_with_shipped(claim.name, self.results)))
        return 0

    @property
    def results(self) -> Path:
        """The folder of the user's own results."""
        return self.folder / "results"

    def measure(self) -> int:
        """Measure one claim, save the counts after every seed, and print its rows."""
        from alexnet.claims.measuring import measure_claim
        from alexnet.claims.paper import CLAIMS, find_claim
        from alexnet.claims.results import load_with_shipped, save
        from alexnet.claims.table import build_rows
        from alexnet.screen import TrainingScreen

        if self.name is None:
            raise ValueError(f"name a claim: alexnet claims run NAME, one of {', '.join(CLAIMS)}")
        claim = find_claim(self.name)
        with TrainingScreen() as screen:
            for measurement in measure_claim(claim, self.make_settings(screen)):
                path = save(measurement, self.results)
                done = len(measurement.seed_results)
                screen.say(f"{claim.name}: {done} of {format_count(self.seeds, 'seed')} in {path}")
        if claim.method == "convergence":
            print(f"Figure: {draw_curves(claim, measurement, path)}", file=sys.stderr)
        self.show(build_rows(claim, load_with_shipped(claim.name, self.results)))
        return 0

    def make_settings(self, screen: Screen) -> MeasurementSettings:
        """Return the options as settings, with the packs opened."""
        from alexnet.claims.trainings import MeasurementSettings
        from alexnet.packs.pack import open_pack

        return MeasurementSettings(
            pack=self.open_pack(),
            pretraining_packs=tuple(open_pack(path) for path in self.earlier),
            folder=self.folder,
            seeds=self.seeds,
            recipe=self.recipe,
            changes={k: v for k, v in vars(self.changes).items() if v is not None},
            run=self.run_folder,
            device=self.device,
            precision=self.precision,
            screen=screen,
        )

    def open_pack(self) -> Pack | None:
        """Open the pack that was named, or else the one that the run was trained on."""
        from alexnet.packs.pack import open_pack

        if self.pack is not None:
            return open_pack(self.pack)
        if self.run_folder is None:
            return None
        from alexnet.checkpoint import find
        from alexnet.evaluation.measured_pack import find_pack_of

        return open_pack(find_pack_of(find(self.run_folder)))

    def show(self, rows: list[ClaimRow]) -> None:
        """Print rows as JSON, or as a table followed by commands and the rules of its verdicts.

        Commands are lines of their own, as long as they are, so that they can be copied.
        """
        if self.json:
            print(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
            return
        from rich.console import Console
        from rich.table import Column, Table

        from alexnet.claims.table import HEAD, summarize
        from alexnet.claims.verdict import LEGEND

        width = max(shutil.get_terminal_size((DEFAULT_WIDTH, 50)).columns, MIN_WIDTH)
        table = Table(*(Column(name, overflow="fold") for name in HEAD[:-1]), show_lines=True)
        for row in rows:
            table.add_row(*row.cells()[:-1])
        console = Console(width=width, highlight=False, markup=False)
        console.print(table)
        for row in rows:
            console.print(f"{row.claim}, {row.data}:\n  {row.command}", soft_wrap=True)
        if self.action == "table" and self.name is None:
            console.print(summarize(self.results))
        verdicts = {row.verdict for row in rows}
        for verdict, rule in LEGEND.items():
            if verdict in verdicts:
                console.print(f"{verdict}: {rule}")


DEFAULT_WIDTH, MIN_WIDTH = 150, 80
"""Widths of the table in characters: without a terminal, and at least."""


def draw_curves(claim: Claim, measurement: Measurement, results: Path) -> Path:
    """Draw training errors by epoch, like the paper's figure 1, into a PNG file beside `results`.

    Returns the path of the figure.
    """
    from alexnet.claims.convergence import INITIAL_ERROR, TARGET_ERROR
    from alexnet.show.curves import draw_training_errors
    from alexnet.show.style import save_figure

    path = results.with_suffix(".png")
    first = measurement.seed_results[0]["runs"]
    curves = {
        f"{role}, learning rate {first[role]['learning_rate']:g}": [
            seed_result["runs"][role]["curve"] for seed_result in measurement.seed_results
        ]
        for role in claim.trainings
    }
    figure = draw_training_errors(
        curves, finish=TARGET_ERROR, start=INITIAL_ERROR, title=measurement.label()
    )
    save_figure(figure, path)
    return path
