"""The network that a recipe describes: the texts of its variations become arguments.

    Recipe(variations=("towers=1", "norm=no"))  →  AlexNet(…, towers=1, norm=False)

Training, checkpoints and the estimate of memory call `network_of`. The networks themselves know
nothing of recipes.
"""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from alexnet import nets
from alexnet.recipes.recipe import Recipe

SWITCH = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
"""The words for a variation that is on or off."""


def network_of(recipe: Recipe, classes: int) -> nn.Module:
    """Build the network of a recipe, its weights not initialized.

    Raises ValueError for a network or a variation that does not exist, as `nets.build` does.
    """
    return nets.build(
        recipe.network, classes, recipe.crop, recipe.dropout, **read_variations(recipe)
    )


def read_variations(recipe: Recipe) -> dict[str, Any]:
    """Return the variations of a recipe as arguments of its network, by name.

    Raises ValueError as `network_of`; a variation that does not exist is returned as its text.
    """
    known = inspect.signature(nets.find(recipe.network).make).parameters
    return {
        name: parse_like(known[name].default, name, text) if name in known else text
        for name, text in ((v.name, v.value) for v in recipe.variations)
    }


def parse_like(example: object, name: str, text: str) -> Any:
    """Parse the text of the variation `name` as a value of the type of `example`.

    Bools are the words of SWITCH, tuples are separated by commas. Raises ValueError for a text of
    another type.
    """
    if isinstance(example, bool):
        if text.lower() not in SWITCH:
            raise ValueError(f"{name} is {text}; it has to be yes or no")
        return SWITCH[text.lower()]
    if isinstance(example, int):
        if not text.isdecimal():
            raise ValueError(f"{name} is {text}; it has to be a number")
        return int(text)
    return tuple(text.split(",")) if isinstance(example, tuple) else text
