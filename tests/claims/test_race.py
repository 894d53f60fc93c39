"""The race to 25 % training error."""

import pytest
from tests.claims.conftest import run

from alexnet.claims.paper import CLAIMS
from alexnet.claims.race import crossing, rank
from alexnet.claims.results import load


def test_a_curve_is_crossed_between_epochs():
    assert crossing([0.5, 0.35, 0.15]) == pytest.approx(2.5)
    assert crossing([0.1]) == pytest.approx(0.65 / 0.8)  # before it, guessing among ten
    assert crossing([0.5, 0.4]) is None


def test_who_reaches_the_finish_beats_who_comes_near():
    near = {"reached": None, "curve": [0.5, 0.26]}
    far = {"reached": None, "curve": [0.5, 0.40]}
    there = {"reached": 9.5, "curve": [0.2]}
    assert sorted([far, near, there], key=rank) == [there, near, far]


def test_both_units_race_with_their_own_rate_and_are_drawn(folder, monkeypatch):
    monkeypatch.setattr("alexnet.claims.race.RATES", (0.0005, 0.02))
    command = "alexnet claims run relu-tanh --pack cifar10.pack --epochs 1 --batch-size 8"
    assert run(f"{command} --device cpu") == 0
    results = folder / "claims" / "results"
    (found,) = load("relu-tanh", results)
    relu = found.records[0]["runs"]["relu"]
    assert [trial["learning_rate"] for trial in relu["tried"]] == [0.0005, 0.02]
    assert relu["learning_rate"] == min(relu["tried"], key=rank)["learning_rate"]
    assert relu["curve"][-1] <= 0.25 or relu["reached"] is None
    assert (results / "relu-tanh.png").read_bytes().startswith(b"\x89PNG")
    assert not found.is_the_papers(CLAIMS["relu-tanh"])


def test_a_race_goes_on_where_it_was_stopped_or_limited(folder):
    command = "alexnet claims run relu-tanh --pack cifar10.pack --batch-size 8 --device cpu"
    command += " --learning-rate 0.0001"
    curves = []
    for epochs in (1, 1, 2):
        assert run(f"{command} --epochs {epochs}") == 0
        found = load("relu-tanh", folder / "claims" / "results")[-1]
        curves.append(found.records[0]["runs"]["tanh"]["curve"])
    assert curves[0] == curves[1] == curves[2][:1]
    assert len(curves[2]) == 2
    assert len(list((folder / "claims" / "runs").iterdir())) == 2
