"""Making the trainings that claims compare, each once: a second call finds or goes on with them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.claims.claim import Claim, Run
from alexnet.recipes.named import RECIPES, recommend
from alexnet.recipes.recipe import Recipe

if TYPE_CHECKING:
    from alexnet.checkpoint import Checkpoint
    from alexnet.device import Precision
    from alexnet.packs.pack import Pack
    from alexnet.training.log import Screen


@dataclass(frozen=True)
class Job:
    """What somebody asked for when they asked for a claim."""

    pack: Pack | None = None
    earlier: tuple[Pack, ...] = ()
    """Packs of the pre-trainings, in the order of `Claim.earlier`."""
    folder: Path = Path("claims")
    """Where runs and results go."""
    seeds: int = 1
    recipe: str | None = None
    """For runs that name none."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the recipes that are to be different."""
    run: Path | None = None
    """A finished training to measure instead of making one."""
    device: str = "auto"
    precision: Precision = "auto"
    """Of the trainings; errors are counted as `alexnet evaluate` counts them."""
    screen: Screen | None = None


class Interrupted(RuntimeError):  # noqa: N818 - it is no error
    """A training was asked to stop, and has saved itself."""

    def __init__(self, signal: int) -> None:
        super().__init__("stopped and saved; the same command goes on from here")
        self.exit_code = 128 + signal


def resolve(run: Run, pack: Pack, job: Job, seed: int) -> tuple[Recipe, int]:
    """The recipe of a run on a pack, and how many epochs it has when nobody shortens it.

    Raises ValueError for a recipe that does not exist.
    """
    name = run.recipe or job.recipe
    if name is None:
        images, kind = len(pack.splits["train"]), pack.source["kind"]
        name, _ = recommend(kind, pack.size, images, "val" in pack.splits)
    if name not in RECIPES:
        raise ValueError(f"no recipe is called {name!r}; there are {', '.join(RECIPES)}")
    whole = Recipe.from_dict({**RECIPES[name].to_dict(), **run.changes})
    first = job.changes.get("seed", 0)
    return replace(whole, **{**job.changes, "seed": first + seed}), whole.epochs


def check(claim: Claim, job: Job) -> None:
    """Refuse what would change the very thing that a claim compares, and packs that lack."""
    every = [run.changes for run in claim.runs.values()]
    names = {name for changes in every for name in changes}
    compared = {name for name in names if any(c.get(name) != every[0].get(name) for c in every)}
    if clash := sorted(compared & set(job.changes)):
        raise ValueError(f"{claim.name} compares {', '.join(clash)}: that cannot be set by hand")
    if claim.data is not None and job.pack is None and job.run is None:
        raise ValueError(f"name images to measure {claim.name} on: {claim.command}")
    if len(job.earlier) < len(claim.earlier) and job.run is None:
        wanted = ", ".join(data.name for data in claim.earlier)
        raise ValueError(
            f"{claim.name} trains on other images first ({wanted}): name their packs with "
            f"--earlier, in this order, as in {claim.command}"
        )
    if job.run is not None and job.precision != "auto":
        raise ValueError("--run is trained already: leave --precision out")
    if job.run is not None and (len(claim.runs) != 1 or job.seeds != 1):
        raise ValueError(
            f"--run names one training with one seed, and {claim.name} wants {len(claim.runs)} "
            f"with {job.seeds} seeds. Leave --run out to have them made"
        )


def pack_of(run: Run, claim: Claim, job: Job) -> Pack:
    """The images that a run trains on."""
    assert job.pack is not None
    return job.pack if run.earlier is None else job.earlier[claim.earlier.index(run.earlier)]


def make(claim: Claim, role: str, job: Job, seed: int) -> Path:
    """The folder of the finished training of a role; trains what is missing, goes on if begun."""
    run = claim.runs[role]
    pack = pack_of(run, claim, job)
    start = None if run.start is None else make(claim, run.start, job, seed)
    recipe, _ = resolve(run, pack, job, seed)
    folder = place(job, pack, recipe, start)
    train_until(folder, pack, recipe, job, start=start, take=run.take)
    return folder


def place(job: Job, pack: Pack, recipe: Recipe, start: Path | None = None) -> Path:
    """Where a training lives: named by all that it depends on, so that claims share theirs."""
    from alexnet import device as devices

    facts: list[object] = [recipe.to_dict(), pack.checksum, start.name if start else None]
    precision = devices.set_up_machine(job.device, job.precision).precision
    if precision != "float32":
        facts.append(precision)
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:10]
    words = [recipe.network, *map(str, recipe.variations)]
    name = re.sub(r"[^\w.=-]+", "-", "-".join(words))
    return job.folder / "runs" / f"{name}-seed{recipe.seed}-{digest}"


def train_until(
    folder: Path,
    pack: Pack,
    recipe: Recipe,
    job: Job,
    *,
    start: Path | None = None,
    take: tuple[str, ...] = (),
) -> None:
    """Train to the recipe's last epoch, from the beginning or from where it was left.

    Raises Interrupted when somebody stops it, OSError when it could not be saved.
    """
    from alexnet.training.train import train
    from alexnet.training.transfer import Transfer

    begun = (folder / "last.safetensors").exists()
    if begun and last(folder).position.epoch >= recipe.epochs:
        return
    more: dict[str, Any] = {"resume": folder} if begun else {}
    if start is not None and not begun:
        more = {"init": Transfer(start / "last.safetensors", take)}
    outcome = train(
        pack,
        folder,
        recipe,
        device=job.device,
        precision=job.precision,
        screen=job.screen,
        **more,
    )
    if outcome.signal is not None:
        raise Interrupted(outcome.signal)
    if not outcome.saved:
        raise OSError(f"{folder}: the training is done but could not be saved; make room")


def last(folder: Path) -> Checkpoint:
    """The last checkpoint of a run: claims are about the end of a training, not its best epoch."""
    from alexnet import checkpoint as checkpoints

    return checkpoints.load(checkpoints.find(folder, ("last", "best")))
