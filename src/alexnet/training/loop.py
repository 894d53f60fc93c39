"""The training loop: the steps, and between them reports, checks and checkpoints.

`training.train` builds a `Training` from a `TrainingJob` and runs it; nothing else calls this
module. It writes files through `training.saving` and reports through `training.meter`. The position
of the training, `Training.position`, is part of every checkpoint; only `Training` changes it.
"""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from alexnet import device as devices
from alexnet.batches.augment import draw_order
from alexnet.batches.epochs import Batches
from alexnet.batches.preprocessing import Preprocessing
from alexnet.checkpoint import Checkpoint, Position
from alexnet.evaluation.counts import Counts, evaluate, has_top5
from alexnet.nets.variations import network_of
from alexnet.packs.background_check import BackgroundCheck
from alexnet.recipes.recipe import Recipe
from alexnet.terminal import format_count
from alexnet.training.interrupt import Interrupt
from alexnet.training.job import TrainingJob, TrainingOutcome
from alexnet.training.log import EpochReport, NoLog, RunLog, Screen
from alexnet.training.memory import count_step_memory
from alexnet.training.messages import format_epoch
from alexnet.training.meter import Meter, MeterSettings, StepLoss
from alexnet.training.saving import NoWriter, RunWriter, is_best
from alexnet.training.schedule import Rates, compute_rates
from alexnet.training.transfer import Transfer, first_init


class Diverged(RuntimeError):  # noqa: N818 - the word of the field
    """The loss of a batch was infinite or NaN. The weights are those from before that batch."""

    exit_code = 3
    is_shared = True
    """All processes raise it, after the same step (`processes.World`)."""


NO_SIGNAL = -1
"""What stands for "none" where processes send each other the number of a signal."""


class Events(NamedTuple):
    """What the loop has to act on between two steps."""

    signal: int | None
    """The signal that asks to stop, if one came."""
    is_save_due: bool
    """Whether it is time for a checkpoint."""
    is_damaged: bool
    """Whether a file of the pack turned out to be damaged."""
    is_reading_due: bool
    """Whether the losses are to be read, and with them whether one is not finite."""

    def encode(self) -> Tensor:
        """Return the events as numbers that processes can send each other: int64 (4,)."""
        signal = NO_SIGNAL if self.signal is None else self.signal
        return torch.tensor([signal, *self[1:]], dtype=torch.int64)

    @classmethod
    def merge(cls, everyone: list[Tensor]) -> Events:
        """Return what all processes act on: what any of them saw; process 0's clock for saving."""
        signals, saves, damaged, reading = torch.stack(everyone).T.tolist()
        came = [signal for signal in signals if signal != NO_SIGNAL]
        return cls(came[0] if came else None, bool(saves[0]), any(damaged), any(reading))


class Training:
    """A training in progress: the network, its optimizer, its batches and its position.

    The state that a checkpoint saves is in three places: `network` (weights), `sgd` (momentum) and
    `position` (epoch, step, last rates, sum of losses, history). Batches, rates and the random
    numbers of dropout are functions of the recipe and the position, so there is no more to save.
    """

    def __init__(self, job: TrainingJob, interrupt: Interrupt, screen: Screen) -> None:
        """Build the network, choose its step, and describe the run in its folder.

        Raises ValueError if the recipe names a layer that the network does not have or leaves
        none to train, and OSError if the folder of a new training cannot be written.
        """
        pack, run, recipe, machine, start = job.pack, job.run, job.recipe, job.machine, job.start
        self.job, self.pack, self.run, self.recipe, self.machine = job, pack, run, recipe, machine
        self.interrupt, self.division = interrupt, job.division
        self.screen = screen if self.division.is_first else Screen()
        preprocessing = start.preprocessing if start else Preprocessing.of(pack, recipe)
        self.preprocessing = preprocessing.to(machine.device)
        network = start.build_network() if start else new_network(recipe, len(pack.classes))
        network = self.division.divide(network.train())
        self.network = devices.move_to_device(network, machine)
        self.sgd = self.division.make_sgd(self.network, recipe)
        self.position = start.position if start else Position()
        if start is not None:
            momenta = self.division.cut(start.momenta)
            self.sgd.restore(momenta, start.position.rate, start.position.rates)
        memory = count_step_memory(recipe, len(pack.classes), machine)
        split, find_rows = pack.splits["train"], self.division.find_rows
        self.batches = Batches(split, self.preprocessing, recipe, machine, memory, find_rows)
        self.shape = recipe.batch_size, 3, recipe.crop, recipe.crop
        self._freeze(self.position.epoch)
        self.step = self.division.make_step(self.network, self.sgd, machine, self.shape)
        make_writer, make_log = (RunWriter, RunLog) if self.division.is_first else (NoWriter, NoLog)
        init = job.init or first_init(run)
        self.writer = make_writer(pack, run, recipe, machine, init, self.screen)
        self.writer.describe_run(is_new=start is None)
        epoch, step = self.position.epoch, self.position.step
        self.log = make_log(run, self.screen, done=epoch * len(self.batches) + step)
        self.log.rewind(epoch, step)
        self.meter = self._make_meter()
        self.background_check = BackgroundCheck(pack)
        self._last_save = time.monotonic()

    def _make_meter(self) -> Meter:
        """A meter for this training; a resumed one is not checked for a flat loss again."""
        settings = MeterSettings(
            epochs=self.recipe.epochs,
            steps=len(self.batches),
            n_classes=len(self.pack.classes),
            log_seconds=self.job.log_seconds,
            check_flat=self.position == Position(),
        )
        return Meter(settings, self.log, self.screen)

    def copy_layers(self, init: Transfer) -> None:
        """Replace newly drawn layers by those of an earlier training; log and show which."""
        whole = self.network
        if self.division.cuts:  # draw the whole network again: the same weights
            whole = new_network(self.recipe, len(self.pack.classes))
        taken = init.into(whole, self.recipe, self.pack.classes)
        if whole is not self.network:
            self.network.load_state_dict(self.division.cut(whole.state_dict()))
        new = [name for name in self.sgd.layers if name not in taken]
        self.log.write("init", epoch=0, step=0, init=str(init.init), taken=taken, new=new)
        self.screen.say(f"Taken from {init.init}: {', '.join(taken)}.")
        self.screen.say(f"Newly drawn: {', '.join(new) or 'nothing'}.")

    def run_epochs(self) -> TrainingOutcome:
        """Train until the last epoch is done or a signal asks to stop.

        Raises Diverged if a loss is infinite or NaN, and ValueError if a file of the pack turns
        out to be damaged.
        """
        exists = self.division.is_first and (self.run / "last.safetensors").exists()
        saved = not exists or self._keep_best()
        for epoch in range(self.position.epoch, self.recipe.epochs):
            if self._freeze(epoch):
                del self.step  # and with it the memory of its CUDA graph
                self.step = self.division.make_step(
                    self.network, self.sgd, self.machine, self.shape
                )
            self.train_epoch(epoch)
            stopped = self._share_events().signal is not None
            measured = None if stopped else self.finish_epoch(epoch, self._validate())
            saved = self.save() and self._keep_best()
            if measured is not None:
                self._show_epoch(epoch, measured)
            events = self._share_events()
            if events.signal is not None:
                break
            self._handle_background_check(events)
        return TrainingOutcome(self.run, self.position, self._share_events().signal, saved)

    def train_epoch(self, epoch: int) -> None:
        """Do the steps of an epoch, from the current position to its end or a request to stop.

        All choices have been made before: the kernels by the network's layers
        (`device.move_to_device`), graph or no graph by `make_step`, the place of the images by
        `Batches`. This function waits for a GPU only for a report or a checkpoint.
        """
        first = self.position.step
        self.meter.begin(epoch, self.batches.waited)
        self._last_save = time.monotonic()
        for step, batch in enumerate(self.batches.epoch(epoch, first), first):
            rates, n_images = self.compute_rates(epoch, step), self.batches.count_images(step)
            self.step.begin(derive_step_seed(self.recipe.seed, epoch, step), rates, n_images)
            loss = self.step(batch.images, batch.labels)
            self.sgd.step(loss, rates)
            self.meter.add(step, loss, n_images)
            if self._handle_events():
                break
        self._report()

    def _handle_events(self) -> bool:
        """Read, report, check and save where that is due; return whether to stop."""
        events = self._share_events()
        if events.is_reading_due:
            self._read_losses()
            if self.meter.is_show_due:
                self.meter.show(self.position.step, self.position.rate, self.batches.waited)
            if self.meter.is_report_due:
                self._report()
        if events.signal is not None:
            return True
        self._handle_background_check(events)
        if events.is_save_due:
            self._read_losses()
            self.save()
            self._last_save = time.monotonic()
        return False

    def _share_events(self) -> Events:
        """Return what has happened, on this process or another: the same answer on all of them.

        What is done about it needs all processes, so all have to do it after the same step.
        """
        is_save_due = time.monotonic() - self._last_save > self.job.save_seconds
        is_damaged = bool(self.background_check.report) and self.background_check.is_damaged
        is_reading_due = self.meter.should_read or self.meter.is_report_due
        own = Events(self.interrupt.signal, is_save_due, is_damaged, is_reading_due)
        world = self.division.world
        return own if world.size == 1 else Events.merge(world.all_gather(own.encode()))

    def _read_losses(self) -> None:
        """Move the position past the steps done, adding their losses to `loss_sum`.

        On a GPU this waits for the last step. Raises Diverged at the first loss that is infinite or
        NaN, with the position as it was; `sgd` has not changed the weights since then.
        """
        readings = self.meter.read()
        if not readings:
            return
        loss_sum = self.position.loss_sum
        for reading in readings:
            if not math.isfinite(reading.loss):
                raise Diverged(self._explain_divergence(reading))
            loss_sum += reading.loss * reading.n_images
        self.position = replace(
            self.position,
            step=readings[-1].step + 1,
            rate=self.sgd.rate,
            rates=dict(self.sgd.rates),
            loss_sum=loss_sum,
        )

    def _report(self) -> None:
        """Read the losses and have the meter report them."""
        self._read_losses()
        self.meter.report(self.position.step, self.position.rate, self.batches.waited)

    def _handle_background_check(self, events: Events) -> None:
        """Report that the pack's files are intact; if one is damaged, save and raise ValueError."""
        if not events.is_damaged and not self.background_check.report:
            return
        news = self.background_check.take_report()
        if not events.is_damaged:
            self.screen.say(news)
            return
        if not self.background_check.is_damaged:
            news = "Another process of this training has found a damaged file in its pack."
        self._read_losses()
        self.save()
        raise ValueError(
            f"{news} Training has stopped; {self.run / 'last.safetensors'} holds what it learned, "
            f"from damaged images as well. Copy that file anew from a good copy, or delete "
            f"{self.pack.path} and pack the same images again, which gives the same pack; then go "
            f"on (--resume {self.run}) or train anew"
        )

    def _freeze(self, epoch: int) -> bool:
        """Turn off the gradients of groups that do not move in an epoch.

        A group is frozen if its rate is 0 at the first and at the last step of the epoch. Returns
        whether the set of frozen groups changed.
        """
        ends = 0, len(self.batches) - 1
        return self.sgd.freeze(*(self.compute_rates(epoch, step) for step in ends))

    def compute_rates(self, epoch: int, step: int) -> Rates:
        """The learning rates of a step, from its place and the errors of the epochs before."""
        done = epoch + step / len(self.batches)
        history = self.position.history
        errors = [measured["val_top1"] for measured in history if "val_top1" in measured]
        return compute_rates(self.recipe, done, errors)

    def _validate(self) -> Counts | None:
        """Count the errors on the validation images; None if the pack has none."""
        if not self.pack.splits.get("val"):  # missing or empty
            return None
        return evaluate(
            self.network,
            self.pack.splits["val"],
            self.preprocessing,
            len(self.pack.classes),
            self.machine,
            batch_size=self.recipe.batch_size,
            world=self.division.sharing_evaluation,
        )

    def finish_epoch(self, epoch: int, counts: Counts | None) -> dict[str, float]:
        """Move the position to the next epoch; return the history entry of this one."""
        measured: dict[str, float] = {
            "train_loss": self.position.loss_sum / len(self.batches.split),
            "learning_rate": self.position.rate,
        }
        if counts is not None:
            measured |= {"val_loss": counts.loss, "val_top1": counts.top1, "val_top5": counts.top5}
            measured |= {"seen": counts.seen, "wrong1": counts.wrong1, "wrong5": counts.wrong5}
        history = (*self.position.history, measured)
        self.position = replace(
            self.position, epoch=epoch + 1, step=0, loss_sum=0.0, history=history
        )
        self.log.write("epoch", epoch=epoch + 1, step=0, **measured)  # a resumed run rewinds it
        return measured

    def _show_epoch(self, epoch: int, measured: dict[str, float]) -> None:
        """Show a finished epoch. It has been saved, so a failure in here loses nothing."""
        n_classes = len(self.pack.classes)
        curves = dict(measured)
        if not has_top5(n_classes):
            curves.pop("val_top5", None)
        self.log.write_scalars((epoch + 1) * len(self.batches), **curves)
        text = format_epoch(epoch + 1, self.recipe.epochs, measured, n_classes)
        best = is_best(self.position.history)
        self.screen.end_epoch(
            EpochReport(epoch + 1, self.recipe.epochs, n_classes, measured, best, text)
        )

    def save(self) -> bool:
        """Write `last.safetensors`; return False, keeping the earlier one, if that fails."""
        weights = self.division.join(self.network.state_dict())
        momenta = self.division.join(self.sgd.join_momenta())
        is_saved = self.writer.save(
            Checkpoint(
                recipe=self.recipe,
                classes=tuple(self.pack.classes),
                wordnet_ids=tuple(self.pack.wordnet_ids) if self.pack.wordnet_ids else None,
                pack_checksum=self.pack.checksum,
                preprocessing=self.preprocessing,
                position=self.position,
                weights=weights,
                momenta=momenta,
            )
        )
        return bool(self.division.world.broadcast(is_saved))

    def _keep_best(self) -> bool:
        """At the end of an epoch, keep its checkpoint as the best if it is; False if that fails."""
        return self.position.step > 0 or self.writer.keep_best(self.position.history)

    def _explain_divergence(self, reading: StepLoss) -> str:
        """The message of Diverged: where the loss was not finite, on which images, what to do."""
        epoch, size, split = self.position.epoch, self.recipe.batch_size, self.batches.split
        batch = draw_order(self.recipe.seed, epoch, len(split))[reading.step * size :][:size]
        names = ", ".join(split.name(i) for i in batch[:3])
        last = self.run / "last.safetensors"
        good = f"the last good checkpoint is {last}" if last.exists() else "none was saved before"
        return (
            f"the loss is {reading.loss} at epoch {epoch + 1}, step {reading.step + 1} (learning "
            f"rate {self.sgd.rate:g}; a batch of {format_count(len(batch), 'image')}: "
            f"{names}, …). This batch did "
            f"not change the weights; {good}. Usually the learning rate is too high: train anew "
            "with a third of it (--learning-rate)"
        )


def new_network(recipe: Recipe, classes: int) -> nn.Module:
    """Build a network on the CPU with its weights newly drawn from the recipe's seed."""
    torch.manual_seed(recipe.seed)
    network: Any = network_of(recipe, classes)
    network.initialize(recipe.initialization)
    return network


def derive_step_seed(seed: int, epoch: int, step: int) -> int:
    """Return the key of the random numbers that dropout draws in one step: 63 bits.

    It is a hash of the recipe's seed and the position of the step, so a resumed training draws the
    same numbers as one that was never stopped.
    """
    digest = hashlib.blake2b(f"{seed}/{epoch}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
