"""The learning rates over a training, schedule by schedule."""

import pytest

from alexnet.recipes.named import RECIPES
from alexnet.recipes.recipe import Recipe
from alexnet.training.schedule import Rates, compute_learning_rate, compute_rates, count_plateaus


def test_the_rate_is_divided_by_ten_when_the_error_stops_improving_three_times():
    recipe = Recipe(patience=2)
    errors = [0.9, 0.8, 0.7, 0.7, 0.71, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]
    rates = [compute_learning_rate(recipe, float(k), errors[:k]) for k in range(len(errors) + 1)]
    assert rates == pytest.approx([0.01] * 5 + [0.001] * 3 + [1e-4] * 2 + [1e-5] * 4)


def test_an_improvement_restarts_the_count_of_patience():
    assert count_plateaus(Recipe(patience=2), [0.5, 0.6, 0.4, 0.6, 0.3]) == 0


def test_cosine_ends_near_zero_and_warms_up_from_near_zero():
    recipe = Recipe(schedule="cosine", epochs=10, warmup_epochs=1)
    assert compute_learning_rate(recipe, 0.0, []) < 1e-4
    assert compute_learning_rate(recipe, 1.0, []) == pytest.approx(0.01)
    assert compute_learning_rate(recipe, 5.5, []) == pytest.approx(0.005)
    assert 0 < compute_learning_rate(recipe, 9.999, []) < 1e-6


def test_a_constant_rate_never_changes():
    assert compute_learning_rate(Recipe(schedule="constant"), 50.0, [0.1] * 50) == 0.01


def rates_of(recipe, epochs):
    return [compute_learning_rate(recipe, epoch, []) for epoch in epochs]


def test_the_discrete_exponential_is_that_of_the_2012_code():
    recipe = Recipe(schedule="discrete", drop_factor=250 ** (1 / 3), drops=3, epochs=100)
    quarters = [0.01, 0.001587401, 0.000251984, 0.00004]
    assert rates_of(recipe, [0, 40, 60, 90]) == pytest.approx(quarters, abs=1e-9)
    assert rates_of(recipe, [25, 50, 75, 100]) == pytest.approx(quarters, abs=1e-9)
    assert rates_of(recipe, [25.01, 50.01, 75.01]) == pytest.approx(quarters[1:], abs=1e-9)
    halves = Recipe(schedule="discrete", learning_rate=0.02, drops=1, epochs=100)
    assert rates_of(halves, [50, 51]) == pytest.approx([0.02, 0.002])


def test_the_exponential_divides_by_the_same_total_continuously():
    recipe = Recipe(schedule="exponential", learning_rate=0.02, drop_factor=4000, drops=1)
    assert rates_of(recipe, [0, 45, 90]) == pytest.approx([0.02, 0.02 / 4000**0.5, 5e-6])


def test_the_latest_factor_whose_epoch_has_come_holds():
    recipe = Recipe(schedule="steps", steps=("0.01@51", "0.1@25.5"))
    assert rates_of(recipe, [0, 25.4, 25.5, 50, 51, 90]) == pytest.approx(
        [0.01, 0.01, 0.001, 0.001, 1e-4, 1e-4]
    )


def test_net_145_is_trained_by_the_schedule_of_the_lab_notes():
    recipe = RECIPES["original-145"]
    rates = {
        epoch: (now.of("conv1", False), now.of("conv2", False), now.of("conv2", True))
        for epoch in (0, 24, 25, 50, 51, 66, 67, 71, 72, 78, 79, 90)
        for now in [compute_rates(recipe, epoch, [])]
    }
    assert {epoch: weights for epoch, (_, weights, _) in rates.items()} == pytest.approx(
        {0: 0.01, 24: 0.01, 25: 1e-3, 50: 1e-3, 51: 1e-4, 66: 1e-4, 67: 1e-4, 71: 1e-4, 72: 1e-4}
        | {78: 1e-4, 79: 1e-5, 90: 1e-5}
    )
    assert [rates[epoch][0] for epoch in (66, 67, 71, 72, 79)] == pytest.approx(
        [1e-4, 1e-5, 1e-5, 0, 0]
    )
    assert {biases for _, _, biases in rates.values()} == {0.02}
    assert [recipe.noise_in(epoch) for epoch in (66, 67)] == [0.1, 0.0]
    assert recipe.epochs == 91


def test_every_hand_made_schedule_only_goes_down():
    for name, recipe in RECIPES.items():
        if recipe.schedule == "steps" and not name.startswith("original-146"):
            for layer in ("conv1", "conv2", "fc8"):
                course = [
                    compute_rates(recipe, e, []).of(layer, False) for e in range(recipe.epochs)
                ]
                assert course == sorted(course, reverse=True), name
            assert len(set(course)) > 2, name  # of fc8


def test_fine_tuning_has_a_higher_rate_for_the_new_layer_at_first():
    recipe = RECIPES["original-146-2012-2011"]
    course = [
        compute_rates(recipe, epoch, []).of("fc8", False) for epoch in (0, 0.3, 8.9, 9, 22, 42)
    ]
    assert course == pytest.approx([0.001, 0.01, 0.01, 0.001, 1e-4, 1e-5])
    first = [compute_rates(recipe, epoch, []).of("conv1", False) for epoch in (0, 5, 7)]
    assert first == pytest.approx([1e-4, 1e-5, 0])


def test_biases_follow_a_layers_factor_unless_they_have_factors_of_their_own():
    follow = compute_rates(Recipe(rates=("conv1=0.5",), bias_rate=2), 0, [])
    assert (follow.of("conv1", True), follow.of("fc8", True)) == (0.01, 0.02)
    apart = compute_rates(
        Recipe(rates=("conv1=0.5",), bias_rate=2, bias_steps=("1", "0.1@3")), 3, []
    )
    assert (apart.of("conv1", False), apart.of("conv1", True)) == pytest.approx((0.005, 0.002))


def test_a_frozen_layers_biases_are_frozen_too():
    for steps in ((), ("1",)):
        assert (
            compute_rates(Recipe(rates=("conv1=0",), bias_steps=steps), 0, []).of("conv1", True)
            == 0
        )
    assert Rates(0.1, 0.2).of("conv1", True) == 0.2


def test_warm_up_epochs_do_not_use_up_the_patience():
    recipe = Recipe(patience=2, warmup_epochs=3)
    assert count_plateaus(recipe, [0.9, 0.9, 0.9]) == 0
    assert count_plateaus(recipe, [0.9, 0.9, 0.9, 0.9]) == 0
    assert count_plateaus(recipe, [0.9, 0.9, 0.9, 0.9, 0.9]) == 1


def test_an_error_of_the_warm_up_can_be_the_lowest():
    recipe = Recipe(patience=2, warmup_epochs=1)
    assert count_plateaus(recipe, [0.5, 0.6, 0.6]) == 1


def test_an_epoch_that_is_warm_up_in_part_is_not_counted():
    recipe = Recipe(patience=1, warmup_epochs=0.5)
    assert count_plateaus(recipe, [0.9]) == 0
    assert count_plateaus(recipe, [0.9, 0.9]) == 1
