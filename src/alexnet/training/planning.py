"""How many epochs fit into a stated time, measured with real steps before a training begins.

    measure_speed ──▶ Speed ──count_epochs──▶ epochs ──recipes.planned──▶ the recipe to train by

`commands.train` calls `plan_recipe` for its option --time. The number of epochs becomes part of the
recipe, so a training that was planned is resumed like any other. Measuring writes a checkpoint into
a folder beside the run, which is removed again; it does not change the training that follows.
"""

from __future__ import annotations

import math
import re
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from alexnet.batches.views import iterate_views
from alexnet.device import Machine
from alexnet.evaluation.counts import predict_batches
from alexnet.packs.pack import Pack
from alexnet.recipes.planned import fit_to_epochs
from alexnet.recipes.recipe import LARGEST, Recipe
from alexnet.terminal import format_count
from alexnet.training.interrupt import Interrupt
from alexnet.training.job import TrainingJob
from alexnet.training.log import Screen
from alexnet.training.loop import Training
from alexnet.training.transfer import Transfer

SHARE, LEAST, MOST = 0.02, 2.0, 20.0
"""The steps are measured for this share of the stated time, but for 2 to 20 seconds."""
WARMING = 0.25
"""Before the steps are measured, they are done for this share of that time, to warm up."""
SAVES = 2
"""Checkpoints that are saved to measure it."""
SMALL = "cifar"
"""A network that is many times faster than those for photographs."""
TOLERATED = 0.01
"""Share of the stated time by which the last epoch may exceed it: what measuring cannot tell."""


@dataclass(frozen=True)
class Speed:
    """How long the parts of a training take, in seconds."""

    start: float
    """Until the first step is done, in a process that has compiled its kernels by measuring."""
    step: float
    steps: int
    """Steps per epoch."""
    validation: float
    """After each epoch, over all validation images."""
    saving: float
    """Of one checkpoint."""

    @property
    def epoch(self) -> float:
        """Seconds of an epoch with its validation and its checkpoint."""
        return self.steps * self.step + self.validation + self.saving


@dataclass(frozen=True)
class Plan:
    """A recipe that takes a stated time, and what that rests on."""

    recipe: Recipe
    speed: Speed
    seconds: float
    """The time that was stated."""
    spent: float
    """How much of it the measuring took."""

    @property
    def expected(self) -> float:
        """Seconds that the training is expected to take, with those that were spent."""
        return self.spent + self.speed.start + self.recipe.epochs * self.speed.epoch

    def describe(self) -> str:
        """Return the plan in two lines of at most 80 columns."""
        epochs, speed = format_count(self.recipe.epochs, "epoch"), self.speed
        return (
            f"Planned: {epochs} of {speed.epoch:,.1f} s (training "
            f"{speed.steps * speed.step:,.1f}, validation {speed.validation:,.1f}, saving "
            f"{speed.saving:,.1f}),\n"
            f"  {self.expected:,.0f} of the {self.seconds:,.0f} seconds of --time, with "
            f"{self.spent:,.0f} for this measurement."
        )


TIME = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
"""A time as `--time` takes it: 20m, 90s, 2h, 1h30m."""


def parse_time(text: str) -> float:
    """Return the seconds of a time such as 20m, 90s, 2h or 1h30m. Raises ValueError."""
    found = TIME.fullmatch(text.replace(" ", "").lower())
    if found is None or not any(found.groups()):
        raise ValueError(f"--time {text!r} is no time: write it as 20m, 90s, 2h or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    total = 3600 * hours + 60 * minutes + seconds
    if not total:
        raise ValueError(f"--time {text!r}: no training takes no time")
    return total


class Deadline(Interrupt):
    """An Interrupt that also asks to stop at a time of the monotonic clock."""

    def __init__(self) -> None:
        self.ends = 0.0
        self.came: int | None = None
        super().__init__()

    @property
    def signal(self) -> int | None:
        """The signal that came, 0 after the deadline, else None."""
        return self.came if self.came or time.monotonic() < self.ends else 0

    @signal.setter
    def signal(self, number: int | None) -> None:
        self.came = number


def plan_recipe(
    pack: Pack,
    run: Path,
    recipe: Recipe,
    machine: Machine,
    seconds: float,
    *,
    init: Transfer | None = None,
    kept: Collection[str] = (),
) -> Plan:
    """Return the recipe with as many epochs as fit into `seconds`, its schedule fitted to them.

    `kept` names the fields of the recipe that must not be changed. Raises ValueError if not even
    one epoch fits, InterruptedError if a signal comes while the speed is measured, and what
    `train` raises before its first step.
    """
    began = time.monotonic()
    duration = min(max(SHARE * seconds, LEAST), MOST)
    speed = measure_speed(pack, run, recipe, machine, duration, init)
    spent = time.monotonic() - began
    epochs = count_epochs(speed, seconds - spent, seconds)
    if epochs < 1:
        needed = spent + speed.start + speed.epoch
        raise ValueError(_explain_too_short(pack, recipe, needed, seconds))
    epochs = min(epochs, int(LARGEST["epochs"]))
    return Plan(fit_to_epochs(recipe, epochs, kept), speed, seconds, spent)


def _explain_too_short(pack: Pack, recipe: Recipe, needed: float, seconds: float) -> str:
    """What to do where `needed` seconds for one epoch are more than the stated ones."""
    small = "fewer images" if recipe.network == SMALL else f"a small network (--network {SMALL})"
    return (
        f"one epoch of {format_count(len(pack.splits['train']), 'image')} takes about "
        f"{needed:,.0f} seconds here with its validation, more than the {seconds:,.0f} of --time. "
        f"Give it --time {math.ceil(1.1 * needed / 60)}m or more, or {small}"
    )


def count_epochs(speed: Speed, left: float, seconds: float) -> int:
    """Return how many epochs fit into the seconds that are left of the stated ones.

    One more is counted if it exceeds the stated time by TOLERATED at most.
    """
    fitting = max(0, math.floor((left - speed.start) / speed.epoch))
    over = speed.start + (fitting + 1) * speed.epoch - left
    return fitting + int(over <= TOLERATED * seconds)


def measure_speed(
    pack: Pack, run: Path, recipe: Recipe, machine: Machine, seconds: float, init: Transfer | None
) -> Speed:
    """Train for some seconds in a folder beside the run, evaluate for as long, save once."""
    folder = run.with_name(f".{run.name}.plan")
    missing = [path for path in folder.parents if not path.exists()]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with Deadline() as deadline:
            job = TrainingJob(
                pack, folder, replace(recipe, epochs=int(LARGEST["epochs"])), machine, None, None
            )
            began = time.monotonic()
            training = Training(job, deadline, Screen())
            if init is not None:
                training.copy_layers(init)
            built = time.monotonic() - began
            training.train_epoch(0)  # one step, as the deadline is over
            first = time.monotonic() - began - built
            _measure_steps(training, deadline, WARMING * seconds)
            step = _measure_steps(training, deadline, seconds)
            validation = _measure_validation(training, deadline, seconds)
            saving = _measure_saving(training)
            # The kernels of a CPU are compiled by now; the step of a GPU is prepared once more.
            start = built + (step if machine.device.type == "cpu" else first)
        if deadline.came:
            raise InterruptedError(deadline.came, "stopped while the speed was measured")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for path in missing:
            path.rmdir()
    return Speed(start, step, len(training.batches), validation, saving)


def _measure_steps(training: Training, deadline: Deadline, seconds: float) -> float:
    """Return the mean duration of a step, over at least one."""
    before, began = training.meter.steps, time.monotonic()
    deadline.ends = began + seconds
    while training.meter.steps == before or deadline.signal is None:
        epoch = training.position.epoch
        if training.position.step < len(training.batches):
            training.train_epoch(epoch)
        if training.position.step >= len(training.batches):
            training.finish_epoch(epoch, None)
        if deadline.came:
            break
    return (time.monotonic() - began) / max(training.meter.steps - before, 1)


def _measure_validation(training: Training, deadline: Deadline, seconds: float) -> float:
    """Return the duration of a pass over the validation images, from some of them."""
    split = training.pack.splits.get("val")
    if not split:
        return 0.0
    training.network.eval()
    _validate(training, deadline, 0.0)  # one batch, to warm up
    n_images, duration = _validate(training, deadline, seconds)
    training.network.train()
    return duration * int((split.labels >= 0).sum()) / max(n_images, 1)


def _validate(training: Training, deadline: Deadline, seconds: float) -> tuple[int, float]:
    """Evaluate some validation images, one batch at least; return their number and the time."""
    split, began = training.pack.splits["val"], time.monotonic()
    batches = iterate_views(
        split,
        split.labels,
        np.flatnonzero(split.labels >= 0),
        training.preprocessing,
        training.machine.device,
        n_views=1,
        batch_size=training.recipe.batch_size,
    )
    n_images, deadline.ends = 0, began + seconds
    for likely, batch in predict_batches(training.network, batches, training.machine):
        likely.sum().item()  # waits for a GPU
        n_images += len(batch.labels)
        if deadline.signal is not None:
            break
    return n_images, time.monotonic() - began


def _measure_saving(training: Training) -> float:
    """Return the mean duration of two checkpoints: one makes the file, the next replaces it."""
    began = time.monotonic()
    for _ in range(SAVES):
        training.save()
    return (time.monotonic() - began) / SAVES
