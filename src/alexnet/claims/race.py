"""A race to 25 % training error (Figure 1): who gets there in fewer epochs, and how far each is."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.claims.claim import Claim
from alexnet.claims.trainings import Job, last, pack_of, place, resolve, train_until
from alexnet.validate import check, parse_json

if TYPE_CHECKING:
    from alexnet.recipes.recipe import Recipe

FINISH = 0.25
"""Training error that the racers have to reach."""

START = 0.9
"""The error before the first epoch: that of guessing among ten classes."""

RATES = 0.005, 0.01, 0.02, 0.04, 0.08
"""Learning rates that each racer tries, with the first seed."""


def race(claim: Claim, job: Job, seed: int) -> dict[str, dict[str, Any]]:
    """Each role with the learning rate that gets it to the finish first."""
    return {role: best(claim, role, job, seed) for role in claim.runs}


def best(claim: Claim, role: str, job: Job, seed: int) -> dict[str, Any]:
    """A role's race at its own best rate, which the first seed finds for all."""
    tried: dict[float, dict[str, Any]] = {}
    for rate in (job.changes["learning_rate"],) if "learning_rate" in job.changes else RATES:
        most = min((t["epochs"] for t in tried.values() if t["reached"]), default=None)
        tried[rate] = run(claim, role, job, 0, rate, most)
    chosen = min(tried, key=lambda rate: rank(tried[rate]))
    mine = tried[chosen] if seed == 0 else run(claim, role, job, seed, chosen)
    trials = [{"learning_rate": rate, **trial} for rate, trial in tried.items()]
    return {"learning_rate": chosen, **mine, "tried": trials if seed == 0 else []}


def rank(trial: dict[str, Any]) -> tuple[float, float]:
    """Who comes first: by when it reached the finish, else by how near it came."""
    reached = trial["reached"]
    return (math.inf if reached is None else reached), min(trial["curve"])


def run(
    claim: Claim, role: str, job: Job, seed: int, rate: float, most: int | None = None
) -> dict[str, Any]:
    """One training, epoch by epoch to the finish, or to the last of `most` epochs."""
    pack = pack_of(claim.runs[role], claim, job)
    recipe = replace(resolve(claim.runs[role], pack, job, seed)[0], learning_rate=rate)
    folder = place(job, pack, replace(recipe, epochs=1))  # a later limit goes on in it
    curve: list[float] = []
    for epoch in range(1, min(most or recipe.epochs, recipe.epochs) + 1):
        curve.append(train_error(folder, epoch, replace(recipe, epochs=epoch), job))
        if curve[-1] <= FINISH:
            break
    return {"reached": crossing(curve), "epochs": len(curve), "curve": curve}


def train_error(folder: Path, epoch: int, recipe: Recipe, job: Job) -> float:
    """The error on all training images after an epoch; trains it first if need be."""
    kept = folder / "training-errors.jsonl"
    lines = kept.read_bytes().splitlines() if kept.exists() else []
    if len(lines) >= epoch:
        place = f"line {epoch} of {kept}"
        counts = check(parse_json(lines[epoch - 1], place), dict[str, int], place)
        if counts.keys() < {"seen", "wrong1"} or counts["seen"] < 1:
            raise ValueError(f"{place} holds no counts. Remove {kept} and start again")
        return float(counts["wrong1"] / counts["seen"])
    from alexnet.evaluation.scores import evaluate_run

    assert job.pack is not None
    train_until(folder, job.pack, recipe, job)
    if (at := last(folder).position.epoch) != epoch:
        raise ValueError(f"{folder} is at epoch {at}, not {epoch}: remove it and start again")
    counts = evaluate_run(
        folder / "last.safetensors", job.pack.path, split="train", device=job.device
    )
    with kept.open("a") as file:
        file.write(json.dumps({"seen": counts.counts.seen, "wrong1": counts.counts.wrong1}) + "\n")
    return counts.counts.top1


def crossing(curve: list[float]) -> float | None:
    """After how many epochs a curve falls to the finish, between epochs by a straight line."""
    for epoch, (before, after) in enumerate(zip([START, *curve], curve, strict=False)):
        if after <= FINISH:
            return epoch + (before - FINISH) / (before - after)
    return None
