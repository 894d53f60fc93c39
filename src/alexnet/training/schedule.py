"""The learning rates, as pure functions of the position of a training and its validation errors.

`training.train` calls `compute_rates` before every step and passes the result to `training.sgd`.
No state is kept between calls, so a checkpoint needs no state of a scheduler. Does not import
torch.

The formulas below use these symbols:

    ε₀  recipe.learning_rate       D  recipe.drop_factor, 10 in the paper
    t   epochs done, a fraction    k  recipe.drops, 3 in the paper
    T   recipe.epochs              w  recipe.warmup_epochs
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from alexnet.recipes.factors import RateFactor
from alexnet.recipes.recipe import Recipe


@dataclass(frozen=True)
class Rates:
    """The learning rates of one step."""

    weights: float
    biases: float
    factors: dict[str, float] = field(default_factory=dict)
    """Layer → factor on its rate, for layers that have one; 0 freezes the layer."""
    biases_follow: bool = True
    """Whether the factors also scale the biases. If not, a factor of 0 still freezes them."""

    def of(self, layer: str, bias: bool) -> float:
        """Return the rate of a layer's weights or biases."""
        factor = self.factors.get(layer, 1.0)
        if not bias:
            return self.weights * factor
        return self.biases * (factor if self.biases_follow else float(factor > 0))


def compute_rates(recipe: Recipe, epochs_done: float, errors: Sequence[float]) -> Rates:
    """Return the rates after `epochs_done` epochs.

    `errors` has the top-1 validation error of each finished epoch; only `plateau` reads it.
    """
    rate = compute_learning_rate(recipe, epochs_done, errors)
    biases = rate
    if recipe.bias_steps:
        biases = recipe.learning_rate * find_factor(recipe.bias_steps, epochs_done)
    layers = {factor.layer for factor in recipe.rates}
    return Rates(
        weights=rate,
        biases=biases * recipe.bias_rate,
        factors={layer: find_factor(recipe.rates, epochs_done, layer) for layer in layers},
        biases_follow=not recipe.bias_steps,
    )


def compute_learning_rate(recipe: Recipe, epochs_done: float, errors: Sequence[float]) -> float:
    """Return the rate of the weights of layers without a factor.

    During the warm-up, ε = ε₀ (t + 0.001) / w: linear, and more than 0 in the first step.
    """
    if epochs_done < recipe.warmup_epochs:
        return recipe.learning_rate * (epochs_done + 1e-3) / recipe.warmup_epochs
    return SCHEDULES[recipe.schedule](recipe, epochs_done, errors)


def follow_plateaus(recipe: Recipe, epochs_done: float, errors: Sequence[float]) -> float:
    """ε = ε₀ / Dⁿ, where n is how often the error has stopped improving (`count_plateaus`).

    The rule of section 5: "divide the learning rate by 10 when the validation error rate stopped
    improving with the current learning rate", three times.
    """
    return recipe.learning_rate / recipe.drop_factor ** count_plateaus(recipe, errors)


def follow_steps(recipe: Recipe, epochs_done: float, errors: Sequence[float]) -> float:
    """ε = ε₀ f, where f is the factor in `recipe.steps` that holds now; 1 before the first."""
    return recipe.learning_rate * find_factor(recipe.steps, epochs_done)


def follow_even_drops(recipe: Recipe, epochs_done: float, errors: Sequence[float]) -> float:
    """ε = ε₀ / Dⁿ, where n is the number of evenly spaced drops made so far (`count_even_drops`).

    What the 2012 code calls a discrete exponential.
    """
    return recipe.learning_rate / recipe.drop_factor ** count_even_drops(recipe, epochs_done)


def follow_exponential(recipe: Recipe, epochs_done: float, errors: Sequence[float]) -> float:
    """ε = ε₀ / D^(k t/T): continuous, from ε₀ to ε₀ / Dᵏ."""
    done = min(epochs_done / recipe.epochs, 1)
    return recipe.learning_rate / recipe.drop_factor ** (recipe.drops * done)


def follow_cosine(recipe: Recipe, epochs_done: float, errors: Sequence[float]) -> float:
    """ε = ε₀ (1 + cos(π (t − w) / (T − w))) / 2: from ε₀ to 0 (arXiv 1608.03983, no restarts)."""
    span = max(recipe.epochs - recipe.warmup_epochs, 1e-9)
    angle = math.pi * (epochs_done - recipe.warmup_epochs) / span
    return recipe.learning_rate * (1 + math.cos(angle)) / 2


def stay_constant(recipe: Recipe, epochs_done: float, errors: Sequence[float]) -> float:
    """ε = ε₀."""
    return recipe.learning_rate


SCHEDULES: dict[str, Callable[[Recipe, float, Sequence[float]], float]] = {
    "plateau": follow_plateaus,
    "steps": follow_steps,
    "discrete": follow_even_drops,
    "exponential": follow_exponential,
    "cosine": follow_cosine,
    "constant": stay_constant,
}
"""The schedules by the name that a recipe has for them, after the warm-up."""


def count_plateaus(recipe: Recipe, errors: Sequence[float]) -> int:
    """Return how many times the error has stopped improving (section 5), at most `recipe.drops`.

    It has stopped improving when none of `recipe.patience` epochs in a row was below the lowest
    error of the whole training. After a drop the count restarts, and the lowest error is kept.
    Epochs that begin within the warm-up are not counted, because the rate has not been reached
    yet that would be divided; their errors can be the lowest. With a patience of 2:

        error   0.9  0.8  0.7  0.7  0.71  0.6  0.6  0.6
        drops    0    0    0    0    1     1    1    2
    """
    best, epochs_without, drops = math.inf, 0, 0
    for epoch, error in enumerate(errors):
        is_counted = error >= best and epoch >= recipe.warmup_epochs
        epochs_without = epochs_without + 1 if is_counted else 0
        best = min(best, error)
        if epochs_without == recipe.patience and drops < recipe.drops:
            drops, epochs_without = drops + 1, 0
    return drops


def count_even_drops(recipe: Recipe, epochs_done: float) -> int:
    """Return how many of `recipe.drops` evenly spaced drops are made after `epochs_done` epochs.

    The drops divide the training into k + 1 equal intervals. The boundary between two intervals
    belongs to the earlier one, as in the 2012 code.
    """
    interval = math.ceil(epochs_done / recipe.epochs * (recipe.drops + 1)) - 1
    return min(max(interval, 0), recipe.drops)


def find_factor(factors: tuple[RateFactor, ...], epochs_done: float, layer: str = "") -> float:
    """Return the latest factor of a layer whose epoch has come; 1 if none has."""
    begun = [f for f in factors if f.layer == layer and f.epoch <= epochs_done]
    return max(begun, key=lambda factor: factor.epoch).factor if begun else 1.0
