"""How many epochs fit into a stated time."""

import dataclasses

import pytest
import torch
from tests.conftest import QUICK

from alexnet.device import Machine
from alexnet.recipes.planned import fit_to_epochs
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
    [(1.0, 0), (12.0, 1), (16.0, 1), (17.0, 2), (96.0, 9), (97.5, 10), (101.0, 10)],
)
def test_epochs_fill_the_time_that_is_left(left, epochs):
    # The last one may exceed the stated 100 seconds by five.
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
    assert plan.expected <= 1.05 * 30.0
    assert list(tmp_path.iterdir()) == []
    assert f"{plan.recipe.epochs:,} epoch" in plan.describe()


def test_a_time_that_is_too_short_for_an_epoch_is_refused(tiny_pack, tmp_path):
    machine = Machine(torch.device("cpu"))
    with pytest.raises(ValueError, match="more than the"):
        plan_recipe(tiny_pack, tmp_path / "x", QUICK, machine, 0.01)
    assert list(tmp_path.iterdir()) == []
