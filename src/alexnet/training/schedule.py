"""The learning rates as pure functions of where the training is and of what it has measured."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from alexnet.recipes.recipe import Recipe, Step


@dataclass(frozen=True)
class Rates:
    """The learning rates of one step."""

    weights: float
    biases: float
    factors: dict[str, float] = field(default_factory=dict)
    """Of layers whose weights have a rate of their own; 0 freezes a layer."""
    biases_follow: bool = True
    """Whether such a factor goes for the layer's biases too."""

    def of(self, layer: str, bias: bool) -> float:
        """The rate of a layer's weights or biases."""
        factor = self.factors.get(layer, 1.0)
        if not bias:
            return self.weights * factor
        return self.biases * (factor if self.biases_follow else float(factor > 0))


def rates(recipe: Recipe, epochs_done: float, errors: Sequence[float]) -> Rates:
    """The rates after `epochs_done` epochs, given the validation error of each finished epoch."""
    rate = learning_rate(recipe, epochs_done, errors)
    biases = rate
    if recipe.bias_steps:
        biases = recipe.learning_rate * _factor(recipe.bias_steps, "", epochs_done)
    layers = {step.layer for step in _steps(recipe.rates)}
    return Rates(
        weights=rate,
        biases=biases * recipe.bias_rate,
        factors={layer: _factor(recipe.rates, layer, epochs_done) for layer in layers},
        biases_follow=not recipe.bias_steps,
    )


def learning_rate(recipe: Recipe, epochs_done: float, errors: Sequence[float]) -> float:
    """The rate of the network's weights, where a layer has none of its own."""
    rate = recipe.learning_rate
    if epochs_done < recipe.warmup_epochs:
        return rate * (epochs_done + 1e-3) / recipe.warmup_epochs
    if recipe.schedule == "plateau":
        return rate / recipe.drop_factor ** drops_so_far(recipe, errors)
    if recipe.schedule == "steps":
        return rate * _factor(recipe.steps, "", epochs_done)
    if recipe.schedule == "discrete":
        return rate / recipe.drop_factor ** drops_at_even_distances(recipe, epochs_done)
    if recipe.schedule == "exponential":
        done = min(epochs_done / recipe.epochs, 1)
        return rate / recipe.drop_factor ** (recipe.drops * done)
    if recipe.schedule == "cosine":
        span = max(recipe.epochs - recipe.warmup_epochs, 1e-9)
        return rate * (1 + math.cos(math.pi * (epochs_done - recipe.warmup_epochs) / span)) / 2
    return rate


def drops_so_far(recipe: Recipe, errors: Sequence[float]) -> int:
    """How often the error has stopped improving (section 5): at most `recipe.drops` times.

    It has when `recipe.patience` epochs in a row were no better than the best before them; the
    count starts again after each drop.
    """
    best, stale, drops = math.inf, 0, 0
    for error in errors:
        stale = 0 if error < best else stale + 1
        best = min(best, error)
        if stale == recipe.patience and drops < recipe.drops:
            drops, stale = drops + 1, 0
    return drops


def drops_at_even_distances(recipe: Recipe, epochs_done: float) -> int:
    """How many of `recipe.drops` drops are over, if each rate holds equally long.

    The very end of a part belongs to it, as in the 2012 code's discrete exponential.
    """
    part = math.ceil(epochs_done / recipe.epochs * (recipe.drops + 1)) - 1
    return min(max(part, 0), recipe.drops)


def _factor(steps: tuple[str, ...], layer: str, epochs_done: float) -> float:
    """The factor of the latest step of a layer that has begun; 1 before the first."""
    begun = [s for s in _steps(steps) if s.layer == layer and s.epoch <= epochs_done]
    return max(begun, key=lambda step: step.epoch).factor if begun else 1.0


@functools.cache
def _steps(texts: tuple[str, ...]) -> tuple[Step, ...]:
    return tuple(map(Step.of, texts))
