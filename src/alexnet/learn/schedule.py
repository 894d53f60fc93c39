"""The learning rate as a pure function of where the training is and of what it has measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

from alexnet.recipe import Recipe


def learning_rate(recipe: Recipe, epochs_done: float, errors: Sequence[float]) -> float:
    """The rate after `epochs_done` epochs, given the validation error of each finished epoch."""
    rate = recipe.learning_rate
    if epochs_done < recipe.warmup_epochs:
        return rate * (epochs_done + 1e-3) / recipe.warmup_epochs
    if recipe.schedule == "plateau":
        return rate / recipe.drop_factor ** drops_so_far(recipe, errors)
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
