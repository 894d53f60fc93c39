"""Reading the losses of a training and telling of them; stopping it when they are not numbers."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from alexnet.batches.augment import draw_order
from alexnet.checkpoint import Position
from alexnet.training.log import Progress

if TYPE_CHECKING:
    from alexnet.training.train import Training

FLAT_STEPS = 50
"""Over how many steps a loss has to stay at ln(classes) to be remarked upon, after as many more."""

FLAT = """The loss has stayed at {loss:.3f} = ln({classes}) for {steps} steps: nothing is being
learned. Usual causes: a learning rate too high or too low (now {rate:g}; try a third, or three
times it); the printed initialization, which is slow to start on few images (--initialization
variance, or --recipe small); labels that are not those of their images (look at them: alexnet pack
--info PACK --sheet x.png)."""


class Diverged(RuntimeError):  # noqa: N818 - the word of the field
    """The loss was not a finite number. The weights are those from before that batch."""

    exit_code = 3


class Meter:
    """Reads the losses of the steps, as late as the device likes, and reports on them."""

    def __init__(self, training: Training) -> None:
        self.training, self.epoch = training, 0
        self.steps = 0
        """Steps done by this process."""
        self.unread: list[tuple[int, Tensor, int]] = []
        self.recent: deque[float] = deque(maxlen=FLAT_STEPS)
        self.since_report: list[float] = []
        self.images, self.began, self.waited = 0, 0.0, 0.0
        self.remarked = training.position != Position()

    def begin(self, epoch: int) -> None:
        """Start the clock of an epoch."""
        self.epoch, self.images = epoch, 0
        self.began, self.waited = time.monotonic(), self.training.batches.waited

    def add(self, step: int, loss: Tensor, images: int) -> None:
        """Take the loss of a step. On a CPU it is read at once, which costs nothing there."""
        self.steps += 1
        self.unread.append((step, loss, images))
        self.images += images
        if loss.device.type == "cpu":
            self.read()
        if time.monotonic() - self.began > self.training.log_seconds:
            self.report()

    def read(self) -> None:
        """Move what is unread into the position. Raises Diverged at a loss that is not finite."""
        if not self.unread:
            return
        training, position = self.training, self.training.position
        losses = torch.stack([loss for _, loss, _ in self.unread]).tolist()
        total = position.loss_sum
        for (step, _, images), loss in zip(self.unread, losses, strict=True):
            if not math.isfinite(loss):
                raise Diverged(self._where(step, loss))
            total += loss * images
        last_step = self.unread[-1][0]
        training.position = replace(
            position,
            step=last_step + 1,
            rate=training.sgd.rate,
            rates=dict(training.sgd.rates),
            loss_sum=total,
        )
        self.unread.clear()
        self.recent.extend(losses)
        self.since_report.extend(losses)

    def report(self) -> None:
        """Tell the log and the screen how it goes."""
        self.read()
        if not self.since_report:
            return
        training, now = self.training, time.monotonic()
        steps, position = len(training.batches), training.position
        seconds = max(now - self.began, 1e-9)  # a coarse clock can stand still
        mean = math.fsum(self.since_report) / len(self.since_report)
        waited = training.batches.waited
        left = (training.recipe.epochs - self.epoch) * steps - position.step
        speed = self.images / seconds
        progress = Progress(
            epoch=self.epoch + 1,
            epochs=training.recipe.epochs,
            step=position.step,
            steps=steps,
            loss=mean,
            learning_rate=position.rate,
            images_per_second=speed,
            waiting=(waited - self.waited) / seconds,
            seconds_left=left * seconds / len(self.since_report),
        )
        values = {"loss": mean, "learning_rate": position.rate, "images_per_second": speed}
        values["waiting"] = progress.waiting
        training.log.write("step", epoch=self.epoch, step=position.step, **values)
        training.log.scalars(self.epoch * steps + position.step, train_step_loss=mean)
        training.screen.progress(progress)
        self._remark_flat()
        self.since_report.clear()
        self.began, self.waited, self.images = now, waited, 0

    def _remark_flat(self) -> None:
        classes = len(self.training.pack.classes)
        done = self.epoch * len(self.training.batches) + self.training.position.step
        if self.remarked or done < 2 * FLAT_STEPS or len(self.recent) < FLAT_STEPS or classes < 2:
            return
        mean, chance = math.fsum(self.recent) / len(self.recent), math.log(classes)
        if abs(mean - chance) < 0.01 * chance:
            rate = self.training.sgd.rate
            text = FLAT.format(loss=mean, classes=classes, steps=len(self.recent), rate=rate)
            self.training.screen.say(text)
        self.remarked = True

    def _where(self, step: int, loss: float) -> str:
        training, size = self.training, self.training.recipe.batch_size
        split = training.batches.split
        indices = draw_order(training.recipe.seed, self.epoch, len(split))[step * size :][:size]
        names = ", ".join(split.name(i) for i in indices[:3])
        last = training.run / "last.safetensors"
        good = f"the last good checkpoint is {last}" if last.exists() else "none was saved before"
        return (
            f"the loss is {loss} at epoch {self.epoch + 1}, step {step + 1} (learning rate "
            f"{training.sgd.rate:g}; a batch of {len(indices)} images: {names}, …). The weights "
            f"were not touched by it; {good}. Usually the learning rate is too high: train anew "
            "with a third of it (--learning-rate)"
        )
