"""The sum of gradients over processes that all have the whole network, and who updates what.

    Row       all parameters in one row of memory, each beginning at a multiple of 64 elements
    Chunks    the row cut into one chunk a process: sums gradients, shares what was updated

Each process has the sums of its own slices of a batch. The row of these sums is cut into chunks:

    process 0   [ a₀ | b₀ ]  ──exchange──▶  a₀, a₁  ──sum──▶ update a ──┐
    process 1   [ a₁ | b₁ ]  ──exchange──▶  b₀, b₁  ──sum──▶ update b ──┴─all_gather─▶ a, b

The sum of a chunk has the same tree as the sum of the slices (`sum_pairwise`), so that the bits do
not depend on the number of processes. Chunks begin at multiples of 64 elements of a parameter:
kernels that compute in vectors then treat every element as they do in the whole parameter.
Called by `training.replicas`. It knows processes only as `Peers`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from alexnet.parallel.exchange import Peers, sum_pairwise

ALIGNMENT = 64
"""Elements; a multiple of the elements in a vector of every processor."""


class Row:
    """The places of some tensors in one row of memory, in the order of their own memory."""

    def __init__(self, tensors: Mapping[str, Tensor], size: int) -> None:
        """`tensors` by name; `size`: the number of chunks of equal length."""
        self.tensors = dict(tensors)
        self.starts: dict[str, int] = {}
        end = 0
        for name, x in self.tensors.items():
            self.starts[name] = end
            end += -(-x.numel() // ALIGNMENT) * ALIGNMENT
        self.chunk = -(-end // (ALIGNMENT * size)) * ALIGNMENT
        """The length of a chunk."""
        self.length = self.chunk * size

    def view(self, row: Tensor, name: str) -> Tensor:
        """Return the part of a row that belongs to a tensor, with its shape and memory layout."""
        x, start = self.tensors[name], self.starts[name]
        return row[start : start + x.numel()].as_strided(
            x.shape, x.stride(), row.storage_offset() + start
        )

    def find_own(self, name: str, rank: int) -> slice:
        """Return which elements of a tensor's memory are in the chunk of a process."""
        n, start = self.tensors[name].numel(), self.starts[name]
        first, last = (min(max((rank + i) * self.chunk - start, 0), n) for i in (0, 1))
        return slice(first, last)


class Chunks:
    """The chunk of a process: its part of every parameter, and the sums of its gradients."""

    def __init__(self, parameters: Mapping[str, Tensor], peers: Peers) -> None:
        """`parameters` by name, float32; every process has all of them."""
        self.peers = peers
        self.row = Row(parameters, peers.size)
        like = next(iter(parameters.values()))
        self.memory = torch.zeros(self.row.length, dtype=like.dtype, device=like.device)
        """The row of this process, for gradients and then for weights."""
        self.received = torch.empty_like(self.memory)
        self.own: dict[str, Tensor] = {}
        """By name, the own part of each parameter, which shares its memory. Parameters of which no
        part is in the own chunk are left out."""
        for name, p in parameters.items():
            part = self.row.find_own(name, peers.rank)
            if part.start < part.stop:
                self.own[name] = view_memory(p.detach())[part]

    @property
    def chunk(self) -> slice:
        """The own chunk of the row."""
        length, rank = self.row.chunk, self.peers.rank
        return slice(rank * length, (rank + 1) * length)

    def sum_gradients(self, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the sums over all processes of the gradients of the own parts, by name.

        gradients: of whole parameters; those of frozen ones are left out on all processes. The
        result is valid until the next call of a method.
        """
        for name, gradient in gradients.items():
            self.row.view(self.memory, name).copy_(gradient)
        terms = self.peers.exchange_chunks(self.memory, self.received)
        total = sum_pairwise(terms.unbind())
        return {name: self._take(total, name) for name in self.own if name in gradients}

    def share_weights(self) -> None:
        """Give all processes the own parts of the parameters, and take theirs."""
        chunk = self.received[self.chunk]
        for name, part in self.own.items():
            self._take(chunk, name).copy_(part)
        rows = self.peers.all_gather(chunk)
        torch.cat(rows, out=self.memory)
        for name, p in self.row.tensors.items():
            p.detach().copy_(self.row.view(self.memory, name))

    def cut(self, whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the own parts of whole tensors of the parameters' shapes, copied."""
        cut = {}
        for name in self.own:
            like = torch.empty_like(self.row.tensors[name]).copy_(whole[name])
            cut[name] = view_memory(like)[self.row.find_own(name, self.peers.rank)].clone()
        return cut

    def join(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return whole tensors, on the CPU, of the parts that every process gives."""
        chunk = torch.zeros_like(self.received[self.chunk])
        for name, part in own.items():
            self._take(chunk, name).copy_(part)
        row = torch.cat(self.peers.all_gather(chunk)).cpu()
        return {name: self.row.view(row, name).clone() for name in self.row.tensors}

    def _take(self, chunk: Tensor, name: str) -> Tensor:
        """Return the part of the own chunk that belongs to a parameter."""
        part = self.row.find_own(name, self.peers.rank)
        start = self.row.starts[name] + part.start - self.chunk.start
        return chunk[start : start + part.stop - part.start]


def view_memory(x: Tensor) -> Tensor:
    """Return a dense tensor as the row of its memory, whatever the order of its dimensions."""
    return x.as_strided((x.numel(),), (1,))


class PairwiseSum:
    """Sums lists of gradients over the tree of `sum_pairwise`, one after the other.

    As in binary counting, two sums of equally many slices are added as soon as both are there, so
    that of V lists at most log₂V + 1 are kept:

        0   01   01 2   0123
    """

    def __init__(self) -> None:
        self.sums: list[tuple[int, list[Tensor]]] = []

    def add(self, gradients: list[Tensor]) -> None:
        """Add the gradients of the next slice. They may be changed."""
        n = 1
        while self.sums and self.sums[-1][0] == n:
            before = self.sums.pop()[1]
            torch._foreach_add_(before, gradients)
            gradients, n = before, 2 * n
        self.sums.append((n, gradients))

    def take(self) -> list[Tensor]:
        """Return the sum of a power of two of lists."""
        ((_, total),) = self.sums
        self.sums.clear()
        return total
