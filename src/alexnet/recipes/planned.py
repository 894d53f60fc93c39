"""A recipe for another number of epochs, with its schedule stretched or shortened to fit.

`training.planning` calls this when a training is to take a stated time. Pure arithmetic on recipes;
imports no torch.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from alexnet.recipes.factors import RateFactor
from alexnet.recipes.recipe import Recipe


def fit_to_epochs(recipe: Recipe, epochs: int, kept: Collection[str] = ()) -> Recipe:
    """Return the recipe for this number of epochs, each event at the same share of the training.

    Scaled are the warm-up, the epochs of `steps`, `rates` and `bias_steps`, the end of the color
    noise and the patience of `plateau` (1 epoch at the least); the warm-up is not made longer. The
    cosine, the exponential and the even drops follow from the number of epochs by themselves.
    `kept` names fields that stay as they are, as those that a user gave.
    """
    share = epochs / recipe.epochs
    changes: dict[str, Any] = {
        "warmup_epochs": round(recipe.warmup_epochs * min(share, 1), 3),
        "patience": max(1, round(recipe.patience * share)),
        "steps": _scale_factors(recipe.steps, share),
        "rates": _scale_factors(recipe.rates, share),
        "bias_steps": _scale_factors(recipe.bias_steps, share),
    }
    if recipe.noise_until is not None:
        changes["noise_until"] = round(recipe.noise_until * share)
    changes = {name: value for name, value in changes.items() if name not in kept}
    return replace(recipe, epochs=epochs, **changes)


def _scale_factors(factors: tuple[RateFactor, ...], share: float) -> tuple[RateFactor, ...]:
    return tuple(replace(x, epoch=round(x.epoch * share, 3)) for x in factors)
