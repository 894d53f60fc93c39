"""Training: one straight step, and around it what makes a long run safe.

A run's folder holds `recipe.json`, `environment.json`, `log.jsonl`, `last.safetensors`,
`best.safetensors` and, for trying it where the pack is not, `samples.safetensors`. Killed at any
instant, it goes on from `last` as if nothing had happened: bit for bit, on the same device. Before
the first `last` it begins again, as it began.
"""

from __future__ import annotations

import errno
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from alexnet import checkpoint as checkpoints
from alexnet import device as devices
from alexnet import runs
from alexnet.batches.augment import Preprocessing
from alexnet.batches.batches import Batches
from alexnet.checkpoint import Checkpoint, Position
from alexnet.device import Machine, Precision, Residence
from alexnet.evaluation.counts import Counts, evaluate
from alexnet.files import lock_folder, replace_json
from alexnet.nets.layers import set_key
from alexnet.nets.variations import network_of
from alexnet.packs.background_check import BackgroundCheck
from alexnet.packs.pack import Pack
from alexnet.packs.samples import write_samples
from alexnet.recipes.recipe import SMALLEST_PHOTOGRAPH, Recipe
from alexnet.runs import RunFolder, check_folder, check_free, checkpoint_of
from alexnet.sources.names import some
from alexnet.training.interrupt import Interrupt
from alexnet.training.log import RunLog, SafeScreen, Screen
from alexnet.training.memory import room_for_steps
from alexnet.training.meter import Meter
from alexnet.training.schedule import Rates, rates
from alexnet.training.sgd import SGD
from alexnet.training.step import stepper
from alexnet.training.transfer import Transfer, describe_init, first_init

FULL = errno.ENOSPC, errno.EDQUOT, errno.EFBIG


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
    `recipe.epochs` may then differ from its recipe. A run that is finished is not trained: its
    `best.safetensors` is mended if a kill left an earlier one. A run that has no checkpoint yet
    is begun again. `init` is an earlier training whose weights the new one begins with, or a
    Transfer that says which of its layers. Whatever is said or logged and cannot be written ends
    no training. Raises FileExistsError if `run` holds another training or what is no run,
    BlockingIOError if one is under way there, ValueError for a pack or a recipe that does not fit,
    or whose files turn out to be damaged while it trains (a checkpoint is saved first),
    Diverged if the loss is no longer finite, MemoryError where a step does not fit into memory.
    What fails before its first step leaves no folder behind.
    """
    run, screen = Path(run), SafeScreen(screen or Screen())
    check_folder(run, Path(pack.source["path"]))
    machine = devices.machine(device, precision, resident, compiled)
    if recipe.crop >= SMALLEST_PHOTOGRAPH and (hint := devices.advice(machine)):
        screen.say(hint)
    _check(pack, recipe)
    _check_network(pack, recipe)
    if hint := devices.unrepeatable(machine):
        screen.say(hint)
    path = checkpoint_of(resume) if resume is not None else None
    start = checkpoints.load(path) if path is not None else None
    if path is not None and start is not None:
        _check_same(start, pack, recipe)
        if hint := devices.changed_since(path.parent / "environment.json", machine):
            screen.say(hint)
    if path is None or path.parent.resolve() != run.resolve():
        check_free(run)
    if path is not None and start is not None and start.position.epoch >= recipe.epochs:
        return _finish(run, path, start, screen)
    if resume is not None and start is None:
        screen.say(f"{resume} has no checkpoint yet: training begins at the beginning.")
        init = init or first_init(run)
    if init is not None and not isinstance(init, Transfer):
        init = Transfer(Path(init))
    with RunFolder(run) as folder, Interrupt() as interrupt:
        if start is None:
            check_free(run)  # again, now that nobody else can begin one here
        training = Training(pack, run, recipe, machine, start, interrupt, screen, init)
        if init is not None and start is None:
            training.borrow(init)
        training.save_seconds, training.log_seconds = save_minutes * 60, log_seconds
        training.background_check.start()
        try:
            outcome = training.run_epochs()
        except (MemoryError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise MemoryError(out_of_memory(error, recipe, machine)) from error
            raise
        finally:
            training.background_check.stop()
            folder.used = start is not None or training.meter.steps > 0
    return replace(outcome, signal=interrupt.signal)


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
        init: Transfer | None = None,
    ) -> None:
        self.pack, self.run, self.recipe, self.machine = pack, run, recipe, machine
        self.interrupt, self.screen = interrupt, screen
        preprocessing = start.preprocessing if start else Preprocessing.of(pack, recipe)
        self.preprocessing = preprocessing.to(machine.device)
        self.network = (
            start.network() if start else new_network(recipe, len(pack.classes))
        ).train()
        devices.place(self.network, machine)
        self.sgd = SGD(self.network, recipe)
        self.position = start.position if start else Position()
        if start is not None:
            self.sgd.restore(start.momenta, start.position.rate, start.position.rates)
        room = room_for_steps(recipe, len(pack.classes), machine)
        self.batches = Batches(pack.splits["train"], self.preprocessing, recipe, machine, room)
        self.shape = recipe.batch_size, 3, recipe.crop, recipe.crop
        self._freeze(self.position.epoch)
        self.step = stepper(self.network, machine, self.shape)
        self.init = init or first_init(run)
        if start is None:
            self._describe()
        else:
            self._written(self._describe, "description")
        epoch, step = self.position.epoch, self.position.step
        self.log = RunLog(run, screen, done=epoch * len(self.batches) + step)
        self.log.rewind(epoch, step)
        self.meter = Meter(self)
        self.background_check = BackgroundCheck(pack)

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
            stopped = self.interrupt.signal is not None
            measured = None if stopped else self._finish_epoch(epoch, self._validate())
            saved = self.save() and self._keep_best()
            if measured is not None:
                self._tell(epoch, measured)
            if self.interrupt.signal is not None:
                break
            if self.background_check.report:
                self._heed_shard_check()
        return Outcome(self.run, self.position, self.interrupt.signal, saved)

    def _train_epoch(self, epoch: int) -> None:
        meter = self.meter
        meter.begin(epoch)
        last_save = time.monotonic()
        for step, batch in enumerate(
            self.batches.epoch(epoch, self.position.step), self.position.step
        ):
            set_key(self.network, step_seed(self.recipe.seed, epoch, step))
            loss = self.step(batch.images, batch.labels)
            self.sgd.step(loss, self.rates_at(epoch, step))
            meter.add(step, loss, len(batch.labels))
            if self.interrupt.signal is not None:
                break
            if self.background_check.report:
                self._heed_shard_check()
            if time.monotonic() - last_save > self.save_seconds:
                meter.read()
                self.save()
                last_save = time.monotonic()
        meter.report()

    def _heed_shard_check(self) -> None:
        """Say that the pack's files are whole; save and raise ValueError where one is damaged."""
        news = self.background_check.take_report()
        if not self.background_check.is_damaged:
            self.screen.say(news)
            return
        self.meter.read()
        self.save()
        raise ValueError(
            f"{news} Training has stopped; {self.run / 'last.safetensors'} holds what it learned, "
            f"from damaged images as well. Copy that file anew from a good copy, or delete "
            f"{self.pack.path} and pack the same images again, which gives the same pack; then go "
            f"on (--resume {self.run}) or train anew"
        )

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
        if not _has_validation(self.pack):
            return None
        classes = len(self.pack.classes)
        size = self.recipe.batch_size
        split, machine = self.pack.splits["val"], self.machine
        return evaluate(self.network, split, self.preprocessing, classes, machine, batch_size=size)

    def _finish_epoch(self, epoch: int, counts: Counts | None) -> dict[str, float]:
        """Move the position to the next epoch; what was measured in this one."""
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

    def _tell(self, epoch: int, measured: dict[str, float]) -> None:
        """Show an epoch. It is saved by now: whatever happens here loses nothing."""
        self.log.scalars((epoch + 1) * len(self.batches), **measured)
        self.screen.say(epoch_line(epoch + 1, self.recipe.epochs, measured))

    def save(self) -> bool:
        """Write `last.safetensors`; whether there was room. If not, the earlier one stays."""
        checkpoint = Checkpoint(
            recipe=self.recipe,
            classes=tuple(self.pack.classes),
            wordnet_ids=tuple(self.pack.wordnet_ids) if self.pack.wordnet_ids else None,
            pack_checksum=self.pack.checksum,
            preprocessing=self.preprocessing,
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

    def _written(self, write: Callable[[], None], what: str = "checkpoint") -> bool:
        """Whether it could be written. A folder that has disappeared is made again."""
        try:
            if not self.run.is_dir():
                self.run.mkdir(parents=True)
                self.screen.say(f"{self.run} had disappeared: it is made again.")
                self._describe()
            write()
        except OSError as error:
            place = "Make room on that disk" if error.errno in FULL else "See to that folder"
            self.screen.say(
                f"No {what} could be written to {self.run}: {error.strerror}. Training goes "
                f"on; what was saved before is untouched, the next will be tried. {place}."
            )
            return False
        return True

    def _describe(self) -> None:
        write_samples(self.pack, self.run)
        replace_json(self.run / "recipe.json", self.recipe.to_dict())
        pack = runs.describe_pack(self.pack.path, self.pack.checksum, self.run)
        machine, init = devices.describe(self.machine), describe_init(self.init)
        replace_json(self.run / "environment.json", {**machine, "pack": pack, **init})


def new_network(recipe: Recipe, classes: int) -> nn.Module:
    """A network with its weights newly drawn from the recipe's seed."""
    torch.manual_seed(recipe.seed)
    network: Any = network_of(recipe, classes)
    network.initialize(recipe.initialization)
    return network


def step_seed(seed: int, epoch: int, step: int) -> int:
    """The key of what dropout draws in one step, 63 bits: a hash of where the step is."""
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


def _finish(run: Path, path: Path, start: Checkpoint, screen: Screen) -> Outcome:
    """Mend the `best` of a finished training, which a kill may have left behind; say how good."""
    last, best, saved = run / "last.safetensors", run / "best.safetensors", True
    stale = last.exists() and path.samefile(last) and is_best(start.position.history)
    if stale and not _is_at(best, start.position):
        try:
            with lock_folder(run, "training"):
                checkpoints.keep_as(last, best)
            screen.say(f"{best} was not the best epoch's; now it is.")
        except BlockingIOError:
            raise
        except OSError as error:
            screen.say(f"{best} is not the best epoch's and cannot be written: {error.strerror}")
            saved = False
    screen.say(finished_line(start.position))
    return Outcome(run, start.position, None, saved)


def _is_at(path: Path, position: Position) -> bool:
    """Whether a checkpoint file is whole and holds the training at this position."""
    try:
        return checkpoints.load(path).position == position
    except (OSError, ValueError):
        return False


def finished_line(position: Position) -> str:
    """What a person reads of a training that has all its epochs."""
    history = position.history
    best = min(range(len(history)), key=lambda i: history[i].get("val_top1", -i))
    line = f"This training is finished: it has all its {position.epoch} epochs. "
    if "val_top1" in history[best]:
        line += (
            f"Its best is epoch {best + 1}: top-1 error {history[best]['val_top1']:.2%}, top-5 "
            f"error {history[best]['val_top5']:.2%}. "
        )
    else:
        line += f"Training loss at the end: {history[best]['train_loss']:.4f}. "
    return f"{line}Give it more: --epochs {position.epoch + 10}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is no more memory, on a GPU or on the host."""
    kinds = MemoryError, torch.OutOfMemoryError
    return isinstance(error, kinds) or "can't allocate memory" in str(error)


def out_of_memory(error: BaseException, recipe: Recipe, machine: Machine) -> str:
    """What to say when a step did not fit."""
    why = (str(error).splitlines() or [type(error).__name__])[0]
    fewer = max(1, recipe.batch_size // 2)
    return (
        f"a step of {recipe.batch_size} images of {recipe.crop}×{recipe.crop} pixels does not fit "
        f"into the memory of {machine.device} ({why}). End other programs that use it and go on "
        f"(--resume), or train anew with a smaller batch: --batch-size {fewer}"
    )


def _check(pack: Pack, recipe: Recipe) -> None:
    if "train" not in pack.splits or not len(pack.splits["train"]):
        raise ValueError(f"{pack.path} holds no training images; it has {', '.join(pack.splits)}")
    trained = np.unique(pack.splits["train"].labels)
    if len(trained) < 2:
        raise ValueError(
            f"the training images of {pack.path} are all of one class, "
            f"{some(pack.classes[label] for label in trained)}: there is nothing to tell apart. "
            "Pack images of two classes or more, each in a folder of its own"
        )
    if recipe.schedule == "plateau" and not _has_validation(pack) and recipe.drops:
        raise ValueError(
            f"{pack.path} has no validation images, and the schedule `plateau` lowers the rate "
            "when their error stops improving. Say --schedule cosine, or pack with "
            "--val-fraction 0.1"
        )


def _has_validation(pack: Pack) -> bool:
    """Whether there are images to measure on: the validation split may be empty or not there."""
    return "val" in pack.splits and len(pack.splits["val"]) > 0


def _check_network(pack: Pack, recipe: Recipe) -> None:
    """Raise ValueError for a network that cannot be built or fed, before anything is made."""
    Preprocessing.of(pack, recipe)
    with torch.device("meta"):
        network_of(recipe, len(pack.classes))


def _check_same(start: Checkpoint, pack: Pack, recipe: Recipe) -> None:
    if start.pack_checksum != pack.checksum:
        raise ValueError(
            f"the checkpoint was trained on another pack (checksum {start.pack_checksum[:12]}…) "
            f"than {pack.path} ({pack.checksum[:12]}…). Name that pack, or start anew in another "
            "folder"
        )
    changed = recipe.differences(start.recipe)
    if set(changed) - {"epochs"}:
        lines = [f"{name} {theirs} → {mine}" for name, (mine, theirs) in changed.items()]
        raise ValueError(
            f"a resumed training keeps its recipe, but these differ: {'; '.join(lines)}. Only "
            "--epochs may change"
        )
