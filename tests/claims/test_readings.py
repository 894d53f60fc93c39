"""Numbers out of counts."""

import pytest

from alexnet.claims import readings
from alexnet.claims.readings import WHOLE


def record(**runs):
    return {"seed": 0, "runs": {role.replace("_", " "): run for role, run in runs.items()}}


def scores(wrong1, wrong5=0, seen=200):
    return {"seen": seen, "wrong1": wrong1, "wrong5": wrong5}


def whole(**fields):
    return {"seed": 0, "runs": {WHOLE: fields}}


def test_errors_and_gains_are_in_percent_and_points():
    found = record(a={"scores": {"10": scores(50, 20)}}, b={"scores": {"10": scores(40, 30)}})
    assert readings.error("a", 5)(found) == 10.0
    assert readings.gain("a", "b")(found) == 5.0
    assert readings.gain("a", "b", 5)(found) == -5.0


def test_the_gain_of_ten_views_has_the_margin_of_the_images_that_changed():
    changed = {"1": [50, 10], "5": [0, 0]}
    found = whole(scores={"1": scores(100), "10": scores(60)}, changed=changed)
    assert readings.gain_of_views(WHOLE)(found) == 20.0
    assert readings.views_by_chance(WHOLE)(found) == pytest.approx(0.98 * 52**0.5)


def test_overfitting_is_how_far_two_gaps_are_apart():
    with_ = {"scores": {"1": scores(60), "train": scores(40)}}
    without = {"scores": {"1": scores(70), "train": scores(4)}}
    assert readings.overfitting("without", "with_")(
        {"runs": {"with_": with_, "without": without}}
    ) == pytest.approx(23.0)


def test_a_run_has_converged_when_it_is_within_a_point_of_its_best():
    def errors(*values):
        return {"history": [{"val_top1": value} for value in values]}

    found = record(slow=errors(0.9, 0.5, 0.4, 0.309, 0.30), fast=errors(0.5, 0.4, 0.45))
    assert readings.epochs_ratio("slow", "fast")(found) == 2.0


def test_who_never_finishes_a_race_counts_with_all_its_epochs():
    found = record(slow={"reached": None, "epochs": 12}, fast={"reached": 1.5, "epochs": 2})
    assert readings.race_ratio("slow", "fast")(found) == 8.0


def test_separation_is_one_for_towers_apart_and_a_half_for_equal_ones():
    assert readings.separation(whole(color=[[0.1, 0.2], [0.6, 0.7]])) == 1.0
    assert readings.separation(whole(color=[[0.6, 0.7], [0.1, 0.2]])) == 1.0
    assert readings.separation(whole(color=[[0.1, 0.7], [0.1, 0.7]])) == 0.5


def test_neighbors_of_the_same_class_are_shares_of_all_neighbors():
    found = whole(images=100, neighbors=5, same_by_features=400, same_by_pixels=150)
    assert readings.nearer(found) == pytest.approx(50.0)
    assert readings.nearer_by_chance(found) == pytest.approx(196 * (0.37 / 100) ** 0.5)


def test_sizes_are_in_thousands_or_millions():
    assert readings.size_of("neurons", 1e3)(whole(neurons=659_272)) == 659.272
