"""Epochs to 25 % training error, each network at its best learning rate."""

import pytest
from tests.claims.conftest import run

from alexnet.claims.convergence import compute_sort_key, interpolate_crossing
from alexnet.claims.paper import CLAIMS
from alexnet.claims.results import load


def test_the_epochs_to_the_target_error_are_interpolated_linearly():
    assert interpolate_crossing([0.5, 0.35, 0.15]) == pytest.approx(2.5)
    assert interpolate_crossing([0.1]) == pytest.approx(0.65 / 0.8)  # error 0.9 at epoch 0
    assert interpolate_crossing([0.5, 0.4]) is None


def test_a_trial_that_reaches_the_target_error_ranks_before_one_that_does_not():
    near = {"reached": None, "curve": [0.5, 0.26]}
    far = {"reached": None, "curve": [0.5, 0.40]}
    reached = {"reached": 9.5, "curve": [0.2]}
    assert sorted([far, near, reached], key=compute_sort_key) == [reached, near, far]


def test_each_activation_function_has_its_own_best_rate_and_the_curves_are_drawn(
    folder, monkeypatch
):
    monkeypatch.setattr("alexnet.claims.convergence.RATES", (0.0005, 0.02))
    command = "alexnet claims run relu-tanh --pack cifar10.pack --epochs 1 --batch-size 8"
    assert run(f"{command} --device cpu") == 0
    results = folder / "claims" / "results"
    (found,) = load("relu-tanh", results)
    relu = found.seed_results[0]["runs"]["relu"]
    assert [trial["learning_rate"] for trial in relu["tried"]] == [0.0005, 0.02]
    assert relu["learning_rate"] == min(relu["tried"], key=compute_sort_key)["learning_rate"]
    assert relu["curve"][-1] <= 0.25 or relu["reached"] is None
    assert (results / "relu-tanh.png").read_bytes().startswith(b"\x89PNG")
    assert not found.is_on_paper_data(CLAIMS["relu-tanh"])


def test_a_longer_trial_continues_the_shorter_one_in_the_same_folder(folder):
    command = "alexnet claims run relu-tanh --pack cifar10.pack --batch-size 8 --device cpu"
    command += " --learning-rate 0.0001"
    curves = []
    for epochs in (1, 1, 2):
        assert run(f"{command} --epochs {epochs}") == 0
        found = load("relu-tanh", folder / "claims" / "results")[-1]
        curves.append(found.seed_results[0]["runs"]["tanh"]["curve"])
    assert curves[0] == curves[1] == curves[2][:1]
    assert len(curves[2]) == 2
    assert len(list((folder / "claims" / "runs").iterdir())) == 2
