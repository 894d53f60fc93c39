"""`alexnet claims`: what the paper says, what came out here, and making what is missing."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from alexnet.commands.train import Changes

if TYPE_CHECKING:
    from alexnet.claims.claim import Claim
    from alexnet.claims.results import Measurement
    from alexnet.claims.table import Row
    from alexnet.claims.trainings import Job
    from alexnet.packs.pack import Pack
    from alexnet.training.log import Screen


@dataclass(frozen=True)
class Claims:
    """The measurable statements of the paper: print what came out, or `run NAME` to measure one.

    Without `run`, the table of all of them. `run` makes the trainings that are missing, one after
    the other; stopped, the same command goes on.
    """

    action: Positional[Literal["table", "run"]] = "table"
    """What to do."""
    name: Positional[str | None] = None
    """With run: the claim."""
    pack: Path | None = None
    """Images to measure it on."""
    earlier: tuple[Path, ...] = ()
    """Packs of what is trained on first, for claims with pre-training, as their command says."""
    seeds: int = 1
    """How many times, each with another seed."""
    run_folder: Annotated[Path | None, arg(name="run")] = None
    """Measure this finished run instead of training one."""
    recipe: str | None = None
    """The recipe to start from; by default the claim's, or the one that suits the images."""
    folder: Path = Path("claims")
    """Where trainings (runs/) and results (results/) are kept."""
    device: str = "auto"
    """auto, cpu, cuda, or cuda:1 for the second GPU."""
    precision: Literal["auto", "float32", "tf32", "bf16"] = "auto"
    """Of the trainings' products, as in alexnet train."""
    markdown: bool = False
    """Print docs/claims.md."""
    json: bool = False
    """Print the table as JSON."""
    changes: Annotated[Changes, arg(name="")] = field(default_factory=Changes)
    """Fields of the recipes that are to be different: --epochs 10 shortens."""

    def run(self) -> int:
        """Print the table, or measure a claim and print its rows."""
        if self.action == "run":
            return self.measure()
        from alexnet.claims.page import page
        from alexnet.claims.table import table

        if self.markdown:
            print(page(self.results), end="")
        else:
            self.show(table(self.results))
        return 0

    @property
    def results(self) -> Path:
        """The user's own results."""
        return self.folder / "results"

    def measure(self) -> int:
        """Make what is missing for one claim, keep the counts after every seed, print its rows."""
        from alexnet.claims.measuring import measure
        from alexnet.claims.paper import CLAIMS, find
        from alexnet.claims.results import known, save
        from alexnet.claims.table import rows
        from alexnet.screen import TrainingScreen

        if self.name is None:
            raise ValueError(f"name a claim: alexnet claims run NAME, of {', '.join(CLAIMS)}")
        claim = find(self.name)
        with TrainingScreen() as screen:
            for found in measure(claim, self.job(screen)):
                path = save(found, self.results)
                screen.say(f"{claim.name}: {len(found.records)} of {self.seeds} seeds in {path}")
        if claim.method == "race":
            print(f"Figure: {draw(claim, found, path)}", file=sys.stderr)
        self.show(rows(claim, known(claim.name, self.results)))
        return 0

    def job(self, screen: Screen) -> Job:
        """What was asked for."""
        from alexnet.claims.trainings import Job
        from alexnet.packs.pack import open_pack

        return Job(
            pack=self.opened(),
            earlier=tuple(open_pack(path) for path in self.earlier),
            folder=self.folder,
            seeds=self.seeds,
            recipe=self.recipe,
            changes={k: v for k, v in vars(self.changes).items() if v is not None},
            run=self.run_folder,
            device=self.device,
            precision=self.precision,
            screen=screen,
        )

    def opened(self) -> Pack | None:
        """The pack that was named, or that of the run."""
        from alexnet.packs.pack import open_pack

        if self.pack is not None:
            return open_pack(self.pack)
        if self.run_folder is None:
            return None
        from alexnet.checkpoint import find
        from alexnet.evaluation.measured_pack import find_pack_of

        return open_pack(find_pack_of(find(self.run_folder)))

    def show(self, found: list[Row]) -> None:
        """Print rows as JSON or as a table."""
        if self.json:
            print(json.dumps([dataclasses.asdict(row) for row in found], indent=2))
            return
        from rich.console import Console
        from rich.table import Table

        from alexnet.claims.table import HEAD

        wide = max(shutil.get_terminal_size((WIDTH, 50)).columns, NARROW)
        drawn = Table(*HEAD, show_lines=True)
        for row in found:
            drawn.add_row(*row.cells())
        Console(width=wide, highlight=False, markup=False).print(drawn)


WIDTH, NARROW = 170, 110
"""Of the table in characters: where there is no terminal, and at least."""


def draw(claim: Claim, found: Measurement, results: Path) -> Path:
    """Figure 1 of a race, beside its results."""
    from alexnet.claims.race import FINISH, START
    from alexnet.show.figures import plot_training_errors

    path = results.with_suffix(".png")
    curves = {
        f"{role}, learning rate {found.records[0]['runs'][role]['learning_rate']:g}": [
            record["runs"][role]["curve"] for record in found.records
        ]
        for role in claim.runs
    }
    plot_training_errors(curves, path, finish=FINISH, start=START, title=found.label())
    return path
