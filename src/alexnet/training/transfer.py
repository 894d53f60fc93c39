"""Starting from another training's network: layers that are taken, layers that are drawn anew."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alexnet import checkpoint as checkpoints
from alexnet.checkpoint import Checkpoint
from alexnet.nets.variations import network_of
from alexnet.recipes.recipe import Recipe
from alexnet.runs import read_environment
from alexnet.validate import check

NETWORK_FIELDS = (
    "network",
    "variations",
    "crop",
    "dropout",
    "pixel_scale",
    "subtract_mean",
    "mean_at",
)
"""Fields of a recipe without which the weights of a network mean something else."""

Layers = dict[str, dict[str, Tensor]]
"""Layer → name within it → weights."""


@dataclass(frozen=True)
class Transfer:
    """What a training takes from the network of an earlier one, its `init`."""

    init: Path
    """A run's folder or a checkpoint file."""
    take: tuple[str, ...] = ()
    """Layers to take; none named: all that both networks have."""
    reset: tuple[str, ...] = ()
    """Layers not to take."""

    def into(self, network: nn.Module, recipe: Recipe, classes: Sequence[str]) -> tuple[str, ...]:
        """Copy weights into a network that was newly drawn; the names of the layers taken.

        The last layer is not taken if the classes differ, unless `take` names it. Raises
        ValueError for layers that are not there or that have other shapes, and for pixels that
        are prepared otherwise than the weights expect.
        """
        trained = checkpoints.load(checkpoints.find(self.init))
        _check_pixels(trained, recipe)
        mine, theirs = (_layers(state) for state in (network.state_dict(), trained.weights))
        self._check_names(mine, theirs)
        new = set(self.reset)
        if tuple(classes) != trained.classes and not self.take:
            new.add(_last(recipe, len(classes)))
        taken = [x for x in self.take or mine if x in theirs and x not in new]
        if wrong := [x for x in taken if _shapes(mine[x]) != _shapes(theirs[x])]:
            raise ValueError(
                f"{', '.join(wrong)} of {self.init} do not have the shapes that the new network "
                f"wants. Draw them anew: --reset {' '.join(wrong)}"
            )
        if not taken:
            raise ValueError(
                f"no layer would be taken from {self.init}; it has {', '.join(theirs)}"
            )
        for layer in taken:
            getattr(network, layer).load_state_dict(theirs[layer])
        return tuple(taken)

    def _check_names(self, mine: Layers, theirs: Layers) -> None:
        for option, names, there in (
            ("--take", self.take, mine.keys() & theirs.keys()),
            ("--reset", self.reset, mine.keys()),
        ):
            if unknown := [name for name in names if name not in there]:
                known = ", ".join(name for name in mine if name in there)
                raise ValueError(f"{option} {' '.join(unknown)}: the layers there are: {known}")


def adopt_network(recipe: Recipe, init: Path) -> Recipe:
    """A recipe with the network of an earlier training, and images prepared as they were there."""
    path = checkpoints.find(init)
    earlier = checkpoints.load_recipe(path)
    return replace(recipe, **{name: getattr(earlier, name) for name in NETWORK_FIELDS})


def first_init(run: Path) -> Transfer | None:
    """What a run that has no checkpoint yet began with, as its description says."""
    try:
        init = check(read_environment(run).get("init"), _Init, "init")
    except ValueError:
        return None
    return Transfer(Path(init.path), init.take, init.reset)


@dataclass(frozen=True)
class _Init:
    path: str
    take: tuple[str, ...]
    reset: tuple[str, ...]


def describe_init(init: Transfer | None) -> dict[str, Any]:
    """What `first_init` reads."""
    if init is None:
        return {}
    path = os.path.abspath(init.init)
    return {"init": {"path": path, "take": list(init.take), "reset": list(init.reset)}}


def _layers(state: dict[str, Tensor]) -> Layers:
    found: Layers = {}
    for name, weights in state.items():
        layer, _, rest = name.partition(".")
        found.setdefault(layer, {})[rest] = weights
    return found


def _shapes(layer: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weights.shape) for name, weights in layer.items()}


def _last(recipe: Recipe, classes: int) -> str:
    """The layer whose outputs are the classes, whatever order a network was put together in."""
    with torch.device("meta"):
        few, more = (_layers(network_of(recipe, n).state_dict()) for n in (classes, classes + 1))
    return next(name for name in few if _shapes(few[name]) != _shapes(more[name]))


def _check_pixels(trained: Checkpoint, recipe: Recipe) -> None:
    for name in ("pixel_scale", "subtract_mean"):
        mine, theirs = getattr(recipe, name), getattr(trained.recipe, name)
        if mine != theirs:
            raise ValueError(
                f"the network to start from was trained with {name} {theirs}, and the recipe has "
                f"{mine}. Say the same, as --{name.replace('_', '-')}, or name no --recipe"
            )
