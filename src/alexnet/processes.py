"""The processes of one job, which torchrun has started: the only module that knows of them.

    torchrun --nproc-per-node 4 -m alexnet …         4 processes, each with RANK, WORLD_SIZE, …
    with join() as world:                            on every rank
        world.gather(value)                          [value of rank 0, value of rank 1, …]

Everything else is handed a `World` and is the same code for ALONE, a world of one process. All
ranks must call the same methods in the same order. Tensors on a CPU go through gloo, tensors on a
GPU through NCCL; small values are JSON. If a process is lost (`heartbeats`), whatever waits for it
raises ProcessLost. Called by the commands; no other module may import torch.distributed.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from alexnet.heartbeats import ProcessLost, Watch, read_limit, start_watch

VARIABLES = "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"
"""What torchrun sets. Without WORLD_SIZE, the process is alone."""
TIMEOUT = timedelta(days=7)
"""Time that a collective may take, as while rank 0 packs images for all. The watch notices lost
processes long before that."""
UNWATCHED = timedelta(minutes=30)
"""The same, where the watch is turned off."""
MEETING = timedelta(minutes=10)
"""Time that the processes have to come together at the start."""
PRINTING = 2.0
"""Seconds for which the others wait after an error that all have: torchrun ends rank 0 as soon as
one of them has ended, and it has to print the error first."""
Result = TypeVar("Result")


@dataclass(frozen=True)
class World:
    """The processes of a job as one of them sees them."""

    rank: int = 0
    """Number of this process."""
    size: int = 1
    """Number of processes."""
    local_rank: int = 0
    """Number of this process on its machine."""
    local_size: int = 1
    """Number of processes on this machine."""
    address: str = "localhost"
    """Where rank 0 can be reached."""
    watch: Watch | None = field(default=None, repr=False, compare=False)

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks in order. A value is what JSON can express."""
        if self.size == 1:
            return [value]
        return self._guard(lambda: _gather(value, self.size))

    def broadcast(self, value: Any, source: int = 0) -> Any:
        """Return the value of rank `source`: a tensor (the others give one of its shape), or JSON.

        The tensor that is given is overwritten.
        """
        if self.size == 1:
            return value
        if not isinstance(value, Tensor):
            return self.gather(value)[source]
        self._guard(lambda: dist.broadcast(value, source))
        return value

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensors of all ranks in order; all have the same shape."""
        if self.size == 1:
            return [tensor]
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        self._guard(lambda: dist.all_gather(parts, tensor.contiguous()))
        return parts

    def exchange(self, tensors: list[Tensor]) -> list[Tensor]:
        """Send tensor r to rank r, for all r; return what each rank has sent to this one.

        What is sent to a rank has one shape, that of what it sends to itself.
        """
        if self.size == 1:
            return tensors
        own = tensors[self.rank]
        sent = torch.cat([tensor.flatten() for tensor in tensors])
        received = own.new_empty(self.size * own.numel())
        sizes = [tensor.numel() for tensor in tensors]  # gloo takes no list of unequal tensors
        equal = [own.numel()] * self.size
        self._guard(lambda: dist.all_to_all_single(received, sent, equal, sizes))
        return list(received.view(self.size, *own.shape))

    def exchange_chunks(self, row: Tensor, out: Tensor) -> Tensor:
        """Cut a row into one chunk a rank and send chunk r to rank r; return what came.

        row, out: contiguous, of the same length, which the number of ranks divides. `out` receives
        the chunks that were sent to this rank; they are returned as (size, length / size).
        """
        if self.size == 1:
            return row[None]
        self._guard(lambda: dist.all_to_all_single(out, row))
        return out.view(self.size, -1)

    def replicate(self, network: nn.Module) -> nn.Module:
        """Return the network with gradients averaged over all ranks in the backward pass, in
        buckets, by an all-reduce (PyTorch's DistributedDataParallel)."""
        if self.size == 1:
            return network
        return nn.parallel.DistributedDataParallel(network, broadcast_buffers=False)

    def agree(self, facts: dict[str, Any]) -> None:
        """Raise ValueError on every rank if these facts are not the same on all of them."""
        everyone = self.gather(facts)
        for name in facts:
            others = [rank for rank in range(self.size) if everyone[rank].get(name) != facts[name]]
            if others:
                raise ValueError(
                    f"the processes disagree on {name}: {facts[name]!r} on rank {self.rank}, "
                    f"{everyone[others[0]].get(name)!r} on rank {others[0]}. Start all of them "
                    "with the same command, data and version"
                )

    def check(self, check: Callable[[], Result]) -> Result:
        """Return what `check` returns. An error that it raises on all ranks alike is printed once.

        A rank that is alone with its error tells the others, as with any other error.
        """
        try:
            result, error = check(), None
        except (OSError, ValueError, RuntimeError) as raised:
            result, error = None, raised
        messages = self.gather(None if error is None else str(error))
        if error is None:
            return cast(Result, result)
        if set(messages) == {str(error)}:
            vars(error)["is_shared"] = True
        raise error

    def barrier(self) -> None:
        """Wait until every rank has come here."""
        if self.size > 1:
            self._guard(lambda: _gather(None, self.size))

    def leave(self, error: str = "") -> None:
        """Leave the job; with an error, tell the others that it is what ends this process."""
        if self.size == 1:
            return
        if not error:
            self.barrier()
        if self.watch is not None:
            self.watch.leave(error)
        if not error:
            dist.destroy_process_group()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, ProcessLost):
            return
        if getattr(error, "is_shared", False):  # all ranks have raised it, and rank 0 prints it
            self.leave()
            if self.rank:
                time.sleep(PRINTING)
                raise SystemExit(getattr(error, "exit_code", 1)) from error
            return
        ends_well = error is None or (isinstance(error, SystemExit) and not error.code)
        self.leave("" if ends_well else str(error) or type(error).__name__)

    def _guard(self, communicate: Callable[[], Result]) -> Result:
        """Communicate; raise ProcessLost if that fails because a process was lost."""
        try:
            if self.watch is not None:
                self.watch.check()
            return communicate()
        except RuntimeError as error:
            if self.watch is None:
                raise
            self.watch.explain(error)


ALONE = World()
"""A job of one process."""


def join() -> World:
    """Join the other processes of this job, which torchrun has started; ALONE if there are none.

    Raises ValueError if the variables that torchrun sets are incomplete, ConnectionError if the
    other processes cannot be reached.
    """
    size = _read_number("WORLD_SIZE", 1)
    if size == 1:
        return ALONE
    if missing := [name for name in VARIABLES if not os.environ.get(name)]:
        raise ValueError(
            f"WORLD_SIZE is {size}, but {', '.join(missing)} are not set: start the processes with "
            "torchrun, or set all of " + ", ".join(VARIABLES)
        )
    rank, address = _read_number("RANK", 0), os.environ["MASTER_ADDR"]
    local_rank = _read_number("LOCAL_RANK", 0)
    backend = "cpu:gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    try:
        store, _, _ = next(iter(dist.rendezvous("env://", timeout=MEETING)))
        store = dist.PrefixStore(_meet(store, rank, size), store)
        timeout = TIMEOUT if read_limit() else UNWATCHED
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
    except RuntimeError as error:  # torch.distributed.DistError is one
        raise ConnectionError(
            f"rank {rank} on {socket.gethostname()} cannot join the others at {address}, port "
            f"{os.environ['MASTER_PORT']}: {error}"
        ) from error
    watch = start_watch(rank, size, lambda value: _gather(value, size), address)
    return World(rank, size, local_rank, _read_number("LOCAL_WORLD_SIZE", 1), address, watch)


def _meet(store: dist.Store, rank: int, size: int) -> str:
    """Return a word that all processes of this attempt have in common, and those before do not.

    Where torchrun starts the processes again, it keeps its store, with the addresses of the
    processes that have ended, and gloo would connect to these. So each process asks with a word of
    its own, and rank 0 answers who asks. Raises ConnectionError on rank 0 if one does not ask.
    """
    own = secrets.token_hex(8)
    if rank:
        store.set(f"alexnet/asks/{rank}", own)
        word: str = store.get(f"alexnet/answer/{own}").decode()
        store.set(f"alexnet/came/{word}/{rank}", "")
        return word
    missing, answered, ends = set(range(1, size)), set[bytes](), time.monotonic() + MEETING.seconds
    while missing:
        for other in sorted(missing):
            if store.check([f"alexnet/came/{own}/{other}"]):
                missing.discard(other)
            elif store.check([f"alexnet/asks/{other}"]):
                asked = store.get(f"alexnet/asks/{other}")
                if asked not in answered:
                    answered.add(asked)
                    store.set(f"alexnet/answer/{asked.decode()}", own)
        if time.monotonic() > ends:
            ranks = ", ".join(map(str, sorted(missing)))
            raise ConnectionError(f"rank {ranks} did not come in {MEETING.seconds} seconds")
        time.sleep(0.02)
    return own


def _read_number(name: str, default: int) -> int:
    """Read a number from the environment. Raises ValueError if it is none."""
    text = os.environ.get(name) or str(default)
    with contextlib.suppress(ValueError):
        if (number := int(text)) >= 0:
            return number
    raise ValueError(f"{name} is {text!r}, but must be a number, as torchrun sets it")


def _gather(value: Any, size: int) -> list[Any]:
    """Gather the JSON of all ranks: first its lengths, then its bytes, padded to the longest."""
    content = json.dumps(value).encode()
    length = torch.tensor([len(content)])
    lengths = [torch.empty_like(length) for _ in range(size)]
    dist.all_gather(lengths, length)
    longest = int(max(lengths))
    own = torch.zeros(longest, dtype=torch.uint8)
    own[: len(content)] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    parts = [torch.empty_like(own) for _ in range(size)]
    dist.all_gather(parts, own)
    texts = (bytes(part[: int(n)].tolist()) for part, n in zip(parts, lengths, strict=True))
    return [json.loads(text) for text in texts]
