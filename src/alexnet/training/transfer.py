"""Starting from a trained network (transfer learning): copying some layers, initializing others.

`training.loop` copies the layers with `Transfer.into`; `commands.train` calls `adopt_network` when
no recipe is named. What a run began with is kept in its `environment.json`, so that a run killed
before its first checkpoint begins again in the same way (`describe_init`, `first_init`).
"""

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
"""Recipe fields that must be as in the earlier training for its weights to be usable."""

Layers = dict[str, dict[str, Tensor]]
"""For each layer, by name, its tensors by their names within it: weight and bias."""


@dataclass(frozen=True)
class Transfer:
    """The trained network that a new training begins with, and which of its layers it takes.

    >>> init = alexnet.Transfer("run", reset=("fc4",))
    >>> new = alexnet.train("photos.pack", "runs/new", init=init, epochs=1, progress=False)
    >>> new.position.epoch
    1
    """

    init: str | os.PathLike[str]
    """A run's folder or a checkpoint file."""
    take: tuple[str, ...] = ()
    """Names of the layers to take. Empty: all that both networks have."""
    reset: tuple[str, ...] = ()
    """Names of layers to draw anew."""

    def into(self, network: nn.Module, recipe: Recipe, classes: Sequence[str]) -> tuple[str, ...]:
        """Copy trained layers into a new network; return the names of the layers copied.

        `recipe` and `classes` are those of the new network. If the classes differ, the last layer
        is not copied unless `take` names it. Raises ValueError for a layer that does not exist or
        has another shape, and for a recipe that scales or centers pixels in another way than the
        trained network's.
        """
        trained = checkpoints.load(checkpoints.find(self.init))
        _check_pixels(trained, recipe)
        ours, trained_layers = map(_group_by_layer, (network.state_dict(), trained.weights))
        self._check_names(ours, trained_layers)
        new = set(self.reset)
        if tuple(classes) != trained.classes and not self.take:
            new.add(_find_last_layer(recipe, len(classes)))
        taken = [x for x in self.take or ours if x in trained_layers and x not in new]
        if wrong := [x for x in taken if _shapes(ours[x]) != _shapes(trained_layers[x])]:
            raise ValueError(
                f"{', '.join(wrong)} of {self.init} do not have the shapes that the new network "
                f"wants. Draw them anew: --reset {' '.join(wrong)}"
            )
        if not taken:
            raise ValueError(
                f"no layer would be taken from {self.init}; it has {', '.join(trained_layers)}"
            )
        for layer in taken:
            getattr(network, layer).load_state_dict(trained_layers[layer])
        return tuple(taken)

    def _check_names(self, new: Layers, trained: Layers) -> None:
        """Raise ValueError for names in `take` and `reset` that are no layers."""
        for option, names, allowed in (
            ("--take", self.take, new.keys() & trained.keys()),
            ("--reset", self.reset, new.keys()),
        ):
            if unknown := [name for name in names if name not in allowed]:
                known = ", ".join(name for name in new if name in allowed)
                raise ValueError(f"{option} {' '.join(unknown)}: the layers are {known}")


def adopt_network(recipe: Recipe, init: Path) -> Recipe:
    """Return the recipe with the network and the preprocessing of an earlier training, `init`."""
    path = checkpoints.find(init)
    earlier = checkpoints.load_recipe(path)
    return replace(recipe, **{name: getattr(earlier, name) for name in NETWORK_FIELDS})


def first_init(run: Path) -> Transfer | None:
    """Return what a run began with, from its `environment.json`; None if it drew all weights."""
    try:
        init = check(read_environment(run).get("init"), _Init, "init")
    except ValueError:
        return None
    return Transfer(Path(init.path), init.take, init.reset)


@dataclass(frozen=True)
class _Init:
    """A Transfer as `environment.json` holds it."""

    path: str
    take: tuple[str, ...]
    reset: tuple[str, ...]


def describe_init(init: Transfer | None) -> dict[str, Any]:
    """Return the entry of `environment.json` that `first_init` reads; {} without a Transfer."""
    if init is None:
        return {}
    path = os.path.abspath(init.init)
    return {"init": {"path": path, "take": list(init.take), "reset": list(init.reset)}}


def _group_by_layer(state: dict[str, Tensor]) -> Layers:
    """{"conv1.weight": w, "conv1.bias": b} → {"conv1": {"weight": w, "bias": b}}."""
    layers: Layers = {}
    for name, weights in state.items():
        layer, _, rest = name.partition(".")
        layers.setdefault(layer, {})[rest] = weights
    return layers


def _shapes(layer: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weights.shape) for name, weights in layer.items()}


def _find_last_layer(recipe: Recipe, classes: int) -> str:
    """The layer whose outputs are the classes: the one that grows with the number of classes."""
    with torch.device("meta"):
        states = [network_of(recipe, n).state_dict() for n in (classes, classes + 1)]
    layers, larger = map(_group_by_layer, states)
    return next(name for name in layers if _shapes(layers[name]) != _shapes(larger[name]))


def _check_pixels(trained: Checkpoint, recipe: Recipe) -> None:
    """Raise ValueError if the recipe gives the network pixels on another scale than before."""
    for name in ("pixel_scale", "subtract_mean"):
        wanted, before = getattr(recipe, name), getattr(trained.recipe, name)
        if wanted != before:
            raise ValueError(
                f"the network to start from was trained with {name} {before}, and the recipe has "
                f"{wanted}. Set --{name.replace('_', '-')} to the same value, or name no --recipe"
            )
