"""The update rule of section 5 of the paper, done by the fused kernel of `torch.optim.SGD`.

The paper updates the weights w and their velocity v, at momentum m = 0.9, weight decay 0.0005 and
learning rate ε, by

    v ← m·v − 0.0005·ε·w − ε·∂L/∂w        w ← w + v

`torch.optim.SGD` keeps a momentum buffer b instead, and multiplies by ε afterwards:

    b ← m·b + 0.0005·w + ∂L/∂w            w ← w − ε·b

With v = −ε·b the two are the same as long as ε does not change. When it changes from ε₀ to ε, the
old velocity is −ε₀·b, but the optimizer would continue with −ε·b. So for that one step its momentum
is set to m·ε₀/ε: then ε·(m·ε₀/ε)·b = m·ε₀·b, as in the paper's rule.

`training.train` makes one SGD and calls it after each backward pass. This module knows nothing of
files, data or progress.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from alexnet.recipes.recipe import Recipe
from alexnet.training.schedule import Rates, compute_rates

ALL_FROZEN = "every layer is frozen; leave one that learns out of --rates"


class SGD:
    """Stochastic gradient descent with momentum and weight decay, each group at its own rate.

    The groups are the weights and the biases of the network, and those of every layer for which the
    recipe has a rate or a decay. After the first loss that is not finite, steps change nothing: the
    weights stay as they were after the last step with a finite loss. This is decided on the device
    (`found_inf`), without a synchronization.
    """

    def __init__(
        self, network: nn.Module, recipe: Recipe, layers: Collection[str] | None = None
    ) -> None:
        """`layers`: update only these. Raises ValueError where the recipe names a layer that the
        network does not have."""
        self.momentum = recipe.momentum
        _check_names(network, recipe)
        self.names = {
            p: name
            for name, p in network.named_parameters()
            if layers is None or name.split(".")[0] in layers
        }
        groups = _make_groups(self.names, recipe)
        self.groups: list[dict[str, Any]] = [dict(group) for group in groups]
        """The groups of whole parameters, whose gradients `freeze` turns on and off."""
        self.optimizer = torch.optim.SGD(groups, lr=0.0, momentum=recipe.momentum, fused=True)
        for p in self.names:
            self.optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
        self.found_nonfinite = torch.zeros((), device=next(iter(self.names)).device)
        """1 since the first loss that was not finite, else 0; the fused kernel reads it."""
        self.optimizer.found_inf = self.found_nonfinite  # type: ignore[attr-defined]
        self.rate = 0.0
        """The learning rate of the last step."""
        self.rates: dict[str, float] = {}
        """Group → the rate of the last step that changed it: the ε₀ of the formulas above."""

    @property
    def layers(self) -> list[str]:
        """The names of the layers that have weights."""
        return list(dict.fromkeys(name.split(".")[0] for name in self.names.values()))

    def step(self, loss: Tensor, rates: Rates | float) -> None:
        """Update the weights with the gradients of `loss`, and clear the gradients.

        A single number is the rate of all groups. A group whose rate is 0 does not change, nor do
        its momenta.
        """
        rates = rates if isinstance(rates, Rates) else Rates(rates, rates)
        is_finite = loss.detach().isfinite()
        self.found_nonfinite.copy_(torch.where(is_finite, self.found_nonfinite, 1.0))
        for group in self.optimizer.param_groups:
            self._set_rate(group, rates.of(group["layer"], group["bias"]))
        self.optimizer.step()
        self.rate = rates.weights or self.rate
        self.optimizer.zero_grad()

    def _set_rate(self, group: dict[str, object], rate: float) -> None:
        """Set a group's rate, and its momentum as the header says. The optimizer skips a parameter
        that has no gradient."""
        if rate == 0:
            for p in group["params"]:  # type: ignore[attr-defined]
                p.grad = None
            return
        name = _name_group(group)
        group["lr"] = rate
        group["momentum"] = self.momentum * (self.rates[name] / rate if name in self.rates else 1.0)
        self.rates[name] = rate

    def freeze(self, *rates_to_come: Rates) -> bool:
        """Turn gradients off for groups whose rate is 0 in all of these Rates, and on for others.

        Returns whether that changed anything. Raises ValueError if nothing would be left to train.
        """
        changed, trainable = self.set_trained(*rates_to_come)
        if not trainable:
            raise ValueError(ALL_FROZEN)
        return changed

    def set_trained(self, *rates_to_come: Rates) -> tuple[bool, int]:
        """Do what `freeze` does; return whether that changed anything, and how many groups are
        trained."""
        changed, trainable = False, 0
        for group in self.groups:
            is_trained = any(rates.of(group["layer"], group["bias"]) for rates in rates_to_come)
            trainable += is_trained
            for p in group["params"]:
                changed |= p.requires_grad != is_trained
                p.requires_grad_(is_trained)
        return changed, trainable

    def momenta(self) -> dict[str, Tensor]:
        """Return the momentum buffers b by the names of their parameters: what checkpoints keep."""
        return {name: self.optimizer.state[p]["momentum_buffer"] for p, name in self.names.items()}

    def join_momenta(self) -> dict[str, Tensor]:
        """Return the momentum buffers for a checkpoint; all processes call this together."""
        return self.momenta()

    def restore(self, momenta: dict[str, Tensor], rate: float, rates: dict[str, float]) -> None:
        """Continue from saved buffers, `rate` and `rates`.

        Checkpoints of earlier versions have no `rates`: then `rate` is that of every group. Raises
        ValueError if a buffer is missing, as in imported weights.
        """
        if missing := self.momenta().keys() - momenta.keys():
            raise ValueError(f"the checkpoint has no momentum of {', '.join(sorted(missing))}")
        for name, buffer in self.momenta().items():
            buffer.copy_(momenta[name])
        self.rate = rate
        self.rates = dict(rates) or {_name_group(g): rate for g in self.optimizer.param_groups}


def check_layers(network: nn.Module, recipe: Recipe) -> None:
    """Raise ValueError for a recipe whose rates or decays the layers of a network cannot have.

    It names a layer that the network does not have, or freezes every layer in some epoch; SGD and
    `SGD.freeze` raise the same. The network may be on the meta device.
    """
    _check_names(network, recipe)
    groups = _make_groups({p: name for name, p in network.named_parameters()}, recipe)
    changes = {math.ceil(factor.epoch) for factor in recipe.rates if factor.factor == 0}
    for epoch in sorted(changes):
        ends = [compute_rates(recipe, epoch + part, []) for part in (0.0, 0.999)]
        if epoch < recipe.epochs and not any(
            rates.of(str(group["layer"]), bool(group["bias"])) for group in groups for rates in ends
        ):
            raise ValueError(ALL_FROZEN)


def _check_names(network: nn.Module, recipe: Recipe) -> None:
    """Raise ValueError where a recipe names a layer that the network does not have."""
    layers = dict.fromkeys(name.split(".")[0] for name, _ in network.named_parameters())
    own = {factor.layer for factor in recipe.rates} | {decay.layer for decay in recipe.decays}
    if unknown := sorted(own - layers.keys()):
        raise ValueError(
            f"network {recipe.network!r} has no layer {', '.join(unknown)} to give a rate or a "
            f"decay; it has {', '.join(layers)}"
        )


def _make_groups(names: dict[nn.Parameter, str], recipe: Recipe) -> list[dict[str, object]]:
    """Return parameter groups for the optimizer: by layer ("" for the whole network) and kind.

    Parameters of one dimension are biases.
    """
    decays = {decay.layer: decay.decay for decay in recipe.decays}
    own = {factor.layer for factor in recipe.rates} | decays.keys()
    layer_of = {p: name.split(".")[0] for p, name in names.items()}
    parameters = defaultdict(list)
    for p, layer in layer_of.items():
        parameters[layer if layer in own else "", p.ndim == 1].append(p)
    return [
        {
            "params": parameters[layer, bias],
            "weight_decay": 0.0
            if bias and not recipe.decay_biases
            else decays.get(layer, recipe.weight_decay),
            "layer": layer,
            "bias": bias,
        }
        for layer, bias in sorted(parameters)
    ]


def _name_group(group: dict[str, object]) -> str:
    """Return the name of a group in `SGD.rates` and in checkpoints: "conv1 weights"."""
    return f"{group['layer'] or 'network'} {'biases' if group['bias'] else 'weights'}"
