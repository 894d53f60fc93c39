"""Verdicts: the confidence interval against the null value, then the mean against the paper."""

import math

import pytest

from alexnet.claims.claim import Quantity
from alexnet.claims.verdict import (
    AGREES,
    CONTRADICTS,
    NOISE,
    NOT_MEASURED,
    SAME_DIRECTION,
    combine_verdicts,
    compute_margin,
    judge,
)


def gain(**changes):
    fields = {"name": "gain", "statistic": float, "paper": 1.5, "tolerance": 0.5, "null_value": 0.0}
    return Quantity(**(fields | changes))


ABSOLUTE = gain(paper=37.5, null_value=None)


def test_a_quantity_without_values_is_not_measured():
    assert judge(gain(), [], on_paper_data=True) == NOT_MEASURED


def test_the_margin_is_that_of_students_confidence_interval():
    # t(2) = 4.303 at 95 %, standard deviation 1
    assert compute_margin([1.0, 2.0, 3.0]) == pytest.approx(4.303 / math.sqrt(3), abs=1e-3)


def test_one_seed_of_a_comparison_is_always_within_noise():
    assert judge(gain(), [9.0], on_paper_data=True) == NOISE


def test_one_seed_is_judged_if_its_sampling_error_is_known():
    assert judge(gain(), [1.4], on_paper_data=True, single_seed_margin=0.5) == AGREES
    assert judge(gain(), [0.4], on_paper_data=True, single_seed_margin=0.5) == NOISE


def test_the_margin_is_never_below_the_sampling_error_of_the_images():
    assert compute_margin([1.0, 1.0, 1.0], single_seed_margin=0.7) == 0.7


def test_an_interval_that_contains_the_null_value_is_noise():
    assert judge(gain(), [1.0, -0.5, 0.8], on_paper_data=True) == NOISE


def test_on_the_papers_data_the_number_must_lie_within_the_tolerance():
    assert judge(gain(), [1.4, 1.5, 1.6], on_paper_data=True) == AGREES
    assert judge(gain(), [3.4, 3.5, 3.6], on_paper_data=True) == CONTRADICTS


def test_on_other_data_only_the_direction_is_judged():
    assert judge(gain(), [3.4, 3.5, 3.6], on_paper_data=False) == SAME_DIRECTION
    assert judge(gain(), [-3.4, -3.5, -3.6], on_paper_data=False) == CONTRADICTS


def test_a_ratio_has_the_null_value_1():
    quantity = gain(paper=6.0, tolerance=2.0, null_value=1.0)
    assert judge(quantity, [5.5, 6.0, 6.4], on_paper_data=True) == AGREES
    assert judge(quantity, [0.4, 0.5, 0.6], on_paper_data=False) == CONTRADICTS


def test_an_at_least_claim_has_no_upper_bound():
    assert judge(gain(at_least=True), [5.4, 5.5, 5.6], on_paper_data=True) == AGREES
    assert judge(gain(at_least=True), [0.8, 0.85, 0.9], on_paper_data=True) == CONTRADICTS


def test_an_absolute_error_rate_on_other_data_is_not_judged():
    assert judge(ABSOLUTE, [37.6], on_paper_data=False) == NOT_MEASURED
    assert judge(ABSOLUTE, [37.6], on_paper_data=True) == AGREES
    assert judge(ABSOLUTE, [39.0], on_paper_data=True) == CONTRADICTS


def test_the_least_favorable_verdict_counts():
    assert combine_verdicts([AGREES, NOISE]) == NOISE
    assert combine_verdicts([NOISE, CONTRADICTS, NOT_MEASURED]) == CONTRADICTS
    assert combine_verdicts([AGREES, SAME_DIRECTION]) == SAME_DIRECTION
    assert combine_verdicts([AGREES, AGREES]) == AGREES
