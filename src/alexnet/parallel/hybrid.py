"""Replicas in the convolutions, shards in the fully connected layers (arXiv 1404.5997).

The convolutions have 4 % of the weights and most of the arithmetic: every process has all of them,
and computes them for its part of the batch. The fully connected layers have 96 % of the weights:
each process has some shards of their units, and computes them for all images, one slice of the
batch after the other. This is scheme (b) of section 4 of the paper: in pass s, the process that has
slice s sends its pool5 to all.

    slices      0      1      2      3
              ┌───┐  ┌───┐  ┌───┐  ┌───┐
    conv1–5   │ 0 │  │ 1 │  │ 2 │  │ 3 │          process r has the slices and shards
              └─┬─┘  └─┬─┘  └─┬─┘  └─┬─┘          r·V/N … (r+1)·V/N − 1
      pass 0 ◄──┘      │      │      │
      pass 1 ◄─────────┘      │      │            pool5 of a slice to every shard;
      pass 2 ◄────────────────┘      │            its gradient, summed over the shards, back
      pass 3 ◄───────────────────────┘
              ┌───┐  ┌───┐  ┌───┐  ┌───┐
    fc6–fc8   │ 0 │  │ 1 │  │ 2 │  │ 3 │
              └───┘  └───┘  └───┘  └───┘
    shards      0      1      2      3

There are as many shards as slices, V, however many processes share them, and sums over shards and
slices have fixed trees (`exchange`). So results have the same bits on 1, 2, … V processes. The
weights of the shards can be updated after every pass, or once for the batch, like those of the
convolutions. Called by `training`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.nets.alexnet import AlexNet
from alexnet.nets.layers import set_key
from alexnet.parallel.exchange import Parts, Peers, gather_parts, sum_pairwise, sum_parts, widen
from alexnet.parallel.parts import Cuts, Each, PartialDropout, cut_layer

CUTS: Cuts = {"fc6": "units", "fc7": "units", "fc8": "inputs"}


class Hybrid(AlexNet):
    """A network with whole convolutions, and this process's shards of the rest.

    Images minus the mean → logits, (N, 3, size, size) → (N, classes), if all processes are given
    the same images; `compute_gradients` is for a batch that is spread over them.
    """

    cuts = CUTS

    def __init__(self, network: nn.Module, peers: Peers, shards: int) -> None:
        """Take the convolutions of a network, and the own shards of its fully connected layers.

        Raises ValueError for a network without them, or where `shards` is not a power of two that
        the number of processes divides.
        """
        nn.Module.__init__(self)
        network = check_hybrid(network)
        for name, layer in network.named_children():
            self.add_module(name, layer)
        self.parts = parts = Parts(shards, peers)
        self.fc6, self.fc7 = (cut_layer(layer, parts) for layer in (network.fc6, network.fc7))
        self.fc8 = cut_layer(network.fc8, parts, "inputs")
        unit6, unit7 = network.unit6, network.unit7
        self.unit6, self.unit7 = Each(parts, lambda part: unit6), Each(parts, lambda part: unit7)
        self.dropout6, self.dropout7 = (
            Each(parts, partial(PartialDropout, whole, total=shards))
            for whole in (network.dropout6, network.dropout7)
        )

    def forward(self, images: Tensor, hook: object = None) -> Tensor:
        """(N, 3, H, W) → (N, classes)."""
        return self.classify_shards([self.extract(images)] * self.parts.each)

    # fmt: off
    def classify_shards(self, x: Sequence[Tensor]) -> Tensor:
        """pool5 for each own shard, (N, 9216) → (N, classes)."""         # in each shard:
        x = self.dropout6(self.unit6(self.fc6(x)))                        # N 4096/V
        x = self.dropout7(self.unit7(self.fc7(gather_parts(x, self.parts))))  # N 4096/V
        return sum_parts(self.fc8(x), self.parts)                         # N classes
    # fmt: on

    def list_replicated(self) -> list[nn.Parameter]:
        """Return the parameters that all processes have: those of the convolutions."""
        return [p for name, p in self.named_parameters() if name.split(".")[0] not in CUTS]


@dataclass(frozen=True)
class Passes:
    """The batch of a step, cut into as many slices as there are shards."""

    n_images: int
    """In the whole batch."""
    slices: tuple[range, ...]
    """The rows of the whole batch in each slice."""
    period: int
    """The shards are updated after every so many passes."""
    key: int
    """What the dropout masks of this step follow from (`nets.layers.set_key`)."""

    def list_group(self, index: int) -> range:
        """Return the passes between two updates of the shards of which pass `index` is one."""
        first = index // self.period * self.period
        return range(first, min(first + self.period, len(self.slices)))

    def count_group(self, index: int) -> int:
        """Return the number of images in those passes."""
        return sum(len(self.slices[i]) for i in self.list_group(index))

    def is_update_due(self, index: int) -> bool:
        """Whether the shards are updated after a pass, before the next one."""
        last = self.list_group(index)[-1]
        return index == last and last + 1 < len(self.slices) and self.count_group(index) > 0


def compute_gradients(
    network: Hybrid,
    images: Sequence[Tensor],
    labels: Sequence[Tensor],
    passes: Passes,
    update: Callable[[Tensor], None],
    cast: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Tensor:
    """Compute a step's gradients, updating the shards in between; return the mean loss, detached.

    images, labels: those of the own slices, in order. `update(loss)` updates the shards and clears
    their gradients. It is called after each group of passes but the last one, whose gradients are
    left in the shards. Then the convolutions have their gradients, summed over all slices, and the
    same on all processes. Gradients are those of the mean loss of the group, in the shards, and of
    the batch, in the convolutions. `cast` is entered for every forward pass (`device.Machine`).
    """
    own, step = network.parts.own, _Step(network, passes, cast)
    pool5 = {i: step.extract(x) for i, x in zip(own, images, strict=True) if len(x)}
    right = dict(zip(own, labels, strict=True))
    for i in range(len(passes.slices)):
        step.run_pass(i, pool5.get(i), right.get(i))
        if passes.is_update_due(i):
            update(step.losses[-1])
    step.propagate_to_images(pool5)
    total = zip(step.losses, passes.slices, strict=True)
    return torch.stack([loss * (len(rows) / passes.n_images) for loss, rows in total]).sum()


class _Step:
    """The work of `compute_gradients`, and what it keeps between passes."""

    def __init__(
        self,
        network: Hybrid,
        passes: Passes,
        cast: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.network, self.parts, self.passes, self.cast = network, network.parts, passes, cast
        self.losses: list[Tensor] = []
        """The mean loss of each slice."""
        self.gradients: list[Tensor] = []
        """For each slice, the gradients of pool5, summed over the own shards."""

    def extract(self, images: Tensor) -> Tensor:
        """Return pool5 of own images, with the graph for the backward pass."""
        with self.cast():
            return self.network.extract(images)

    def run_pass(self, i: int, pool5: Tensor | None, labels: Tensor | None) -> None:
        """Run slice i, whose pool5 and labels the process that has it gives, through all shards."""
        rows = self.passes.slices[i]
        set_key(self.network, self.passes.key, rows.start)
        units, labels = self._share(i, pool5, labels)
        leaves = [units.detach().requires_grad_() for _ in self.parts.own]
        if not rows:
            self.losses.append(torch.zeros((), device=units.device))
            self.gradients.append(sum_pairwise(leaves).detach())
            return
        with self.cast():
            logits = self.network.classify_shards(leaves)
            loss = F.cross_entropy(widen(logits), labels)
        (loss * (len(rows) / self.passes.count_group(i))).backward()
        self.losses.append(loss.detach())
        self.gradients.append(sum_pairwise([cast(Tensor, leaf.grad) for leaf in leaves]))

    def _share(self, i: int, pool5: Tensor | None, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return pool5 and the labels of slice i, which the process that has it sends to all."""
        n, like = len(self.passes.slices[i]), next(self.network.parameters())
        if pool5 is None or labels is None:
            width = cast(Each, self.network.fc6).count_inputs()
            with self.cast():
                pool5 = torch.empty(n, width, dtype=get_dtype(like), device=like.device)
            labels = torch.empty(n, dtype=torch.int64, device=like.device)
        owner = i // self.parts.each
        if n == 0:
            return pool5, labels
        broadcast = self.parts.peers.broadcast
        return broadcast(pool5.detach(), owner), broadcast(labels, owner)

    def propagate_to_images(self, pool5: dict[int, Tensor]) -> None:
        """Send the gradients of pool5 to where the slices are, and sum those of the convolutions.

        Every process then has the same gradients in its convolutions.
        """
        peers, each, sizes = self.parts.peers, self.parts.each, list(map(len, self.passes.slices))
        starts = range(0, self.parts.total, each)
        to_send = [torch.cat(self.gradients[start : start + each]) for start in starts]
        own = sum_pairwise(peers.exchange(to_send)).split([sizes[i] for i in self.parts.own])
        weights = [p for p in self.network.list_replicated() if p.requires_grad]
        terms = []
        for i, gradient in zip(self.parts.own, own, strict=True):
            if i in pool5 and weights:
                scale = self.passes.count_group(i) / self.passes.n_images
                pool5[i].backward((gradient * scale).to(pool5[i].dtype))
            terms.append(take_gradients(weights))
        if weights:
            set_gradients(weights, sum_over_all(sum_pairwise(terms), peers))


def take_gradients(weights: Sequence[nn.Parameter]) -> Tensor:
    """Return the gradients of all weights in one row, and clear them; 0 where there is none."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in weights]
    for p in weights:
        p.grad = None
    return torch.cat([gradient.flatten() for gradient in gradients])


def set_gradients(weights: Sequence[nn.Parameter], row: Tensor) -> None:
    """Give the weights the gradients that `take_gradients` has put in a row."""
    parts = row.split([p.numel() for p in weights])
    for p, part in zip(weights, parts, strict=True):
        p.grad = torch.empty_like(p).copy_(part.view(p.shape))  # with the memory layout of p


def sum_over_all(row: Tensor, peers: Peers) -> Tensor:
    """Return the sum of the rows of all processes, over the fixed tree: (n,) → (n,).

    Each process sums its own chunk of the rows and sends it to all others, so that it sends twice
    its row in all, whatever the number of processes.
    """
    padded = F.pad(row, (0, -len(row) % peers.size))
    own = sum_pairwise(peers.exchange(list(padded.chunk(peers.size))))
    return torch.cat(peers.all_gather(own))[: len(row)]


def get_dtype(like: Tensor) -> torch.dtype:
    """Return the type of activations: that of the weights, or the one that is autocast to."""
    device = like.device.type
    is_cast = torch.is_autocast_enabled(device)
    return torch.get_autocast_dtype(device) if is_cast else like.dtype


def check_hybrid(network: nn.Module) -> AlexNet:
    """Return the network. Raises ValueError if its fully connected layers cannot be cut."""
    cure = (
        "The network `alexnet` can be (--network alexnet, without the variation without=fc…); any "
        "network can be trained with --devices replicas"
    )
    if type(network) is not AlexNet:
        raise ValueError(
            f"the fully connected layers of {type(network).__name__} cannot be cut into shards: "
            f"where its convolutions end is not known here. {cure}"
        )
    if any(isinstance(getattr(network, name), nn.Identity) for name in CUTS):
        raise ValueError(
            f"a network without one of {', '.join(CUTS)} cannot be cut into shards. {cure}"
        )
    return network
