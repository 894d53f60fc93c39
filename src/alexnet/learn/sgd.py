"""The update rule of section 5, with the library's fused kernel doing the work.

    v ← 0.9·v − 0.0005·ε·w − ε·∂L/∂w,    w ← w + v

The velocity v contains the learning rate ε. `torch.optim.SGD` keeps b with v = −ε·b instead, which
is the same until ε changes. When it changes from ε₀ to ε, −ε·(m·b) has to become −ε₀·m·b: for that
one step the library is told a momentum of m·ε₀/ε.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from alexnet.recipe import Recipe


class SGD:
    """Momentum and weight decay over a network's weights; biases do not decay.

    A loss that is not finite disables every later step, on the device and without a question to
    it: the weights stay what they were when the last finite loss was computed.
    """

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        self.momentum = recipe.momentum
        self.names = {p: name for name, p in network.named_parameters()}
        groups = [
            {"params": [p for p in self.names if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in self.names if p.ndim == 1], "weight_decay": 0.0},
        ]
        self.library = torch.optim.SGD(groups, lr=0.0, momentum=recipe.momentum, fused=True)
        for p in self.names:
            self.library.state[p]["momentum_buffer"] = torch.zeros_like(p)
        self.stopped = torch.zeros((), device=next(iter(self.names)).device)
        """1 since the first loss that was not finite, else 0."""
        self.library.found_inf = self.stopped  # type: ignore[attr-defined]
        self.rate = 0.0
        """The learning rate of the last step."""

    def step(self, loss: Tensor, rate: float) -> None:
        """Apply the gradients at this learning rate and clear them. A rate of 0 moves nothing."""
        self.stopped.copy_(torch.where(loss.detach().isfinite(), self.stopped, 1.0))
        if rate > 0:
            for group in self.library.param_groups:
                group["lr"] = rate
                group["momentum"] = self.momentum * (self.rate / rate if self.rate else 1.0)
            self.library.step()
            self.rate = rate
        self.library.zero_grad()

    def momenta(self) -> dict[str, Tensor]:
        """The library's momentum buffers by the name of their weight."""
        return {name: self.library.state[p]["momentum_buffer"] for p, name in self.names.items()}

    def restore(self, momenta: dict[str, Tensor], rate: float) -> None:
        """Go on from buffers and the rate of the step that left them."""
        for name, buffer in self.momenta().items():
            buffer.copy_(momenta[name])
        self.rate = rate
