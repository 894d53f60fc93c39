"""The meter alone, without a training: it returns the losses, and reports their mean."""

import json
import math

import pytest
import torch
from tests.training.test_train import Listener

from alexnet.training.log import RunLog
from alexnet.training.meter import FLAT_STEPS, Meter, MeterSettings, StepLoss


@pytest.fixture
def make_meter(tmp_path):
    """Makes a meter of three epochs of ten steps, with a screen that keeps what it is shown."""

    def make(**changes):
        values = {"epochs": 3, "steps": 10, "n_classes": 3, "log_seconds": 1e9, "check_flat": True}
        screen = Listener()
        meter = Meter(MeterSettings(**values | changes), RunLog(tmp_path, screen), screen)
        meter.begin(0, waited=0.0)
        return meter, screen

    return make


def test_losses_are_returned_once_in_order_with_their_steps(make_meter):
    meter, _ = make_meter()
    for step, loss in enumerate([3.0, math.inf, 1.0]):
        meter.add(step, torch.tensor(loss), n_images=16 - step)
    assert meter.read() == [StepLoss(0, 3.0, 16), StepLoss(1, math.inf, 15), StepLoss(2, 1.0, 14)]
    assert meter.read() == []
    assert meter.steps == 3


def test_losses_on_a_cpu_are_read_at_once_and_those_on_a_gpu_later(make_meter):
    meter, _ = make_meter()
    assert not meter.should_read
    meter.add(0, torch.tensor(1.0), 16)
    assert meter.should_read
    meter.read()
    assert not meter.should_read
    meter.add(1, torch.empty((), device="meta"), 16)
    assert not meter.should_read


def test_a_report_is_the_mean_of_the_losses_since_the_last_one(make_meter, tmp_path):
    meter, screen = make_meter()
    for step, loss in enumerate([3.0, 1.0, 7.0]):
        meter.add(step, torch.tensor(loss), 16)
        meter.read()
        if step == 1:
            meter.report(step=2, rate=0.5, waited=0.0)
    meter.report(step=3, rate=0.25, waited=0.0)
    meter.report(step=3, rate=0.25, waited=0.0)  # nothing new
    assert [(x.loss, x.learning_rate, x.step) for x in screen.reports] == [
        (2, 0.5, 2),
        (7, 0.25, 3),
    ]
    assert all((x.epoch, x.epochs, x.steps) == (1, 3, 10) for x in screen.reports)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(x["epoch"], x["step"], x["loss"]) for x in lines] == [(0, 2, 2.0), (0, 3, 7.0)]


def test_a_report_is_due_after_a_while(make_meter):
    assert not make_meter(log_seconds=1e9)[0].is_report_due
    assert make_meter(log_seconds=-1.0)[0].is_report_due


@pytest.mark.parametrize(
    ("loss", "changes", "warnings"),
    [
        (math.log(3), {}, 1),
        (math.log(3) * 1.02, {}, 0),
        (math.log(3), {"check_flat": False}, 0),
        (0.0, {"n_classes": 1}, 0),
    ],
)
def test_a_loss_of_guessing_is_warned_of_once(make_meter, loss, changes, warnings):
    meter, screen = make_meter(steps=10 * FLAT_STEPS, **changes)
    for step in range(4 * FLAT_STEPS):
        meter.add(step, torch.tensor(loss), 16)
        meter.read()
        meter.report(step + 1, 0.01, 0.0)
        assert len(screen.messages) == (warnings if step + 1 >= 2 * FLAT_STEPS else 0)
    assert all("ln(3)" in text for text in screen.messages)
