"""Epochs to 25 % training error (figure 1 of the paper), each network at its best learning rate.

    for each role:   seed 0    train with every rate of RATES, epoch by epoch to the target error;
                               the rate that reaches it first is chosen
                     seed k    train with the chosen rate only

The error on all training images is counted after every epoch, since the claim is about training
error. `measuring` calls `measure_convergence`; `commands.claims` draws the curves.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.claims.trainings import (
    MeasurementSettings,
    Replicate,
    load_last_checkpoint,
    name_run_folder,
    train_to_end,
)
from alexnet.files import append
from alexnet.validate import check, parse_json

if TYPE_CHECKING:
    from alexnet.packs.pack import Pack
    from alexnet.recipes.recipe import Recipe

TARGET_ERROR = 0.25
"""The training error at which epochs are counted, as a fraction."""

INITIAL_ERROR = 0.9
"""The error before the first epoch: that of guessing among ten classes."""

RATES = 0.005, 0.01, 0.02, 0.04, 0.08
"""The learning rates that every role tries with seed 0."""

Trial = dict[str, Any]
"""One training: {"reached": epochs or None, "epochs": epochs run, "curve": error per epoch}."""


def measure_convergence(replicate: Replicate) -> dict[str, Trial]:
    """Return the trial of every role at its best learning rate."""
    return {role: measure_best_rate(replicate, role) for role in replicate.claim.trainings}


def measure_best_rate(replicate: Replicate, role: str) -> Trial:
    """Return a role's trial at its best learning rate, chosen with seed 0 for all seeds.

    A rate is abandoned after as many epochs as the fastest earlier rate needed.
    """
    first, changes = replace(replicate, seed=0), replicate.settings.changes
    trials: dict[float, Trial] = {}
    for rate in (changes["learning_rate"],) if "learning_rate" in changes else RATES:
        fastest = min((t["epochs"] for t in trials.values() if t["reached"]), default=None)
        trials[rate] = run_trial(first, role, rate, fastest)
    best = min(trials, key=lambda rate: compute_sort_key(trials[rate]))
    trial = trials[best] if replicate.seed == 0 else run_trial(replicate, role, best)
    tried = [{"learning_rate": rate, **trial} for rate, trial in trials.items()]
    return {"learning_rate": best, **trial, "tried": tried if replicate.seed == 0 else []}


def compute_sort_key(trial: Trial) -> tuple[float, float]:
    """Sort key, best first: the epochs to the target error, then the lowest error."""
    reached = trial["reached"]
    return (math.inf if reached is None else reached), min(trial["curve"])


def run_trial(replicate: Replicate, role: str, rate: float, max_epochs: int | None = None) -> Trial:
    """Train one epoch at a time up to the target error, or to the last of `max_epochs` epochs."""
    pack, settings = replicate.get_training_pack(role), replicate.settings
    recipe = replace(replicate.resolve_recipe(role)[0], learning_rate=rate)
    # epochs=1 keeps the limit out of the folder's digest: a longer trial continues in this folder.
    run = name_run_folder(settings, pack, replace(recipe, epochs=1))
    curve: list[float] = []
    for epoch in range(1, min(max_epochs or recipe.epochs, recipe.epochs) + 1):
        curve.append(measure_training_error(run, pack, replace(recipe, epochs=epoch), settings))
        if curve[-1] <= TARGET_ERROR:
            break
    return {"reached": interpolate_crossing(curve), "epochs": len(curve), "curve": curve}


def measure_training_error(
    run: Path, pack: Pack, recipe: Recipe, settings: MeasurementSettings
) -> float:
    """Return the error on all training images after the recipe's last epoch, as a fraction.

    The counts of every epoch are kept, one per line, in training-errors.jsonl; an epoch that is not
    there is trained. Raises ValueError for a damaged line, and for a run that is not at this epoch.
    """
    epoch, file = recipe.epochs, run / "training-errors.jsonl"
    lines = file.read_bytes().splitlines() if file.exists() else []
    if len(lines) >= epoch:
        return _read_error(lines[epoch - 1], f"line {epoch} of {file}")
    from alexnet.evaluation.scores import evaluate_run

    train_to_end(run, pack, recipe, settings)
    if (position := load_last_checkpoint(run).position.epoch) != epoch:
        raise ValueError(f"{run} is at epoch {position}, not {epoch}: remove it and start again")
    scores = evaluate_run(
        run / "last.safetensors", pack.path, split="train", device=settings.device
    )
    counts = {"seen": scores.counts.seen, "wrong1": scores.counts.wrong1}
    append(file, (json.dumps(counts) + "\n").encode("ascii"))
    return scores.counts.top1


def _read_error(line: bytes, origin: str) -> float:
    counts = check(parse_json(line, origin), dict[str, int], origin)
    if not {"seen", "wrong1"} <= counts.keys() or counts["seen"] < 1:
        raise ValueError(f"{origin} holds no counts. Remove that file and start again")
    return float(counts["wrong1"] / counts["seen"])


def interpolate_crossing(curve: list[float]) -> float | None:
    """Return after how many epochs the curve first reaches the target error.

    Errors between epochs are interpolated linearly. None if it never reaches the target.
    """
    for epoch, (before, after) in enumerate(zip([INITIAL_ERROR, *curve], curve, strict=False)):
        if after <= TARGET_ERROR:
            return epoch + (before - TARGET_ERROR) / (before - after)
    return None
