"""The learning rate over a training."""

import pytest

from alexnet.learn.schedule import drops_so_far, learning_rate
from alexnet.recipe import Recipe


def test_the_rate_is_divided_by_ten_when_the_error_stops_improving_three_times():
    recipe = Recipe(patience=2)
    errors = [0.9, 0.8, 0.7, 0.7, 0.71, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]
    rates = [learning_rate(recipe, float(k), errors[:k]) for k in range(len(errors) + 1)]
    assert rates == pytest.approx([0.01] * 5 + [0.001] * 3 + [1e-4] * 2 + [1e-5] * 4)


def test_an_improvement_starts_the_count_again():
    assert drops_so_far(Recipe(patience=2), [0.5, 0.6, 0.4, 0.6, 0.3]) == 0


def test_cosine_ends_near_zero_and_warms_up_from_near_zero():
    recipe = Recipe(schedule="cosine", epochs=10, warmup_epochs=1)
    assert learning_rate(recipe, 0.0, []) < 1e-4
    assert learning_rate(recipe, 1.0, []) == pytest.approx(0.01)
    assert learning_rate(recipe, 5.5, []) == pytest.approx(0.005)
    assert 0 < learning_rate(recipe, 9.999, []) < 1e-6


def test_constant_stays():
    assert learning_rate(Recipe(schedule="constant"), 50.0, [0.1] * 50) == 0.01
