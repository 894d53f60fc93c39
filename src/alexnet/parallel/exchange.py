"""What processes that share a network send each other in a step, with gradients.

A network is cut into P parts of equal shape. Each of N processes holds P / N consecutive parts, and
lists in this module have one tensor for each part that this process holds:

    gather_parts     each part's units  →  for each part, the units of all    conv3, fc6, fc7
                     backward: the gradients that all parts have for a part's units are summed
    sum_parts        each part's share of the logits  →  the logits            fc8

Sums have one fixed tree over the P parts, whichever process holds which, so that results have the
same bits on any number of processes:

    N = 1    ((0 + 1) + (2 + 3))           N = 2    (0 + 1) here, (2 + 3) there, then their sum

`towers` and `hybrid` call this module. It knows processes only as `Peers`, which `processes.World`
is; with one process, nothing is sent. It imports torch and nothing of this package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class Peers(Protocol):
    """The processes that share a network, as this one sees them; `processes.World` is one.

    All of them have to call the same methods in the same order.
    """

    @property
    def rank(self) -> int:
        """Which process this is, from 0."""

    @property
    def size(self) -> int:
        """How many processes there are."""

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensors of all processes, in the order of their ranks; all of one shape."""

    def exchange(self, tensors: list[Tensor]) -> list[Tensor]:
        """Send tensor r to process r, for all r; return what each process sent to this one.

        What is sent to a process has one shape, that of what it sends to itself.
        """

    def exchange_chunks(self, row: Tensor, out: Tensor) -> Tensor:
        """Cut a row into one chunk a process and send chunk r to process r; return what came into
        `out`, as (processes, length of a chunk)."""

    def broadcast(self, value: Tensor, source: int) -> Tensor:
        """Return the tensor of process `source`; the others give one of the same shape."""


@dataclass(frozen=True)
class Parts:
    """P parts of a network, and which of them this process holds."""

    total: int
    """P. A power of two, and so is the number of processes."""
    peers: Peers
    wire: torch.dtype | None = None
    """The type in which units and their gradients are sent, such as bfloat16; None: as they are.
    With a type, the units of a process's own parts are rounded too, so that all parts read the same
    numbers, on any number of processes."""

    def __post_init__(self) -> None:
        """Raise ValueError unless every process can hold the same number of parts."""
        total, size = self.total, self.peers.size
        if total & (total - 1) or not total:
            raise ValueError(f"{total} parts: the number has to be a power of two")
        if total % size:
            fitting = " or ".join(str(1 << i) for i in range(total.bit_length()))
            raise ValueError(
                f"{size} processes cannot share a network in {total} parts: start {fitting} "
                "(torchrun --nproc-per-node)"
            )

    @property
    def each(self) -> int:
        """How many parts a process holds: P / N."""
        return self.total // self.peers.size

    @property
    def own(self) -> range:
        """The parts of this process."""
        return range(self.peers.rank * self.each, (self.peers.rank + 1) * self.each)


def cut_rows(n_images: int, slices: int) -> tuple[range, ...]:
    """Return the rows of each slice of a batch: consecutive, and as equal as can be."""
    ends = [i * n_images // slices for i in range(slices + 1)]
    return tuple(map(range, ends, ends[1:]))


def gather_parts(units: Sequence[Tensor], parts: Parts) -> list[Tensor]:
    """Return the units of all parts, once for each part that this process holds.

    units: for each own part (N, C, …). Returns tensors (N, P·C, …) of the same numbers, part 0's
    first. In the backward pass, each part's units get the sum of the gradients of all parts that
    read them.
    """
    return list(_Gather.apply(parts, *units))


def sum_parts(shares: Sequence[Tensor], parts: Parts) -> Tensor:
    """Return the sum of the shares of all parts, which every process gets.

    shares: for each own part (N, C). The loss is computed from the sum by every process in the same
    way, so in the backward pass nothing is exchanged: the gradient of the sum is that of each
    share.
    """
    total: Tensor = _Sum.apply(parts, *shares)
    return total


class _Gather(torch.autograd.Function):
    """`gather_parts`. Its outputs share memory, so they must not be changed in place."""

    @staticmethod
    def forward(ctx: Any, parts: Parts, *units: Tensor) -> tuple[Tensor, ...]:
        ctx.parts, ctx.dtype = parts, units[0].dtype
        sent = torch.cat([_to_wire(part, parts.wire) for part in units], -1)
        whole = _from_wire(torch.cat(parts.peers.all_gather(sent), -1), ctx.dtype)
        return tuple(whole.view_as(whole) for _ in units)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        parts: Parts = ctx.parts
        terms = sum_pairwise([_to_wire(gradient, parts.wire) for gradient in gradients])
        to_send = [x.contiguous() for x in terms.chunk(parts.peers.size, -1)]
        own = sum_pairwise(parts.peers.exchange(to_send)).chunk(parts.each, -1)
        return None, *(_from_wire(part.contiguous(), ctx.dtype) for part in own)


class _Sum(torch.autograd.Function):
    """`sum_parts`."""

    @staticmethod
    def forward(ctx: Any, parts: Parts, *shares: Tensor) -> Tensor:
        ctx.each, ctx.dtype = parts.each, shares[0].dtype
        own = widen(sum_pairwise(shares)).contiguous()
        return sum_pairwise(parts.peers.all_gather(own))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(gradients[0].to(ctx.dtype) for _ in range(ctx.each))


def sum_pairwise(terms: Sequence[Tensor]) -> Tensor:
    """Sum a power of two of tensors over a binary tree: neighbors first, then their sums.

    Terms of half precision are summed in float32; one term is returned as it is.
    """
    terms = list(terms)
    while len(terms) > 1:
        pairs = zip(terms[::2], terms[1::2], strict=True)
        terms = [widen(a) + widen(b) for a, b in pairs]
    return terms[0]


def widen(x: Tensor) -> Tensor:
    """Return half precision as float32, and other types as they are."""
    return x.float() if x.dtype.itemsize < 4 else x


def _to_wire(x: Tensor, wire: torch.dtype | None) -> Tensor:
    """Put the channels last, in contiguous memory, and round: what is sent.

    (N, C, H, W) → (N, H, W, C); a tensor of two dimensions keeps its shape.
    """
    x = x.permute(0, 2, 3, 1) if x.ndim == 4 else x
    return x.to(wire or x.dtype).contiguous()


def _from_wire(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Undo `_to_wire`, but for the rounding: images are channels_last in memory."""
    return (x.permute(0, 3, 1, 2) if x.ndim == 4 else x).to(dtype)
