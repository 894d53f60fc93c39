"""Verdicts are computed from values, and never kinder than the values are."""

import math

import pytest

from alexnet.claims.claim import Quantity
from alexnet.claims.verdict import (
    AS_PAPER,
    CONTRADICTS,
    NOISE,
    NOT_MEASURED,
    judge,
    margin,
    together,
)


def gain(**changes):
    fields = {"name": "gain", "read": float, "paper": 1.5, "tolerance": 0.5, "nothing": 0.0}
    return Quantity(**(fields | changes))


LEVEL = gain(paper=37.5, nothing=None)


def test_without_values_nothing_is_said():
    assert judge(gain(), [], same=True) == NOT_MEASURED


def test_the_margin_is_students():
    # t(2) = 4.303 at 95 %, standard deviation 1
    assert margin([1.0, 2.0, 3.0]) == pytest.approx(4.303 / math.sqrt(3), abs=1e-3)


def test_one_seed_of_a_comparison_is_always_within_noise():
    assert judge(gain(), [9.0], same=True) == NOISE


def test_one_seed_counts_where_its_counts_tell_the_margin():
    assert judge(gain(), [1.4], same=True, alone=0.5) == AS_PAPER
    assert judge(gain(), [0.4], same=True, alone=0.5) == NOISE


def test_more_seeds_do_not_shrink_the_margin_that_the_images_leave():
    assert margin([1.0, 1.0, 1.0], alone=0.7) == 0.7


def test_seeds_that_scatter_around_nothing_are_noise():
    assert judge(gain(), [1.0, -0.5, 0.8], same=True) == NOISE


def test_on_the_papers_data_the_figure_has_to_agree():
    assert judge(gain(), [1.4, 1.5, 1.6], same=True) == AS_PAPER
    assert judge(gain(), [3.4, 3.5, 3.6], same=True) == CONTRADICTS


def test_on_other_data_only_the_direction_can():
    assert judge(gain(), [3.4, 3.5, 3.6], same=False) == AS_PAPER
    assert judge(gain(), [-3.4, -3.5, -3.6], same=False) == CONTRADICTS


def test_a_factor_is_compared_with_one():
    quantity = gain(paper=6.0, tolerance=2.0, nothing=1.0)
    assert judge(quantity, [5.5, 6.0, 6.4], same=True) == AS_PAPER
    assert judge(quantity, [0.4, 0.5, 0.6], same=False) == CONTRADICTS


def test_more_than_is_met_by_much_more():
    assert judge(gain(at_least=True), [5.4, 5.5, 5.6], same=True) == AS_PAPER
    assert judge(gain(at_least=True), [0.8, 0.85, 0.9], same=True) == CONTRADICTS


def test_a_level_on_other_data_says_nothing_of_the_papers():
    assert judge(LEVEL, [37.6], same=False) == NOT_MEASURED
    assert judge(LEVEL, [37.6], same=True) == AS_PAPER
    assert judge(LEVEL, [39.0], same=True) == CONTRADICTS


def test_a_claim_is_as_good_as_its_worst_number():
    assert together([AS_PAPER, NOISE]) == NOISE
    assert together([NOISE, CONTRADICTS, NOT_MEASURED]) == CONTRADICTS
    assert together([AS_PAPER, AS_PAPER]) == AS_PAPER
