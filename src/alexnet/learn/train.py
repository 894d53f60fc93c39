"""Training: one straight step, and around it what makes a long run safe.

A run's folder holds `recipe.json`, `environment.json`, `log.jsonl`, `last.safetensors`,
`best.safetensors` and, for trying it where the pack is not, `samples.safetensors`. Killed at any
instant, it goes on from `last` as if nothing had happened: bit for bit, on the same device.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alexnet.data.augment import Preprocessing
from alexnet.data.batches import Batches
from alexnet.data.dataset import Pack
from alexnet.data.samples import write_samples
from alexnet.learn import checkpoint as checkpoints
from alexnet.learn import devices
from alexnet.learn.checkpoint import Checkpoint, Position
from alexnet.learn.devices import Machine, Precision, Residence
from alexnet.learn.interrupt import Interrupt
from alexnet.learn.log import RunLog, Screen
from alexnet.learn.meter import Meter
from alexnet.learn.schedule import Rates, rates
from alexnet.learn.sgd import SGD
from alexnet.learn.step import stepper
from alexnet.learn.transfer import Transfer
from alexnet.measure.evaluate import Counts, evaluate
from alexnet.nets.variations import network_of
from alexnet.recipe import SMALLEST_PHOTOGRAPH, Recipe


@dataclass(frozen=True)
class Outcome:
    """How a training ended."""

    run: Path
    position: Position
    signal: int | None
    """The signal that stopped it early, if one did."""
    saved: bool
    """Whether `last.safetensors` holds this position: false when the disk was full."""


def train(
    pack: Pack,
    run: str | Path,
    recipe: Recipe,
    *,
    device: str = "auto",
    precision: Precision = "auto",
    resident: Residence = "auto",
    compiled: bool = False,
    resume: str | Path | None = None,
    init: Transfer | str | Path | None = None,
    save_minutes: float = 10.0,
    log_seconds: float = 10.0,
    screen: Screen | None = None,
) -> Outcome:
    """Train a network on the `train` images of a pack, measuring it on `val` after every epoch.

    `compiled` has torch.compile prepare the step, which takes a minute or so at the start.
    `resume` names a checkpoint file (or a run's folder, for its `last`) to go on from; only
    `recipe.epochs` may then differ from its recipe. `init` is an earlier training whose
    weights the new one begins with, or a Transfer that says which of its layers. Raises
    FileExistsError if `run` holds another training, BlockingIOError if one is under way there,
    ValueError for a pack or a recipe that does not fit, Diverged if the loss is no longer finite.
    """
    run, screen = Path(run), screen or Screen()
    machine = devices.machine(device, precision, resident, compiled)
    if recipe.crop >= SMALLEST_PHOTOGRAPH and (hint := devices.advice(machine)):
        screen.say(hint)
    _check(pack, recipe)
    start = checkpoints.load(checkpoints.find(resume, ("last", "best"))) if resume else None
    if start is not None:
        _check_same(start, pack, recipe)
    run.mkdir(parents=True, exist_ok=True)
    with locked(run), Interrupt() as interrupt:
        if start is None and (run / "last.safetensors").exists():
            raise FileExistsError(
                f"{run} already holds a training. Go on with it (--resume {run}) or name "
                "another folder"
            )
        training = Training(pack, run, recipe, machine, start, interrupt, screen)
        if init is not None and start is None:
            training.borrow(init if isinstance(init, Transfer) else Transfer(Path(init)))
        training.save_seconds, training.log_seconds = save_minutes * 60, log_seconds
        try:
            return training.run_epochs()
        finally:
            training.log.close()


class Training:
    """A run under way: the network, its optimizer, its data and where it stands."""

    save_seconds, log_seconds = 600.0, 10.0

    def __init__(
        self,
        pack: Pack,
        run: Path,
        recipe: Recipe,
        machine: Machine,
        start: Checkpoint | None,
        interrupt: Interrupt,
        screen: Screen,
    ) -> None:
        self.pack, self.run, self.recipe, self.machine = pack, run, recipe, machine
        self.interrupt, self.screen = interrupt, screen
        how = start.preprocessing if start else Preprocessing.of(pack, recipe)
        self.how = how.to(machine.device)
        self.network = (start.network() if start else fresh(recipe, len(pack.classes))).train()
        devices.place(self.network, machine)
        self.sgd = SGD(self.network, recipe)
        self.position = start.position if start else Position()
        if start is not None:
            self.sgd.restore(start.momenta, start.position.rate, start.position.rates)
        self.batches = Batches(pack.splits["train"], self.how, recipe, machine)
        self.shape = recipe.batch_size, 3, recipe.crop, recipe.crop
        self._freeze(self.position.epoch)
        self.step = stepper(self.network, machine, self.shape)
        self._describe()
        epoch, step = self.position.epoch, self.position.step
        self.log = RunLog(run, screen, done=epoch * len(self.batches) + step)
        self.log.rewind(epoch, step)
        self.meter = Meter(self)

    def borrow(self, init: Transfer) -> None:
        """Begin with layers of an earlier training, and say with which."""
        taken = init.into(self.network, self.recipe, self.pack.classes)
        new = [name for name in self.sgd.layers if name not in taken]
        self.log.write("init", epoch=0, step=0, init=str(init.init), taken=taken, new=new)
        self.screen.say(f"Taken from {init.init}: {', '.join(taken)}.")
        self.screen.say(f"Newly drawn: {', '.join(new) or 'nothing'}.")

    def run_epochs(self) -> Outcome:
        """Train until the last epoch is done or somebody asks to stop."""
        saved = not (self.run / "last.safetensors").exists() or self._keep_best()
        for epoch in range(self.position.epoch, self.recipe.epochs):
            if self._freeze(epoch):
                del self.step  # and with it the memory of its graph
                self.step = stepper(self.network, self.machine, self.shape)
            self._train_epoch(epoch)
            if self.interrupt.signal is None:
                self._finish_epoch(epoch, self._validate())
            saved = self.save() and self._keep_best()
            if self.interrupt.signal is not None:
                break
        return Outcome(self.run, self.position, self.interrupt.signal, saved)

    def _train_epoch(self, epoch: int) -> None:
        meter = self.meter
        meter.begin(epoch)
        last_save = time.monotonic()
        for step, batch in enumerate(
            self.batches.epoch(epoch, self.position.step), self.position.step
        ):
            torch.manual_seed(step_seed(self.recipe.seed, epoch, step))
            loss = self.step(batch.images, batch.labels)
            self.sgd.step(loss, self.rates_at(epoch, step))
            meter.add(step, loss, len(batch.labels))
            if self.interrupt.signal is not None:
                break
            if time.monotonic() - last_save > self.save_seconds:
                meter.read()
                self.save()
                last_save = time.monotonic()
        meter.report()

    def _freeze(self, epoch: int) -> bool:
        """Spare the gradients of layers that do not move in this epoch; whether that is new."""
        ends = 0, len(self.batches) - 1
        return self.sgd.freeze(*(self.rates_at(epoch, step) for step in ends))

    def rates_at(self, epoch: int, step: int) -> Rates:
        """The learning rates of a step."""
        done = epoch + step / len(self.batches)
        history = self.position.history
        errors = [measured["val_top1"] for measured in history if "val_top1" in measured]
        return rates(self.recipe, done, errors)

    def _validate(self) -> Counts | None:
        if "val" not in self.pack.splits:
            return None
        classes = len(self.pack.classes)
        size = self.recipe.batch_size
        split, machine = self.pack.splits["val"], self.machine
        return evaluate(self.network, split, self.how, classes, machine, batch_size=size)

    def _finish_epoch(self, epoch: int, counts: Counts | None) -> None:
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
        self.log.write("epoch", epoch=epoch + 1, step=0, **measured)
        steps = (epoch + 1) * len(self.batches)
        self.log.scalars(steps, **measured)
        self.screen.say(epoch_line(epoch + 1, self.recipe.epochs, measured))

    def save(self) -> bool:
        """Write `last.safetensors`; whether there was room. If not, the earlier one stays."""
        checkpoint = Checkpoint(
            recipe=self.recipe,
            classes=tuple(self.pack.classes),
            wordnet_ids=tuple(self.pack.wordnet_ids) if self.pack.wordnet_ids else None,
            pack_checksum=self.pack.checksum,
            preprocessing=self.how,
            position=self.position,
            weights=self.network.state_dict(),
            momenta=self.sgd.momenta(),
        )
        return self._written(lambda: checkpoints.save(checkpoint, self.run / "last.safetensors"))

    def _keep_best(self) -> bool:
        """After an epoch better than all before it, let `best.safetensors` be `last`."""
        if self.position.step or not is_best(self.position.history):
            return True
        last, best = self.run / "last.safetensors", self.run / "best.safetensors"
        return self._written(lambda: checkpoints.keep_as(last, best))

    def _written(self, write: Callable[[], None]) -> bool:
        try:
            write()
        except OSError as error:
            self.screen.say(
                f"No checkpoint could be written to {self.run}: {error.strerror}. Training goes "
                "on, the one before is untouched, the next will be tried. Make room on that disk."
            )
            return False
        return True

    def _describe(self) -> None:
        write_samples(self.pack, self.run)
        recipe = json.dumps(self.recipe.to_dict(), indent=2) + "\n"
        checkpoints.replace_file(self.run / "recipe.json", lambda path: path.write_text(recipe))
        pack = {"path": str(self.pack.path), "checksum": self.pack.checksum}
        environment = json.dumps({**devices.describe(self.machine), "pack": pack}, indent=2) + "\n"
        checkpoints.replace_file(
            self.run / "environment.json", lambda path: path.write_text(environment)
        )


def fresh(recipe: Recipe, classes: int) -> nn.Module:
    """A network with its weights newly drawn from the recipe's seed."""
    torch.manual_seed(recipe.seed)
    network: Any = network_of(recipe, classes)
    network.initialize(recipe.initialization)
    return network


def step_seed(seed: int, epoch: int, step: int) -> int:
    """The seed of what the device draws in one step (dropout): a hash of where the step is."""
    digest = hashlib.blake2b(f"{seed}/{epoch}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def is_best(history: tuple[dict[str, float], ...]) -> bool:
    """Whether the last epoch has a lower top-1 error than every one before it.

    Without validation images every epoch counts as better.
    """
    if not history:
        return False
    errors = [measured.get("val_top1", -float(i)) for i, measured in enumerate(history)]
    return errors[-1] < min(errors[:-1], default=math.inf)


def epoch_line(epoch: int, epochs: int, measured: dict[str, float]) -> str:
    """What a person reads after an epoch."""
    line = f"epoch {epoch}/{epochs}  training loss {measured['train_loss']:.4f}"
    if "val_top1" in measured:
        line += (
            f"  validation loss {measured['val_loss']:.4f}  top-1 error {measured['val_top1']:.2%}"
            f"  top-5 error {measured['val_top5']:.2%}"
        )
    return line


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the run's folder. Raises BlockingIOError if another process holds it.

    The lock belongs to the process and goes with it, however it ends.
    """
    with (run / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"another process is training in {run}. Wait for it, or name another folder"
            ) from None
        yield


def _check(pack: Pack, recipe: Recipe) -> None:
    if "train" not in pack.splits or not len(pack.splits["train"]):
        raise ValueError(f"{pack.path} holds no training images; it has {', '.join(pack.splits)}")
    if recipe.schedule == "plateau" and "val" not in pack.splits and recipe.drops:
        raise ValueError(
            f"{pack.path} has no validation images, and the schedule `plateau` lowers the rate "
            "when their error stops improving. Say --schedule cosine, or pack with "
            "--val-fraction 0.1"
        )


def _check_same(start: Checkpoint, pack: Pack, recipe: Recipe) -> None:
    if start.pack_checksum != pack.checksum:
        raise ValueError(
            f"the checkpoint was trained on another pack (checksum {start.pack_checksum[:12]}…) "
            f"than {pack.path} ({pack.checksum[:12]}…). Name that pack, or start anew in another "
            "folder"
        )
    if start.position.epoch >= recipe.epochs:
        raise ValueError(
            f"that training has all its {start.position.epoch} epochs. Give it more: --epochs "
            f"{start.position.epoch + 10}"
        )
    changed = recipe.differences(start.recipe)
    if set(changed) - {"epochs"}:
        lines = [f"{name} {theirs} → {mine}" for name, (mine, theirs) in changed.items()]
        raise ValueError(
            f"a resumed training keeps its recipe, but these differ: {'; '.join(lines)}. Only "
            "--epochs may change"
        )
