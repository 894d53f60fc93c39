"""Measuring a claim: for every seed, make the trainings and the counts of the claim's method.

    measure_claim ── for each seed ── METHODS[claim.method](replicate) ── counts by role
                                        errors       wrong top-1 and top-5 of every network
                                        views        the same for 1 and 10 views, and what changed
                                        convergence  epochs to 25 % training error
                                        towers       the colors of the first-layer kernels
                                        features     the classes of nearest neighbors
                                        size         parameters and neurons

Counts of a network are kept in its run, so that a second measurement does not count again.
`commands.claims` calls `measure_claim`. torch is imported only when a network is evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from alexnet.claims import probes
from alexnet.claims.claim import Claim
from alexnet.claims.convergence import measure_convergence
from alexnet.claims.provenance import describe_origin, describe_pack
from alexnet.claims.quantities import WHOLE
from alexnet.claims.results import Measurement
from alexnet.claims.trainings import (
    MeasurementSettings,
    Replicate,
    check_settings,
    load_last_checkpoint,
)
from alexnet.validate import Range, check, read_json

if TYPE_CHECKING:
    from alexnet.evaluation.predictions import SplitPredictions

RoleCounts = dict[str, dict[str, Any]]
"""The counts of one seed, by role: the "runs" of a `SeedResult`."""


def measure_claim(claim: Claim, settings: MeasurementSettings) -> Iterator[Measurement]:
    """Yield a measurement after each seed; it holds the results of all seeds so far.

    Finished trainings and counts of an earlier call are used again. Raises ValueError for settings
    that do not fit the claim, TrainingInterrupted if a signal stops a training.
    """
    check_settings(claim, settings)
    seed_results = []
    for seed in range(settings.seeds):
        replicate = Replicate(claim, settings, seed)
        seed_results.append({"seed": seed, "runs": METHODS[claim.method](replicate)})
        yield Measurement(
            claim.name,
            tuple(seed_results),
            data={} if claim.dataset is None else describe_pack(replicate.pack),
            pretraining=tuple(describe_pack(pack) for pack in settings.pretraining_packs),
            changes=dict(settings.changes),
            recipe=settings.recipe,
            origin=describe_origin(settings),
        )


def measure_errors(replicate: Replicate) -> RoleCounts:
    """Count the errors of every role's network, and of the ensembles of the claim.

    Pre-training runs are not evaluated, because they were trained on other images with other
    classes.
    """
    claim = replicate.claim
    runs = {role: replicate.find_run(role) for role in claim.trainings}
    counts: RoleCounts = {}
    for role, training in claim.trainings.items():
        counts[role] = describe_training(replicate, role, runs[role])
        if training.pretraining is None:
            counts[role]["scores"] = {
                evaluation: count_errors(replicate, runs[role], evaluation)
                for evaluation in claim.evaluations
            }
    for name, roles in claim.ensembles.items():
        counts[name] = {"scores": count_ensemble_errors(replicate, [runs[role] for role in roles])}
    return counts


def describe_training(replicate: Replicate, role: str, run: Path) -> dict[str, Any]:
    """Return how a role was trained: epochs, of how many, recipe, and every epoch's errors."""
    checkpoint = load_last_checkpoint(run)
    return {
        "epochs": checkpoint.position.epoch,
        "of_epochs": replicate.resolve_recipe(role)[1],
        "seed": checkpoint.recipe.seed,
        "recipe": checkpoint.recipe.to_dict(),
        "history": checkpoint.position.history,
    }


def count_errors(replicate: Replicate, run: Path, evaluation: str) -> dict[str, Any]:
    """Count the errors of a network; `evaluation` as in `Claim.evaluations`.

    The counts are read from scores-*.json in the run if they are newer than its checkpoint.
    """
    from alexnet.checkpoint import find
    from alexnet.evaluation.scores import evaluate_run, write_scores

    pack, settings = replicate.pack, replicate.settings
    split = "train" if evaluation == "train" else replicate.split
    network = find(run, ("last", "best"))
    saved = run / f"scores-{split}-{pack.checksum[:8]}-{evaluation}.json"
    if not saved.exists() or saved.stat().st_mtime < network.stat().st_mtime:
        n_views = 1 if evaluation == "train" else int(evaluation)
        scores = evaluate_run(
            network, pack.path, split=split, views=n_views, device=settings.device
        )
        if settings.run is not None:  # the user's own run is not written to
            return {"split": split, **select_counts(scores.to_dict(), str(network))}
        write_scores(scores, saved)
    return {"split": split, **select_counts(read_json(saved), str(saved))}


def select_counts(scores: Any, origin: str) -> dict[str, int]:
    """Return seen, wrong1 and wrong5 of a scores file.

    Raises ValueError, naming `origin`, if they are not counts.
    """
    wanted = "seen", "wrong1", "wrong5"
    selected = {key: scores.get(key) for key in wanted} if isinstance(scores, dict) else scores
    counts: dict[str, int] = check(selected, dict[str, Annotated[int, Range(0)]], origin)
    return counts


def count_ensemble_errors(replicate: Replicate, runs: list[Path]) -> dict[str, dict[str, Any]]:
    """Count the errors of the averaged probabilities of several networks, by number of views."""
    from alexnet.evaluation.ensemble import average_predictions

    counts = {}
    for views in replicate.claim.evaluations:
        averaged = average_predictions([predict_all(replicate, run, int(views)) for run in runs])
        scores = averaged.scores().to_dict()
        counts[views] = {
            "split": replicate.split,
            **select_counts(scores, "the average"),
        }
    return counts


def predict_all(replicate: Replicate, run: Path, n_views: int) -> SplitPredictions:
    """Return the probabilities of a run's last network for every image of the claim's split."""
    from alexnet.checkpoint import find
    from alexnet.evaluation.ensemble import predict_split

    network, device = find(run, ("last", "best")), replicate.settings.device
    return predict_split(
        network, replicate.pack.path, split=replicate.split, views=n_views, device=device
    )


def measure_views(replicate: Replicate) -> RoleCounts:
    """Count the errors with one view and with ten, and the images whose result changed.

    "changed" is, for top-1 and top-5: [wrong with one view only, wrong with ten views only].
    """
    run = replicate.find_run(WHOLE)
    ranks = {n_views: predict_all(replicate, run, n_views).ranks() for n_views in (1, 10)}
    wrong = {n_views: {top: rank >= top for top in (1, 5)} for n_views, rank in ranks.items()}
    scores = {
        str(n_views): {
            "split": replicate.split,
            "seen": len(ranks[n_views]),
            **{f"wrong{top}": int(mask.sum()) for top, mask in masks.items()},
        }
        for n_views, masks in wrong.items()
    }
    changed = {
        str(top): [
            int((wrong[1][top] & ~wrong[10][top]).sum()),
            int((wrong[10][top] & ~wrong[1][top]).sum()),
        ]
        for top in (1, 5)
    }
    training = describe_training(replicate, WHOLE, run)
    return {WHOLE: {**training, "scores": scores, "changed": changed}}


def measure_towers(replicate: Replicate) -> RoleCounts:
    """Measure the colorfulness of the first-layer kernels of both towers."""
    run = replicate.find_run(WHOLE)
    color = probes.measure_tower_colors(load_last_checkpoint(run))
    return {WHOLE: {**describe_training(replicate, WHOLE, run), "color": color}}


def measure_features(replicate: Replicate) -> RoleCounts:
    """Count the nearest neighbors of the same class, by features and by pixels."""
    run = replicate.find_run(WHOLE)
    neighbors = probes.count_neighbors(run, replicate.pack, replicate.settings.device)
    return {WHOLE: {**describe_training(replicate, WHOLE, run), **neighbors}}


def measure_size(replicate: Replicate) -> RoleCounts:
    """Count the parameters and neurons of AlexNet; nothing is trained."""
    return {WHOLE: probes.count_size("alexnet")}


METHODS: dict[str, Callable[[Replicate], RoleCounts]] = {
    "errors": measure_errors,
    "views": measure_views,
    "convergence": measure_convergence,
    "size": measure_size,
    "towers": measure_towers,
    "features": measure_features,
}
"""The function of every `claim.Method`."""
