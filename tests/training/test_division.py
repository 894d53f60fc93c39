"""A training that is divided among processes: the same file and bits on any number of them."""

import dataclasses

import pytest
import torch
from tests.conftest import pictures
from tests.parallel.worlds import run_in_processes, run_with_one_thread
from tests.training.test_train import assert_same

from alexnet.packing.pack import pack
from alexnet.packs.pack import open_pack
from alexnet.processes import ALONE, World
from alexnet.recipes.recipe import Recipe
from alexnet.training.division import HybridDivision, make_division
from alexnet.training.train import train

RECIPE = Recipe(
    initialization="variance",
    schedule="constant",
    epochs=2,
    batch_size=5,
    slices=2,
    crop=64,
    learning_rate=0.001,
    pixel_scale=1 / 64,
)


@pytest.fixture(scope="module")
def small_pack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs") / "small.pack"
    return pack(pictures(train=3, val=1, side=72), folder, processes=1)


def train_divided(world, pack_path, run, devices, recipe, resume=None, wire=None):
    division = make_division(devices, world, recipe, wire)
    train(open_pack(pack_path), run, recipe, device="cpu", resume=resume, division=division)


def has_same_files(run):
    names = {path.name for path in run.iterdir()}
    return {"recipe.json", "log.jsonl", "last.safetensors", "best.safetensors"} <= names


@pytest.mark.parametrize(("devices", "changes"), [("towers", {}), ("hybrid", {"fc_period": 1})])
def test_a_training_begun_on_two_processes_goes_on_in_one(small_pack, tmp_path, devices, changes):
    recipe = dataclasses.replace(RECIPE, **changes)
    half = dataclasses.replace(recipe, epochs=1)
    straight, run = tmp_path / "straight", tmp_path / "run"
    run_with_one_thread(train_divided, ALONE, small_pack.path, straight, devices, recipe)
    run_in_processes(2, train_divided, tmp_path, small_pack.path, run, devices, half)
    assert has_same_files(run)
    run_with_one_thread(train_divided, ALONE, small_pack.path, run, devices, recipe, run)
    assert_same(run / "last.safetensors", straight / "last.safetensors")


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match=r"every 1 passes .* only --devices hybrid"):
        make_division("towers", ALONE, dataclasses.replace(RECIPE, fc_period=1))
    with pytest.raises(ValueError, match="between towers only"):
        make_division("hybrid", ALONE, RECIPE, torch.bfloat16)
    with pytest.raises(ValueError, match=r"4 processes cannot share 2 slices .* --slices 4"):
        HybridDivision(World(size=4), RECIPE)
    with pytest.raises(ValueError, match="3 processes cannot share"):
        make_division("towers", World(size=3), RECIPE)
