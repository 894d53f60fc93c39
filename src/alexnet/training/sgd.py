"""The update rule of section 5, with the library's fused kernel doing the work.

    v ← 0.9·v − 0.0005·ε·w − ε·∂L/∂w,    w ← w + v

The velocity v contains the learning rate ε. `torch.optim.SGD` keeps b with v = −ε·b instead, which
is the same until ε changes. When it changes from ε₀ to ε, −ε·(m·b) has to become −ε₀·m·b: for that
one step the library is told a momentum of m·ε₀/ε.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn

from alexnet.recipes.recipe import Recipe, Step
from alexnet.training.schedule import Rates


class SGD:
    """Momentum and weight decay over a network's weights, each group at a rate of its own.

    Groups are the weights and the biases of the network, and those of every layer for which the
    recipe has a rate or a decay. A loss that is not finite disables every later step, on the
    device and without a question to it: the weights stay what they were when the last finite loss
    was computed.
    """

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        """Raises ValueError where the recipe names a layer that the network does not have."""
        self.momentum = recipe.momentum
        self.names = {p: name for name, p in network.named_parameters()}
        groups = _groups(self.names, recipe)
        self.library = torch.optim.SGD(groups, lr=0.0, momentum=recipe.momentum, fused=True)
        for p in self.names:
            self.library.state[p]["momentum_buffer"] = torch.zeros_like(p)
        self.stopped = torch.zeros((), device=next(iter(self.names)).device)
        """1 since the first loss that was not finite, else 0."""
        self.library.found_inf = self.stopped  # type: ignore[attr-defined]
        self.rate = 0.0
        """The learning rate of the last step."""
        self.rates: dict[str, float] = {}
        """Of every group that has been moved: the rate of the last step that moved it."""

    @property
    def layers(self) -> list[str]:
        """The layers that have weights, by name."""
        return list(dict.fromkeys(name.split(".")[0] for name in self.names.values()))

    def step(self, loss: Tensor, rates: Rates | float) -> None:
        """Apply the gradients at these rates and clear them. What has a rate of 0 stays as it is.

        One number is the rate of everything.
        """
        rates = rates if isinstance(rates, Rates) else Rates(rates, rates)
        self.stopped.copy_(torch.where(loss.detach().isfinite(), self.stopped, 1.0))
        for group in self.library.param_groups:
            self._set(group, rates.of(group["layer"], group["bias"]))
        self.library.step()
        self.rate = rates.weights or self.rate
        self.library.zero_grad()

    def _set(self, group: dict[str, object], rate: float) -> None:
        if rate == 0:
            for p in group["params"]:  # type: ignore[attr-defined]
                p.grad = None
            return
        name = _name(group)
        group["lr"] = rate
        group["momentum"] = self.momentum * (self.rates[name] / rate if name in self.rates else 1.0)
        self.rates[name] = rate

    def freeze(self, *moments: Rates) -> bool:
        """Compute no gradients where the rate is 0 at all these moments; whether that is new.

        Raises ValueError if nothing would be left to train.
        """
        changed, moving = False, 0
        for group in self.library.param_groups:
            moves = any(rates.of(group["layer"], group["bias"]) for rates in moments)
            moving += moves
            for p in group["params"]:
                changed |= p.requires_grad != moves
                p.requires_grad_(moves)
        if not moving:
            raise ValueError("every layer is frozen; leave one that learns out of --rates")
        return changed

    def momenta(self) -> dict[str, Tensor]:
        """The library's momentum buffers by the name of their weight."""
        return {name: self.library.state[p]["momentum_buffer"] for p, name in self.names.items()}

    def restore(self, momenta: dict[str, Tensor], rate: float, rates: dict[str, float]) -> None:
        """Go on from buffers and from the rates of the steps that left them."""
        for name, buffer in self.momenta().items():
            buffer.copy_(momenta[name])
        self.rate = rate
        self.rates = dict(rates) or {_name(g): rate for g in self.library.param_groups}


def _groups(names: dict[nn.Parameter, str], recipe: Recipe) -> list[dict[str, object]]:
    """Weights and biases of the whole network, then of each layer that goes its own way."""
    decays = {step.layer: step.factor for step in map(Step.of, recipe.decays)}
    own = {step.layer for step in map(Step.of, recipe.rates)} | decays.keys()
    layer_of = {p: name.split(".")[0] for p, name in names.items()}
    if unknown := sorted(own - set(layer_of.values())):
        raise ValueError(
            f"network {recipe.network!r} has no layer {', '.join(unknown)} to give a rate or a "
            f"decay; it has {', '.join(dict.fromkeys(layer_of.values()))}"
        )
    members = defaultdict(list)
    for p, layer in layer_of.items():
        members[layer if layer in own else "", p.ndim == 1].append(p)
    return [
        {
            "params": members[layer, bias],
            "weight_decay": 0.0
            if bias and not recipe.decay_biases
            else decays.get(layer, recipe.weight_decay),
            "layer": layer,
            "bias": bias,
        }
        for layer, bias in sorted(members)
    ]


def _name(group: dict[str, object]) -> str:
    return f"{group['layer'] or 'network'} {'biases' if group['bias'] else 'weights'}"
