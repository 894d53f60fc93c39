"""How many bytes processes send each other, computed from shapes, and counted in a run.

    count_towers      for an image: units of half of pool2, pool5, fc6, their gradients, logits
    count_hybrid      for an image: pool5 of the slices, units of the shards, their gradients;
                      for a step: gradients of the convolutions
    count_replicas    for a step: gradients and weights of the whole network

All numbers are those of all processes together. With 1000 classes and images of 224×224 pixels, two
towers send 460,608 bytes for an image, and two replicas 487,721,792 for a step, as much as towers
for 1,059 images. `CountedWorld` counts what is sent; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alexnet.nets.drawing import find_shapes
from alexnet.parallel.exchange import Peers
from alexnet.parallel.hybrid import CUTS

FLOAT, LABEL = 4, 8
"""Bytes of a number in float32, and of a label."""


@dataclass(frozen=True)
class Traffic:
    """The bytes that all processes together send in training."""

    per_image: int = 0
    per_step: int = 0

    def of_step(self, batch_size: int) -> int:
        """Return the bytes of a step with so many images."""
        return self.per_step + batch_size * self.per_image


def count_towers(network: nn.Module, side: int, wire: torch.dtype | None = None) -> Traffic:
    """Return what two towers of a whole network send in two processes, for images of this side.

    Each sends its half of the units before conv3, fc6 and fc7, the gradients of the other's half,
    and its share of the logits, in float32 but for `wire`.
    """
    units = _count_units(network, side)
    exchanged = units["pool2"] + units["pool5"] + units["fc6"]
    itemsize = wire.itemsize if wire else FLOAT
    return Traffic(per_image=2 * exchanged * itemsize + 2 * units["fc8"] * FLOAT)


def count_hybrid(network: nn.Module, side: int, processes: int) -> Traffic:
    """Return what replicas with shards send, in float32: see `parallel.hybrid`."""
    units, others = _count_units(network, side), processes - 1
    both_ways = 2 * (units["pool5"] + units["fc6"]) * FLOAT
    logits = processes * units["fc8"] * FLOAT
    replicated = sum(
        p.numel() for name, p in network.named_parameters() if name.split(".")[0] not in CUTS
    )
    padded = replicated + -replicated % processes
    return Traffic(others * (both_ways + logits + LABEL), 2 * others * padded * FLOAT)


def count_replicas(network: nn.Module, processes: int) -> Traffic:
    """Return what replicas send: each gets the gradients of its share of the weights from all
    others, and sends them the new weights."""
    weights = sum(p.numel() for p in network.parameters())
    return Traffic(per_step=2 * (processes - 1) * weights * FLOAT)


def _count_units(network: nn.Module, side: int) -> dict[str, int]:
    """Return the number of units of each named layer."""
    shapes = find_shapes(network, side)
    return {name: torch.Size(shape).numel() for name, shape in shapes.items()}


class CountedWorld:
    """A world that counts the bytes of tensors that this process sends to others."""

    def __init__(self, world: Peers) -> None:
        self.world, self.rank, self.size = world, world.rank, world.size
        self.sent = 0

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        """Count a copy to each other process, and send them."""
        self.sent += tensor.nbytes * (self.size - 1)
        return self.world.all_gather(tensor)

    def exchange(self, tensors: list[Tensor]) -> list[Tensor]:
        """Count the tensors for other processes, and send them."""
        self.sent += sum(x.nbytes for rank, x in enumerate(tensors) if rank != self.rank)
        return self.world.exchange(tensors)

    def broadcast(self, value: Tensor, source: int) -> Tensor:
        """Count a copy to each other process, if this one sends them, and do so."""
        self.sent += value.nbytes * (self.size - 1) * (source == self.rank)
        return self.world.broadcast(value, source)
