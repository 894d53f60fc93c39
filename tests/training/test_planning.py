"""How many epochs fit into a stated time."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from tests.conftest import QUICK

from alexnet.checkpoint import Position
from alexnet.device import Machine
from alexnet.recipes.planned import fit_to_epochs
from alexnet.training import planning
from alexnet.training.planning import Speed, count_epochs, parse_time, plan_recipe

SPEED = Speed(start=2.0, step=0.1, steps=80, validation=1.5, saving=0.5)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20m", 1200), ("90s", 90), ("2h", 7200), ("1h30m", 5400), ("1.5h", 5400), ("1H 5S", 3605)],
)
def test_times_are_read(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "20", "m", "20 minutes", "-5m", "0s", "1m2h", "nan"])
def test_other_texts_are_no_times(text):
    with pytest.raises(ValueError, match="--time"):
        parse_time(text)


def test_an_epoch_is_its_steps_its_validation_and_its_checkpoint():
    assert pytest.approx(10.0) == SPEED.epoch


@pytest.mark.parametrize(
    ("left", "epochs"),
    [(1.0, 0), (12.0, 1), (16.0, 1), (21.5, 2), (96.0, 9), (101.5, 10), (105.0, 10)],
)
def test_epochs_fill_the_time_that_is_left(left, epochs):
    # The last one may exceed the stated 100 seconds by one.
    assert count_epochs(SPEED, left, 100.0) == epochs


def test_a_schedule_is_stretched_with_the_epochs():
    recipe = dataclasses.replace(QUICK, epochs=30, patience=8, warmup_epochs=1.0)
    short = fit_to_epochs(recipe, 3)
    assert (short.epochs, short.patience, short.warmup_epochs) == (3, 1, 0.1)
    long = fit_to_epochs(recipe, 90)
    assert (long.epochs, long.patience, long.warmup_epochs) == (90, 24, 1.0)
    assert fit_to_epochs(recipe, 3, kept={"patience"}).patience == 8


def test_a_plan_fits_the_time_and_leaves_nothing_behind(tiny_pack, tmp_path):
    machine = Machine(torch.device("cpu"))
    plan = plan_recipe(tiny_pack, tmp_path / "runs" / "x", QUICK, machine, 30.0)
    assert plan.recipe.epochs >= 1
    assert plan.expected <= 1.01 * 30.0
    assert list(tmp_path.iterdir()) == []
    assert f"{plan.recipe.epochs:,} epoch" in plan.describe()
    assert "of the 30 seconds of --time" in plan.describe()
    assert max(map(len, plan.describe().splitlines())) <= 80


def test_a_time_that_is_too_short_for_an_epoch_is_refused(tiny_pack, tmp_path):
    machine = Machine(torch.device("cpu"))
    with pytest.raises(ValueError, match="more than the"):
        plan_recipe(tiny_pack, tmp_path / "x", QUICK, machine, 0.01)
    assert list(tmp_path.iterdir()) == []


class Clock:
    """A clock that only work moves."""

    now = 100.0

    def monotonic(self):
        return self.now

    def work(self, seconds):
        self.now += seconds


class SlowAtFirst:
    """A training of 150 images whose first step and first validation compile kernels."""

    clock: Clock
    compiled = False
    evaluated = False
    step_seconds = 0.08

    def __init__(self, job, interrupt, screen):
        self.recipe, self.machine, self.pack = job.recipe, job.machine, job.pack
        self.interrupt, self.position = interrupt, Position()
        self.batches, self.meter = range(10), SimpleNamespace(steps=0)
        self.network = SimpleNamespace(eval=lambda: None, train=lambda: None)
        self.preprocessing = None
        self.clock.work(0.6)

    def train_epoch(self, epoch):
        for step in range(self.position.step, len(self.batches)):
            self.clock.work(self.step_seconds + (0 if SlowAtFirst.compiled else 8.0))
            SlowAtFirst.compiled = True
            self.meter.steps += 1
            self.position = dataclasses.replace(self.position, step=step + 1)
            if self.interrupt.signal is not None:
                return

    def finish_epoch(self, epoch, counts):
        self.position = Position(epoch=epoch + 1, history=({"train_loss": 1.0},) * (epoch + 1))

    def save(self):
        self.clock.work(0.15)


@pytest.fixture
def slow_at_first(monkeypatch):
    """A clock, and in the place of the real training one that moves it."""
    clock = Clock()

    def predict(network, batches, machine):
        for _ in range(4):
            clock.work(0.03 + (0 if SlowAtFirst.evaluated else 2.0))
            SlowAtFirst.evaluated = True
            yield torch.zeros(15, 3), SimpleNamespace(labels=torch.zeros(15))

    monkeypatch.setattr(SlowAtFirst, "clock", clock, raising=False)
    monkeypatch.setattr(SlowAtFirst, "compiled", False)
    monkeypatch.setattr(SlowAtFirst, "evaluated", False)
    monkeypatch.setattr(planning, "Training", SlowAtFirst)
    monkeypatch.setattr(planning, "time", clock)
    monkeypatch.setattr(planning, "predict_batches", predict)
    monkeypatch.setattr(planning, "iterate_views", lambda *a, **k: None)
    return clock


@pytest.mark.parametrize("seconds", [30.0, 60.0, 1200.0])
def test_a_stated_time_is_used_and_not_exceeded(slow_at_first, tiny_pack, tmp_path, seconds):
    clock, began = slow_at_first, slow_at_first.now
    plan = plan_recipe(tiny_pack, tmp_path / "x", QUICK, Machine(torch.device("cpu")), seconds)
    clock.work(0.6)  # the training itself, its kernels compiled
    for _ in range(plan.recipe.epochs):
        clock.work(10 * 0.08 + 4 * 0.03 + 0.15)
    assert 0.95 * seconds <= clock.now - began <= 1.01 * seconds
    assert plan.expected == pytest.approx(clock.now - began, rel=0.01)
