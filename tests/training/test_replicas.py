"""Replicas: the same bits on one, two and four processes, however the training was stopped."""

import dataclasses
import os
import signal

import pytest
import torch
from tests.conftest import QUICK
from tests.parallel.worlds import run_in_processes, run_with_one_thread
from tests.training.test_train import assert_same

from alexnet import checkpoint
from alexnet.packs.pack import open_pack
from alexnet.processes import ALONE, World
from alexnet.training.division import ReplicasDivision, make_division
from alexnet.training.train import train

SLICED = dataclasses.replace(QUICK, batch_size=16, slices=4, epochs=2)
"""Two epochs of ten steps, with dropout and augmentation; the last batch of each has 6 images."""


def train_in(world, pack_path, run, recipe, resume=None, reduction="tree"):
    division = make_division(None, world, recipe, reduction=reduction)
    train(open_pack(pack_path), run, recipe, device="cpu", resume=resume, division=division)


def train_until_stopped(world, pack_path, run, recipe, steps):
    """Train, and have SIGTERM come to the last process alone in the middle of a step."""
    division, n = make_division(None, world, recipe), iter(range(1, 1000))
    make_step = division.make_step

    def make_stopped_step(*arguments):
        step = make_step(*arguments)
        begin = step.begin

        def begin_and_stop(*values):
            if next(n) == steps and world.rank == world.size - 1:
                os.kill(os.getpid(), signal.SIGTERM)
            begin(*values)

        step.begin = begin_and_stop
        return step

    division.make_step = make_stopped_step
    outcome = train(open_pack(pack_path), run, recipe, device="cpu", division=division)
    return outcome.signal, outcome.saved, outcome.position.step


@pytest.fixture(scope="module")
def alone(tiny_pack, tmp_path_factory):
    """The run of 20 steps on one process."""
    run = tmp_path_factory.mktemp("alone") / "run"
    run_with_one_thread(train_in, ALONE, tiny_pack.path, run, SLICED)
    return run


@pytest.mark.parametrize("size", [2, 4])
def test_twenty_steps_have_the_same_bits_on_any_number_of_processes(
    size, alone, tiny_pack, tmp_path
):
    run_in_processes(size, train_in, tmp_path, tiny_pack.path, tmp_path / "run", SLICED)
    for name in ("last.safetensors", "best.safetensors"):
        assert_same(tmp_path / "run" / name, alone / name)


def test_stopped_on_four_and_resumed_on_fewer_has_the_bits_of_never_stopped(
    alone, tiny_pack, tmp_path
):
    run, path = tmp_path / "run", tiny_pack.path
    ends = run_in_processes(4, train_until_stopped, tmp_path, path, run, SLICED, 5)
    assert ends == [(signal.SIGTERM, True, 5)] * 4
    two, one = tmp_path / "two", tmp_path / "one"
    run_in_processes(2, train_in, tmp_path, path, two, SLICED, run)
    assert_same(two / "last.safetensors", alone / "last.safetensors")
    run_with_one_thread(train_in, ALONE, path, one, SLICED, run)
    assert_same(one / "last.safetensors", alone / "last.safetensors")


def test_bucketed_reduction_differs_by_rounding_only(tiny_pack, tmp_path):
    recipe = dataclasses.replace(SLICED, slices=1, epochs=1)
    run_with_one_thread(train_in, ALONE, tiny_pack.path, tmp_path / "one", recipe)
    arguments = tiny_pack.path, tmp_path / "two", recipe, None, "bucketed"
    run_in_processes(2, train_in, tmp_path, *arguments)
    a, b = (checkpoint.load(tmp_path / name / "last.safetensors") for name in ("one", "two"))
    for name in a.weights:
        torch.testing.assert_close(a.weights[name], b.weights[name], rtol=1e-3, atol=1e-4)
    assert abs(a.position.history[0]["train_loss"] - b.position.history[0]["train_loss"]) < 1e-4


def test_slices_change_rounding_only(tiny_pack, tmp_path):
    for slices in (1, 4):
        recipe = dataclasses.replace(SLICED, slices=slices, epochs=1)
        run_with_one_thread(train_in, ALONE, tiny_pack.path, tmp_path / str(slices), recipe)
    a, b = (checkpoint.load(tmp_path / name / "last.safetensors") for name in "14")
    for name in a.weights:
        torch.testing.assert_close(a.weights[name], b.weights[name], rtol=1e-3, atol=1e-4)


def test_what_processes_cannot_share_is_refused_with_values_that_they_can():
    with pytest.raises(ValueError, match=r"2 processes cannot share 1 slices .* --slices 2"):
        ReplicasDivision(World(size=2), 1)
    with pytest.raises(ValueError, match=r"3 processes .* Start 2 "):
        ReplicasDivision(World(size=3), 6)
    with pytest.raises(ValueError, match=r"cannot share 6 slices .* --slices 4"):
        ReplicasDivision(ALONE, 6)
    with pytest.raises(ValueError, match="4 slices and --reduction bucketed"):
        ReplicasDivision(World(size=2), 4, "bucketed")
    with pytest.raises(ValueError, match="not for --devices towers"):
        make_division("towers", ALONE, SLICED, reduction="bucketed")
