"""Training: one straight step, and around it what makes a long run safe.

A run's folder holds `recipe.json`, `environment.json`, `log.jsonl`, `last.safetensors` and
`best.safetensors`. Killed at any instant, it goes on from `last` as if nothing had happened: bit
for bit, on the same device.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from alexnet import nets
from alexnet.data.augment import Preprocessing, order
from alexnet.data.batches import Batches
from alexnet.data.dataset import Pack
from alexnet.learn import checkpoint as checkpoints
from alexnet.learn import devices
from alexnet.learn.checkpoint import Checkpoint, Position
from alexnet.learn.devices import Machine, Precision, Residence
from alexnet.learn.interrupt import Interrupt
from alexnet.learn.log import Progress, RunLog, Screen
from alexnet.learn.schedule import learning_rate
from alexnet.learn.sgd import SGD
from alexnet.learn.step import stepper
from alexnet.measure.evaluate import Counts, evaluate
from alexnet.recipe import Recipe

FLAT_STEPS = 50
"""Over how many steps a loss has to stay at ln(classes) to be remarked upon, after as many more."""

FLAT = """The loss has stayed at {loss:.3f} = ln({classes}) for {steps} steps: nothing is being learned yet.
Usual causes: a learning rate too high or too low (now {rate:g}; try a third, or three times as much);
the printed initialization, which is slow to start on few images (--initialization variance, or
--recipe small); labels that do not belong to their images (look: alexnet pack --info PACK --sheet x.png)."""


class Diverged(RuntimeError):
    """The loss was not a finite number. The weights are those from before that batch."""

    exit_code = 3


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
    resume: str | Path | None = None,
    save_minutes: float = 10.0,
    log_seconds: float = 10.0,
    screen: Screen | None = None,
) -> Outcome:
    """Train a network on the `train` images of a pack, measuring it on `val` after every epoch.

    `resume` names a checkpoint file (or a run's folder, for its `last`) to go on from; only
    `recipe.epochs` may then differ from its recipe. Raises FileExistsError if `run` holds another
    training, BlockingIOError if one is under way there, ValueError for a pack or a recipe that
    does not fit, Diverged if the loss is no longer finite.
    """
    run, screen = Path(run), screen or Screen()
    machine = devices.machine(device, precision, resident)
    _check(pack, recipe)
    start = checkpoints.load(checkpoints.find(resume, ("last", "best"))) if resume else None
    if start is not None:
        _check_same(start, pack, recipe)
    run.mkdir(parents=True, exist_ok=True)
    with locked(run), Interrupt() as interrupt:
        if start is None and (run / "recipe.json").exists():
            raise FileExistsError(
                f"{run} already holds a training. Go on with it: --resume {run}; or name another folder"
            )
        training = Training(pack, run, recipe, machine, start, interrupt, screen)
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
        self.network.to(machine.device, memory_format=torch.channels_last)
        self.sgd = SGD(self.network, recipe)
        self.position = start.position if start else Position()
        if start is not None:
            self.sgd.restore(start.momenta, start.position.rate)
        self.batches = Batches(pack.splits["train"], self.how, recipe, machine)
        shape = recipe.batch_size, 3, recipe.crop, recipe.crop
        self.step = stepper(self.network, machine, shape)
        self._describe()
        self.log = RunLog(run, screen)
        if start is not None:
            self.log.rewind(self.position.epoch, self.position.step)
        self.meter = Meter(self)

    def run_epochs(self) -> Outcome:
        """Train until the last epoch is done or somebody asks to stop."""
        saved = self._keep_best()
        for epoch in range(self.position.epoch, self.recipe.epochs):
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
            self.sgd.step(loss, self.rate_at(epoch, step))
            meter.add(step, loss, len(batch.labels))
            if self.interrupt.signal is not None:
                break
            if time.monotonic() - last_save > self.save_seconds:
                meter.read()
                self.save()
                last_save = time.monotonic()
        meter.report()

    def rate_at(self, epoch: int, step: int) -> float:
        """The learning rate of a step."""
        done = epoch + step / len(self.batches)
        errors = [measured["val_top1"] for measured in self.position.history]
        return learning_rate(self.recipe, done, errors)

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
        self.position = Position(epoch + 1, 0, self.position.rate, 0.0, history)
        self.log.write("epoch", epoch=epoch + 1, step=0, **measured)
        steps = (epoch + 1) * len(self.batches)
        curves = {k.replace("_", "__", 1): v for k, v in measured.items() if "_" in k}
        self.log.scalars(steps, **curves)
        self.screen.say(epoch_line(epoch + 1, self.recipe.epochs, measured))

    def save(self) -> bool:
        """Write `last.safetensors`; whether there was room. An earlier one stays if there was not."""
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

    def _written(self, write) -> bool:  # type: ignore[no-untyped-def]
        try:
            write()
        except OSError as error:
            self.screen.say(
                f"No checkpoint could be written to {self.run}: {error.strerror}. Training goes on, "
                "the one before it is untouched, and the next will be tried. Make room on that disk."
            )
            return False
        return True

    def _describe(self) -> None:
        recipe = json.dumps(self.recipe.to_dict(), indent=2) + "\n"
        checkpoints.replace_file(self.run / "recipe.json", lambda path: path.write_text(recipe))
        pack = {"path": str(self.pack.path), "checksum": self.pack.checksum}
        environment = json.dumps({**devices.describe(self.machine), "pack": pack}, indent=2) + "\n"
        checkpoints.replace_file(
            self.run / "environment.json", lambda path: path.write_text(environment)
        )


class Meter:
    """Reads the losses of the steps, as late as the device likes, and reports on them."""

    def __init__(self, training: Training) -> None:
        self.training, self.epoch = training, 0
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
            position, step=last_step + 1, rate=training.sgd.rate, loss_sum=total
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
        seconds, mean = now - self.began, math.fsum(self.since_report) / len(self.since_report)
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
        training.log.scalars(self.epoch * steps + position.step, train__step_loss=mean)
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
        members = order(training.recipe.seed, self.epoch, len(split))[step * size :][:size]
        names = ", ".join(split.name(i) for i in members[:3])
        return (
            f"the loss is {loss} at epoch {self.epoch + 1}, step {step + 1} (learning rate "
            f"{training.sgd.rate:g}; a batch of {len(members)} images: {names}, …). The weights were "
            f"not touched by it; the last good checkpoint is in {training.run}. Usually the learning rate "
            "is too high: try --learning-rate with a third of it"
        )


def fresh(recipe: Recipe, classes: int) -> nn.Module:
    """A network with its weights newly drawn from the recipe's seed."""
    torch.manual_seed(recipe.seed)
    network = nets.build(recipe.network, classes, recipe.crop, recipe.dropout)
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
            f"{pack.path} has no validation images, and the schedule `plateau` lowers the rate when "
            "their error stops improving. Say --schedule cosine, or pack with --val-fraction 0.1"
        )


def _check_same(start: Checkpoint, pack: Pack, recipe: Recipe) -> None:
    if start.pack_checksum != pack.checksum:
        raise ValueError(
            f"the checkpoint was trained on another pack (checksum {start.pack_checksum[:12]}…) than "
            f"{pack.path} ({pack.checksum[:12]}…). Name that pack, or start anew in another folder"
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
