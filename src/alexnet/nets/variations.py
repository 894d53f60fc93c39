"""The network that a recipe describes, its variations read from text."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from alexnet import nets
from alexnet.recipes.recipe import Recipe

SWITCH = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


def network_of(recipe: Recipe, classes: int) -> nn.Module:
    """The network of a recipe, weights not yet drawn. Raises ValueError as `nets.build`."""
    given = dict(text.split("=", 1) for text in recipe.variations)
    known = inspect.signature(nets.find(recipe.network).build).parameters
    varied = {
        name: value_like(known[name].default, name, text) if name in known else text
        for name, text in given.items()
    }
    return nets.build(recipe.network, classes, recipe.crop, recipe.dropout, **varied)


def value_like(example: object, name: str, text: str) -> Any:
    """The value of a text, of the kind of `example`. Raises ValueError for a text of another."""
    if isinstance(example, bool):
        if text.lower() not in SWITCH:
            raise ValueError(f"{name} is {text}; it has to be yes or no")
        return SWITCH[text.lower()]
    if isinstance(example, int):
        if not text.isdecimal():
            raise ValueError(f"{name} is {text}; it has to be a number")
        return int(text)
    return tuple(text.split(",")) if isinstance(example, tuple) else text
