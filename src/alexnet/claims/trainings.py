"""The trainings that claims compare; a second measurement reuses or continues those of the first.

    settings    what the user asked for: packs, seeds, recipe fields, device
    replicate   one seed of one measurement: a claim, its settings, the number of the seed

A training's folder is claims/runs/NETWORK-seedS-DIGEST. The digest is computed from everything that
the result depends on (recipe, pack, initial weights, precision), so that claims that need the same
training share it.

`measuring` and `convergence` call this module; `commands.claims` makes the settings. torch is
imported only when a training starts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.claims.claim import Claim
from alexnet.recipes.named import RECIPES, recommend
from alexnet.recipes.recipe import Recipe

if TYPE_CHECKING:
    from alexnet.checkpoint import Checkpoint
    from alexnet.device import Precision
    from alexnet.packs.pack import Pack
    from alexnet.training.log import Screen


@dataclass(frozen=True)
class MeasurementSettings:
    """The options of `alexnet claims run`."""

    pack: Pack | None = None
    """The images to measure on; None for claims that need none."""
    pretraining_packs: tuple[Pack, ...] = ()
    """One pack for each dataset in `Claim.pretraining`, in the same order."""
    folder: Path = Path("claims")
    """The folder of runs/ and results/."""
    seeds: int = 1
    """The number of seeds, each of which makes all trainings of the claim again."""
    recipe: str | None = None
    """The recipe of trainings for which the claim names none; None for the recommended one."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Recipe fields that are changed in all trainings."""
    run: Path | None = None
    """A finished training to measure instead of making one."""
    device: str = "auto"
    precision: Precision = "auto"
    """The precision of the trainings; errors are counted as `alexnet evaluate` counts them."""
    screen: Screen | None = None


class TrainingInterrupted(RuntimeError):  # noqa: N818 - not an error: the training was saved
    """A training was interrupted by a signal, and has saved a checkpoint."""

    def __init__(self, signal: int) -> None:
        super().__init__("stopped and saved; run the same command again to continue")
        self.exit_code = 128 + signal


@dataclass(frozen=True)
class Replicate:
    """One seed of a measurement: all trainings of a claim are made with seed number `seed`."""

    claim: Claim
    settings: MeasurementSettings
    seed: int
    """0, 1, 2, …; added to the seed of the recipe."""

    @property
    def pack(self) -> Pack:
        """The pack that errors are counted on. Only for claims that need images."""
        assert self.settings.pack is not None
        return self.settings.pack

    @property
    def split(self) -> str:
        """The split that errors are counted on: the claim's if the pack has it, else val."""
        return self.claim.split if self.claim.split in self.pack.splits else "val"

    def get_training_pack(self, role: str) -> Pack:
        """Return the pack that a role trains on."""
        pretraining = self.claim.trainings[role].pretraining
        if pretraining is None:
            return self.pack
        return self.settings.pretraining_packs[self.claim.pretraining.index(pretraining)]

    def resolve_recipe(self, role: str) -> tuple[Recipe, int]:
        """Return the recipe of a role, and its number of epochs before any shortening.

        Raises ValueError for a recipe that does not exist.
        """
        training, pack = self.claim.trainings[role], self.get_training_pack(role)
        name = training.recipe or self.settings.recipe
        if name is None:
            images, kind = len(pack.splits["train"]), pack.source["kind"]
            name, _ = recommend(kind, pack.size, images, "val" in pack.splits)
        if name not in RECIPES:
            raise ValueError(f"no recipe is called {name!r}; there are {', '.join(RECIPES)}")
        whole = Recipe.from_dict({**RECIPES[name].to_dict(), **training.changes})
        changes = self.settings.changes
        seed = changes.get("seed", 0) + self.seed
        return replace(whole, **{**changes, "seed": seed}), whole.epochs

    def find_run(self, role: str) -> Path:
        """Return the folder of a role's finished training: the one the user named, or ours."""
        return self.settings.run if self.settings.run is not None else self.ensure_trained(role)

    def ensure_trained(self, role: str) -> Path:
        """Return the folder of a role's finished training; start or continue it if necessary.

        The trainings that it begins from are made first. Raises as `train_to_end`.
        """
        training, (recipe, _) = self.claim.trainings[role], self.resolve_recipe(role)
        start = None if training.start is None else self.ensure_trained(training.start)
        pack = self.get_training_pack(role)
        run = name_run_folder(self.settings, pack, recipe, start)
        train_to_end(
            run, pack, recipe, self.settings, start=start, copied_layers=training.copied_layers
        )
        return run


def check_settings(claim: Claim, settings: MeasurementSettings) -> None:
    """Raise ValueError if the settings do not fit the claim.

    That is, if they change a recipe field that the claim compares, lack a pack that it needs, or
    combine options that exclude each other.
    """
    every = [training.changes for training in claim.trainings.values()]
    names = {name for changes in every for name in changes}
    compared = {name for name in names if any(c.get(name) != every[0].get(name) for c in every)}
    if clash := sorted(compared & set(settings.changes)):
        raise ValueError(
            f"{claim.name} compares {', '.join(clash)}, which therefore cannot be set: leave "
            f"{'it' if len(clash) == 1 else 'them'} out"
        )
    if claim.dataset is not None and settings.pack is None and settings.run is None:
        raise ValueError(f"name images to measure {claim.name} on: {claim.command}")
    if len(settings.pretraining_packs) < len(claim.pretraining) and settings.run is None:
        wanted = ", ".join(dataset.name for dataset in claim.pretraining)
        raise ValueError(
            f"{claim.name} trains on other images first ({wanted}): name their packs with "
            f"--earlier, in this order, as in {claim.command}"
        )
    if settings.run is not None and settings.precision != "auto":
        raise ValueError("the training that --run names is finished: leave --precision out")
    if settings.run is not None and (len(claim.trainings) != 1 or settings.seeds != 1):
        raise ValueError(
            f"--run names one training with one seed, and {claim.name} needs "
            f"{len(claim.trainings)} with {settings.seeds} seeds. Leave --run out to have them made"
        )


def name_run_folder(
    settings: MeasurementSettings, pack: Pack, recipe: Recipe, start: Path | None = None
) -> Path:
    """Return the folder of a training. Its name contains a digest of all that it depends on."""
    from alexnet import device as devices

    facts: list[object] = [recipe.to_dict(), pack.checksum, start.name if start else None]
    precision = devices.set_up_machine(settings.device, settings.precision).precision
    if precision != "float32":  # float32 was the only one at first: its folders keep their names
        facts.append(precision)
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:10]
    words = [recipe.network, *map(str, recipe.variations)]
    name = re.sub(r"[^\w.=-]+", "-", "-".join(words))
    return settings.folder / "runs" / f"{name}-seed{recipe.seed}-{digest}"


def train_to_end(
    run: Path,
    pack: Pack,
    recipe: Recipe,
    settings: MeasurementSettings,
    *,
    start: Path | None = None,
    copied_layers: tuple[str, ...] = (),
) -> None:
    """Train to the recipe's last epoch, from the beginning or from the last checkpoint in `run`.

    `start` is the run whose `copied_layers` initialize a new training. Raises TrainingInterrupted
    if a signal stopped it, OSError if it could not be saved.
    """
    from alexnet.training.train import train
    from alexnet.training.transfer import Transfer

    begun = (run / "last.safetensors").exists()
    if begun and load_last_checkpoint(run).position.epoch >= recipe.epochs:
        return
    beginning: dict[str, Any] = {"resume": run} if begun else {}
    if start is not None and not begun:
        beginning = {"init": Transfer(start / "last.safetensors", copied_layers)}
    outcome = train(
        pack,
        run,
        recipe,
        device=settings.device,
        precision=settings.precision,
        screen=settings.screen,
        **beginning,
    )
    if outcome.signal is not None:
        raise TrainingInterrupted(outcome.signal)
    if not outcome.saved:
        raise OSError(f"{run}: the training is finished but could not be saved; free disk space")


def load_last_checkpoint(run: Path) -> Checkpoint:
    """Load a run's last checkpoint: claims are about the end of a training, not its best epoch."""
    from alexnet import checkpoint as checkpoints

    return checkpoints.load(checkpoints.find(run, ("last", "best")))
