"""Measuring a claim: make the trainings, count, keep the counts."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from alexnet.claims import probes, race
from alexnet.claims.claim import Claim
from alexnet.claims.readings import WHOLE
from alexnet.claims.results import Measurement
from alexnet.claims.trainings import Job, last, make, pack_of, resolve
from alexnet.claims.trainings import check as check_job
from alexnet.validate import Range, check, read_json

if TYPE_CHECKING:
    from alexnet.evaluation.predictions import SplitPredictions
    from alexnet.packs.pack import Pack

Runs = dict[str, dict[str, Any]]
"""What was counted, by role."""


def measure(claim: Claim, job: Job) -> Iterator[Measurement]:
    """The claim measured with one seed, with two, … up to the job's: each yielded when it is done.

    What was trained and counted before is found again. Raises ValueError for a job that does not
    fit the claim.
    """
    check_job(claim, job)
    records = []
    for seed in range(job.seeds):
        records.append({"seed": seed, "runs": METHODS[claim.method](claim, job, seed)})
        yield Measurement(
            claim.name,
            tuple(records),
            data={} if claim.data is None else about(pack_for(job)),
            earlier=tuple(about(pack) for pack in job.earlier),
            changes=dict(job.changes),
            recipe=job.recipe,
            made=provenance(job),
        )


def errors(claim: Claim, job: Job, seed: int) -> Runs:
    """Errors of every role's network at the end of its training, and of their averages.

    What was trained on other images first knows other classes, and is not counted.
    """
    found: Runs = {}
    folders = {role: folder_of(claim, role, job, seed) for role in claim.runs}
    for role, run in claim.runs.items():
        found[role] = trained(claim, role, job, seed, folders[role])
        if run.earlier is None:
            scores = {many: counted(claim, folders[role], job, many) for many in claim.scores}
            found[role]["scores"] = scores
    for role, members in claim.ensembles.items():
        found[role] = {"scores": averaged(claim, [folders[m] for m in members], job)}
    return found


def folder_of(claim: Claim, role: str, job: Job, seed: int) -> Path:
    """The folder of a role's training: the one that was named, or one that is made."""
    return job.run if job.run is not None else make(claim, role, job, seed)


def trained(claim: Claim, role: str, job: Job, seed: int, folder: Path) -> dict[str, Any]:
    """How a role was trained: epochs, of how many, recipe, and what each epoch measured."""
    checkpoint = last(folder)
    whole = resolve(claim.runs[role], pack_of(claim.runs[role], claim, job), job, seed)[1]
    return {
        "epochs": checkpoint.position.epoch,
        "of_epochs": whole,
        "seed": checkpoint.recipe.seed,
        "recipe": checkpoint.recipe.to_dict(),
        "history": checkpoint.position.history,
    }


def counted(claim: Claim, folder: Path, job: Job, views: str) -> dict[str, Any]:
    """Errors of a network: `views` of an image of the claim's split, or "train", one view."""
    from alexnet.checkpoint import find
    from alexnet.evaluation.scores import evaluate_run, write_scores

    pack = pack_for(job)
    split = "train" if views == "train" else split_of(claim, job)
    network = find(folder, ("last", "best"))
    kept = folder / f"scores-{split}-{pack.checksum[:8]}-{views}.json"
    if not kept.exists() or kept.stat().st_mtime < network.stat().st_mtime:
        many = 1 if views == "train" else int(views)
        found = evaluate_run(network, pack.path, split=split, views=many, device=job.device)
        if job.run is not None:  # somebody else's folder stays as it is
            return {"split": split, **short(found.to_dict(), str(network))}
        write_scores(found, kept)
    return {"split": split, **short(read_json(kept), str(kept))}


def split_of(claim: Claim, job: Job) -> str:
    """The images that errors are counted on: the claim's split where there is one, else val."""
    return claim.split if claim.split in pack_for(job).splits else "val"


def short(scores: Any, place: str) -> dict[str, int]:
    """The counts of a scores.json. Raises ValueError, naming `place`, where they are none."""
    wanted = "seen", "wrong1", "wrong5"
    counts = {k: scores.get(k) for k in wanted} if isinstance(scores, dict) else scores
    found: dict[str, int] = check(counts, dict[str, Annotated[int, Range(0)]], place)
    return found


def averaged(claim: Claim, folders: list[Path], job: Job) -> dict[str, dict[str, Any]]:
    """Errors of the averaged probabilities of several networks."""
    from alexnet.evaluation.ensemble import average_predictions

    split, found = split_of(claim, job), {}
    for views in claim.scores:
        every = average_predictions([said(folder, job, split, int(views)) for folder in folders])
        found[views] = {"split": split, **short(every.scores().to_dict(), "the average")}
    return found


def said(folder: Path, job: Job, split: str, views: int) -> SplitPredictions:
    """What the network at the end of a training says of every image of a split."""
    from alexnet.checkpoint import find
    from alexnet.evaluation.ensemble import predict_split

    network, pack = find(folder, ("last", "best")), pack_for(job)
    return predict_split(network, pack.path, split=split, views=views, device=job.device)


def views(claim: Claim, job: Job, seed: int) -> Runs:
    """Errors with one view and with ten, and how many images the ten set right and wrong."""
    folder, split = folder_of(claim, WHOLE, job, seed), split_of(claim, job)
    ranks = {many: said(folder, job, split, many).ranks() for many in (1, 10)}
    wrong = {many: {top: rank >= top for top in (1, 5)} for many, rank in ranks.items()}
    scores = {
        str(many): {
            "split": split,
            "seen": len(ranks[many]),
            **{f"wrong{top}": int(which.sum()) for top, which in tops.items()},
        }
        for many, tops in wrong.items()
    }
    changed = {
        str(top): [
            int((wrong[1][top] & ~wrong[10][top]).sum()),
            int((wrong[10][top] & ~wrong[1][top]).sum()),
        ]
        for top in (1, 5)
    }
    how = trained(claim, WHOLE, job, seed, folder)
    return {WHOLE: {**how, "scores": scores, "changed": changed}}


def towers(claim: Claim, job: Job, seed: int) -> Runs:
    """How colorful the first-layer kernels of both towers are."""
    folder = folder_of(claim, WHOLE, job, seed)
    color = probes.colors(last(folder))
    return {WHOLE: {**trained(claim, WHOLE, job, seed, folder), "color": color}}


def features(claim: Claim, job: Job, seed: int) -> Runs:
    """Of what class the nearest images are, by features and by pixels."""
    folder = folder_of(claim, WHOLE, job, seed)
    neighbors = probes.neighbors(folder, pack_for(job), job.device)
    return {WHOLE: {**trained(claim, WHOLE, job, seed, folder), **neighbors}}


def size(claim: Claim, job: Job, seed: int) -> Runs:
    """How large the network is; nothing is trained."""
    return {WHOLE: probes.size("alexnet")}


METHODS: dict[str, Callable[[Claim, Job, int], Runs]] = {
    "errors": errors,
    "views": views,
    "race": race.race,
    "size": size,
    "towers": towers,
    "features": features,
}


def pack_for(job: Job) -> Pack:
    """The pack of a job that has one."""
    assert job.pack is not None
    return job.pack


def about(pack: Pack) -> dict[str, Any]:
    """What a measurement says of its images."""
    return {
        "name": NAMES.get(pack.source["kind"], Path(pack.source["path"]).name),
        "kind": pack.source["kind"],
        "images": len(pack.splits["train"]),
        "measured": {name: len(split) for name, split in pack.splits.items() if name != "train"},
        "classes": len(pack.classes),
        "size": pack.size,
        "checksum": pack.checksum,
    }


NAMES = {"ilsvrc2010": "ILSVRC-2010", "ilsvrc2012": "ILSVRC-2012", "cifar10": "CIFAR-10"}
"""What packs are called whose source is known."""


def provenance(job: Job) -> dict[str, Any]:
    """Where numbers come from: command, commit, machine, versions, date."""
    from alexnet import device as devices
    from alexnet import runs

    facts = devices.describe(devices.machine(job.device, job.precision))
    if job.run is not None:
        facts["precision"] = runs.read_environment(job.run).get("precision")
    command = ["alexnet", *(word for word in sys.argv[1:] if word != "--json")]
    date = time.strftime("%Y-%m-%d")
    return {"date": date, "commit": commit(), **facts, "command": command}


def commit() -> str | None:
    """The commit of the source this runs from, with -dirty if it was changed; None if unknown."""
    here = Path(__file__)
    try:
        git(
            here, "ls-files", "--error-unmatch", here.name
        )  # else it is installed in another's tree
        return git(here, "describe", "--always", "--dirty", "--abbrev=12")
    except (OSError, subprocess.SubprocessError):
        return None


def git(here: Path, *words: str) -> str:
    """What git says in the folder of a file."""
    command = ["git", "-C", str(here.parent), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
