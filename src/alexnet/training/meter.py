"""The losses of a training: collected at every step, read from the device later, reported.

`training.loop` adds the loss of every step to a `Meter`, which returns and shows the losses that it
has read. It does not change the position of the training. Never import `training.loop` or
`training.train` here.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from alexnet.training.log import RunLog, Screen, TrainingProgress
from alexnet.training.messages import format_flat_loss

FLAT_STEPS = 50
"""Window of the check for a flat loss, in steps.

A warning is given if the mean loss of the last FLAT_STEPS steps is within 1 % of ln(classes), the
loss of a network that gives every class the same probability. It is checked once in a training,
when at least 2·FLAT_STEPS steps have been done.
"""


FIRST_REPORT_SECONDS = 2.0
"""Seconds until the first report of a process, which tells a person how long it will take."""


class StepLoss(NamedTuple):
    """The loss of one step as a number."""

    step: int
    """The step within its epoch, from 0."""
    loss: float
    """Mean over the images of the batch."""
    n_images: int


@dataclass(frozen=True)
class MeterSettings:
    """The numbers that a Meter needs; they stay the same during a training."""

    epochs: int
    steps: int
    """Steps per epoch."""
    n_classes: int
    log_seconds: float
    """Seconds between two reports."""
    check_flat: bool
    """Whether to warn of a flat loss: only in a training that was not resumed."""


class Meter:
    """Collects the loss of every step and reports their mean.

    On a GPU a loss is not known when its step has been launched, and asking for it makes the CPU
    wait. So losses stay on the device until a report or a checkpoint needs them; `read` then
    fetches all of them with one copy. On a CPU every loss is read at once, which costs nothing.
    """

    def __init__(self, settings: MeterSettings, log: RunLog, screen: Screen) -> None:
        self.settings, self.log, self.screen = settings, log, screen
        self.steps = 0
        """Steps done by this process."""
        self._epoch = 0
        self._unread: list[tuple[int, Tensor, int]] = []
        self._recent: deque[float] = deque(maxlen=FLAT_STEPS)
        self._since_report: list[float] = []
        self._images, self._timed_steps = 0, 0
        self._began, self._shown, self._waited = 0.0, 0.0, 0.0
        self._has_reported = False
        self._check_flat = settings.check_flat

    def begin(self, epoch: int, waited: float) -> None:
        """Start the clock of an epoch. `waited`: the seconds waited for batches until now."""
        self._epoch = epoch
        self._restart_clock(time.monotonic(), waited)

    def add(self, step: int, loss: Tensor, n_images: int) -> None:
        """Keep the loss of a step, a scalar on any device, without reading it.

        The speed is measured from the end of the first step of the process, in which kernels are
        compiled.
        """
        self.steps += 1
        self._unread.append((step, loss, n_images))
        if self.steps == 1:
            self._first_step_began, self._first_images = self._began, n_images
            self._began = time.monotonic()
        else:
            self._images += n_images
            self._timed_steps += 1

    @property
    def is_report_due(self) -> bool:
        """Whether `log_seconds` have passed since the last report; two at the most if none was."""
        seconds = self.settings.log_seconds
        if not self._has_reported:
            seconds = min(seconds, FIRST_REPORT_SECONDS)
        return time.monotonic() - self._began > seconds

    @property
    def is_show_due(self) -> bool:
        """Whether the screen wants to show losses that have been read since the last report."""
        is_due = time.monotonic() - self._shown > self.screen.seconds_between
        return is_due and bool(self._since_report)

    def show(self, step: int, rate: float, waited: float) -> None:
        """Show what the next report would say now; the arguments are those of `report`."""
        self._shown = time.monotonic()
        self.screen.progress(self._measure(step, rate, waited, self._shown))

    @property
    def should_read(self) -> bool:
        """Whether there are losses that can be read without waiting for a GPU."""
        return bool(self._unread) and self._unread[-1][1].device.type == "cpu"

    def read(self) -> list[StepLoss]:
        """Return the losses added since the last call, in order; they may be infinite or NaN."""
        if not self._unread:
            return []
        losses = torch.stack([loss for _, loss, _ in self._unread]).tolist()
        readings = [
            StepLoss(step, loss, n_images)
            for (step, _, n_images), loss in zip(self._unread, losses, strict=True)
        ]
        self._unread.clear()
        self._recent.extend(losses)
        self._since_report.extend(losses)
        return readings

    def report(self, step: int, rate: float, waited: float) -> None:
        """Write the mean of the losses read since the last report to the log and the screen.

        `step` is the number of steps of the epoch that are done, `rate` the learning rate of the
        last of them, `waited` the seconds waited for batches until now. Without new losses
        nothing is reported.
        """
        if not self._since_report:
            return
        now = time.monotonic()
        progress = self._measure(step, rate, waited, now)
        values = {
            "loss": progress.loss,
            "learning_rate": rate,
            "images_per_second": progress.images_per_second,
            "waiting": progress.waiting,
        }
        done = self._epoch * self.settings.steps + step
        self.log.write("step", epoch=self._epoch, step=step, **values)
        self.log.write_scalars(done, train_step_loss=progress.loss)
        self.screen.progress(progress)
        self._warn_of_flat_loss(done, rate)
        self._since_report.clear()
        self._has_reported, self._shown = True, now
        self._restart_clock(now, waited)

    def _restart_clock(self, now: float, waited: float) -> None:
        self._began, self._waited, self._images, self._timed_steps = now, waited, 0, 0

    def _measure(self, step: int, rate: float, waited: float, now: float) -> TrainingProgress:
        """Where the training is, and how fast it was since the last report."""
        settings = self.settings
        began, images, steps = self._began, self._images, self._timed_steps
        if not steps:  # the first step is the only one
            began, images, steps = self._first_step_began, self._first_images, 1
        seconds = max(now - began, 1e-9)  # a coarse clock can stand still
        steps_left = (settings.epochs - self._epoch) * settings.steps - step
        return TrainingProgress(
            epoch=self._epoch + 1,
            epochs=settings.epochs,
            step=step,
            steps=settings.steps,
            loss=math.fsum(self._since_report) / len(self._since_report),
            learning_rate=rate,
            images_per_second=images / seconds,
            waiting=(waited - self._waited) / seconds,
            seconds_left=steps_left * seconds / steps,
        )

    def _warn_of_flat_loss(self, done: int, rate: float) -> None:
        """Say once if the loss is that of guessing. `done`: steps since the training began."""
        enough = done >= 2 * FLAT_STEPS and len(self._recent) == FLAT_STEPS
        if not self._check_flat or not enough or self.settings.n_classes < 2:
            return
        mean, chance = math.fsum(self._recent) / FLAT_STEPS, math.log(self.settings.n_classes)
        if abs(mean - chance) < 0.01 * chance:
            self.screen.warn(format_flat_loss(mean, self.settings.n_classes, FLAT_STEPS, rate))
        self._check_flat = False
