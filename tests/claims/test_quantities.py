"""Statistics of claims, computed from the counts of one seed."""

import pytest

from alexnet.claims import quantities
from alexnet.claims.quantities import WHOLE


def make_seed_result(**runs):
    return {"seed": 0, "runs": {role.replace("_", " "): run for role, run in runs.items()}}


def make_scores(wrong1, wrong5=0, seen=200):
    return {"seen": seen, "wrong1": wrong1, "wrong5": wrong5}


def make_whole(**fields):
    return {"seed": 0, "runs": {WHOLE: fields}}


def test_error_rates_are_in_percent_and_differences_in_points():
    found = make_seed_result(
        a={"scores": {"10": make_scores(50, 20)}}, b={"scores": {"10": make_scores(40, 30)}}
    )
    assert quantities.error_rate("a", 5)(found) == 10.0
    assert quantities.error_difference("a", "b")(found) == 5.0
    assert quantities.error_difference("a", "b", 5)(found) == -5.0


def test_the_margin_of_the_gain_of_ten_views_depends_on_the_images_that_changed():
    changed = {"1": [50, 10], "5": [0, 0]}
    found = make_whole(scores={"1": make_scores(100), "10": make_scores(60)}, changed=changed)
    assert quantities.views_gain(WHOLE)(found) == 20.0
    assert quantities.views_gain_margin(WHOLE)(found) == pytest.approx(0.98 * 52**0.5)


def test_overfitting_is_the_difference_of_two_generalization_gaps():
    with_ = {"scores": {"1": make_scores(60), "train": make_scores(40)}}
    without = {"scores": {"1": make_scores(70), "train": make_scores(4)}}
    assert quantities.generalization_gap_difference("without", "with_")(
        {"runs": {"with_": with_, "without": without}}
    ) == pytest.approx(23.0)


def test_a_run_has_converged_when_it_is_within_a_point_of_its_lowest_error():
    def errors(*values):
        return {"history": [{"val_top1": value} for value in values]}

    found = make_seed_result(slow=errors(0.9, 0.5, 0.4, 0.309, 0.30), fast=errors(0.5, 0.4, 0.45))
    assert quantities.epochs_to_converge_ratio("slow", "fast")(found) == 2.0


def test_a_network_that_never_reaches_the_target_counts_with_all_its_epochs():
    found = make_seed_result(
        slow={"reached": None, "epochs": 12}, fast={"reached": 1.5, "epochs": 2}
    )
    assert quantities.epochs_to_target_ratio("slow", "fast")(found) == 8.0


def test_separation_is_1_for_disjoint_towers_and_one_half_for_equal_ones():
    assert quantities.tower_separation(make_whole(color=[[0.1, 0.2], [0.6, 0.7]])) == 1.0
    assert quantities.tower_separation(make_whole(color=[[0.6, 0.7], [0.1, 0.2]])) == 1.0
    assert quantities.tower_separation(make_whole(color=[[0.1, 0.7], [0.1, 0.7]])) == 0.5


def test_the_neighbor_gain_is_a_difference_of_shares_of_all_neighbors():
    found = make_whole(images=100, neighbors=5, same_by_features=400, same_by_pixels=150)
    assert quantities.neighbor_gain(found) == pytest.approx(50.0)
    assert quantities.neighbor_gain_margin(found) == pytest.approx(196 * (0.37 / 100) ** 0.5)


def test_the_network_size_is_given_in_the_unit_asked_for():
    assert quantities.network_size("neurons", 1e3)(make_whole(neurons=659_272)) == 659.272
