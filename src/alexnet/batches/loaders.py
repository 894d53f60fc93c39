"""Where the records of a training live, and how they become batches from there.

On a CPU everything happens in a thread while the network works. On a GPU records stay uint8 until
they are there: either all of them from the start, or each batch on its own stream.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.batches.augment import Draw, Preprocessing, augment
from alexnet.device import Machine
from alexnet.packs.pack import Split

Made = TypeVar("Made")
BLOCK_BYTES = 64 << 20
"""Read from the shards at once: large enough that starting a copy costs nothing beside it."""
GATHER_THREADS = 8
"""At most so many threads gather a batch: by then memory, not the processor, is the limit."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Images on their way through one step."""

    images: Tensor
    """N 3 crop crop float, channels_last, on the device."""
    labels: Tensor
    """N int64, on the device."""
    indices: NDArray[np.int64]
    """N: their places in the split."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What an epoch consists of, position by position."""

    indices: NDArray[np.int64]
    draw: Draw
    batch_size: int
    color_noise: float

    def at(self, step: int) -> slice:
        """The positions of a step."""
        return slice(step * self.batch_size, (step + 1) * self.batch_size)


class Loader(Protocol):
    """Makes the batches of a plan. A batch's memory is used again two steps later."""

    def batches(self, plan: Plan, steps: range) -> Iterator[tuple[Batch, float]]:
        """Each batch of these steps, and the seconds that were spent waiting for it."""
        ...


class OnHost:
    """Records in memory-mapped files, batches made by a thread of this process."""

    def __init__(self, split: Split, preprocessing: Preprocessing, batch_size: int) -> None:
        self.split, self.preprocessing = split, preprocessing
        shape = batch_size, 3, preprocessing.crop, preprocessing.crop
        self.images = [torch.empty(shape, memory_format=torch.channels_last) for _ in range(2)]
        self.records = [np.empty((batch_size, *split.shape), np.uint8) for _ in range(2)]

    def batches(self, plan: Plan, steps: range) -> Iterator[tuple[Batch, float]]:
        """See Home."""

        def make(step: int) -> Batch:
            at, slot = plan.at(step), step % 2
            indices = plan.indices[at]
            records = self.split.gather(indices, self.records[slot][: len(indices)])
            images = self.images[slot][: len(indices)]
            augment(
                records, plan.draw[at], self.preprocessing, color_noise=plan.color_noise, out=images
            )
            return Batch(images, torch.from_numpy(self.split.labels[indices]), indices)

        return prefetch(make, steps)


class Resident:
    """All records in the memory of the GPU."""

    def __init__(
        self, split: Split, preprocessing: Preprocessing, batch_size: int, machine: Machine
    ) -> None:
        self.preprocessing, device = preprocessing, machine.device
        self.records = torch.empty((len(split), *split.shape), dtype=torch.uint8, device=device)
        fill(self.records, split.shards)
        self.labels = torch.from_numpy(split.labels).to(device)
        shape = batch_size, 3, preprocessing.crop, preprocessing.crop
        self.images = torch.empty(shape, dtype=machine.dtype, device=device).contiguous(
            memory_format=torch.channels_last
        )

    def batches(self, plan: Plan, steps: range) -> Iterator[tuple[Batch, float]]:
        """See Home. Nothing is waited for: every batch is two launches."""
        device = self.records.device
        sequence, draw = torch.from_numpy(plan.indices).to(device), plan.draw.to(device)
        for step in steps:
            at = plan.at(step)
            some = sequence[at]
            images = augment(
                self.records,
                draw[at],
                self.preprocessing,
                color_noise=plan.color_noise,
                indices=some,
                out=self.images[: len(some)],
                dtype=self.images.dtype,
            )
            yield Batch(images, self.labels[some], plan.indices[at]), 0.0


class Streamed:
    """Records on the host; each batch crosses as uint8 on a stream of its own, one step ahead."""

    def __init__(
        self, split: Split, preprocessing: Preprocessing, batch_size: int, machine: Machine
    ) -> None:
        self.split, self.preprocessing = split, preprocessing
        self.dtype, self.device = machine.dtype, machine.device
        shape = batch_size, *split.shape
        self.pinned = [torch.empty(shape, dtype=torch.uint8, pin_memory=True) for _ in range(2)]
        self.crossed = [torch.empty(shape, dtype=torch.uint8, device=self.device) for _ in range(2)]
        self.labels = torch.from_numpy(split.labels).to(self.device)
        self.every = torch.arange(batch_size, device=self.device)
        self.used = [torch.cuda.Event() for _ in range(2)]
        self.stream = torch.cuda.Stream(self.device)
        self.gatherers = Gatherers()

    def batches(self, plan: Plan, steps: range) -> Iterator[tuple[Batch, float]]:
        """See Home."""
        sequence, draw = torch.from_numpy(plan.indices).to(self.device), plan.draw.to(self.device)

        def cross(step: int) -> tuple[Tensor, int]:
            indices, slot = plan.indices[plan.at(step)], step % 2
            pinned, crossed = (x[slot][: len(indices)] for x in (self.pinned, self.crossed))
            self.gatherers.gather(self.split, indices, pinned.numpy())
            with torch.cuda.stream(self.stream):
                self.stream.wait_event(self.used[slot])
                crossed.copy_(pinned, non_blocking=True)
            self.stream.synchronize()  # in this thread alone: the pinned memory is free again
            return crossed, step

        for (records, step), waited in prefetch(cross, steps):
            at = plan.at(step)
            images = augment(
                records,
                draw[at],
                self.preprocessing,
                color_noise=plan.color_noise,
                indices=self.every[: len(records)],
                dtype=self.dtype,
            )
            self.used[step % 2].record()
            yield Batch(images, self.labels[sequence[at]], plan.indices[at]), waited


class Gatherers:
    """Threads that share the rows of a batch among them: copying memory needs no lock of Python."""

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or min(GATHER_THREADS, os.cpu_count() or 1)
        self.pool = ThreadPoolExecutor(self.threads, thread_name_prefix="gather")

    def gather(self, split: Split, indices: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Copy the records of these members of a split into `out`, uint8 N record…"""
        rows = -(-len(indices) // self.threads) or 1
        parts = [slice(begin, begin + rows) for begin in range(0, len(indices), rows)]
        at_work = [self.pool.submit(split.gather, indices[part], out[part]) for part in parts]
        for part in at_work:
            part.result()


class Crossing:
    """Copies from the host to a device; to a GPU on a stream of its own, beside other work."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        if self.stream is not None:  # the target may be memory that is still in use there
            self.stream.wait_stream(torch.cuda.current_stream(device))

    def copy(self, target: Tensor, source: Tensor) -> Callable[[], None]:
        """Begin to copy; the function returned waits until `source` may be written again."""
        if self.stream is None:
            target.copy_(source)
            return _wait_for_nothing
        with torch.cuda.stream(self.stream):
            target.copy_(source, non_blocking=True)
        done = torch.cuda.Event()
        done.record(self.stream)
        return done.synchronize


def _wait_for_nothing() -> None:
    pass


def fill(
    records: Tensor, shards: Iterable[NDArray[np.uint8]], block_bytes: int = BLOCK_BYTES
) -> None:
    """Copy shards, one after the other, into `records`: uint8 N record…, on any device.

    A thread reads a block of them into one of two buffers while the other crosses to the device.
    The host holds no more of them than that.
    """
    device, record = records.device, records.shape[1:]
    blocks = list(_blocks(shards, max(1, block_bytes // record.numel())))
    shape = max((len(block) for _, block in blocks), default=0), *record
    pinned = device.type == "cuda"
    buffers = [torch.empty(shape, dtype=torch.uint8, pin_memory=pinned) for _ in range(2)]
    crossing, wait_for = Crossing(device), [_wait_for_nothing] * 2

    def read(number: int) -> tuple[Tensor, Tensor]:
        begin, block = blocks[number]
        wait_for[number % 2]()  # the buffer's last block may still be crossing
        buffer = buffers[number % 2][: len(block)]
        np.copyto(buffer.numpy(), block)
        return records[begin : begin + len(block)], buffer

    for number, ((target, buffer), _) in enumerate(prefetch(read, range(len(blocks)))):
        wait_for[number % 2] = crossing.copy(target, buffer)
    for wait in wait_for:
        wait()


def _blocks(
    shards: Iterable[NDArray[np.uint8]], rows: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Views of at most so many records of a shard, and the place of the first among all."""
    place = 0
    for shard in shards:
        for begin in range(0, len(shard), rows):
            block = shard[begin : begin + rows]
            yield place, block
            place += len(block)


def choose_loader(
    split: Split, preprocessing: Preprocessing, batch_size: int, machine: Machine, room: int = 0
) -> Loader:
    """The best home on a machine: the GPU's memory where all records fit, else the host's.

    `room`: bytes of the GPU to leave free for training (`learn.memory.count_step_memory`). Raises
    MemoryError where the records have to be on the GPU and are larger than what is free there.
    """
    device, records = machine.device, len(split) * int(np.prod(split.shape))
    if device.type != "cuda":
        return OnHost(split, preprocessing, batch_size)
    free, _ = torch.cuda.mem_get_info(device)
    if machine.resident == "yes" and records > free:
        raise MemoryError(
            f"the records of {len(split):,} training images take {records / 1e9:.1f} GB, and "
            f"{device} has {free / 1e9:.1f} GB free. Leave --resident yes out, and they are "
            "streamed to it, or pack with --pixels yuv420, which halves them"
        )
    fits = records + room < free if machine.resident == "auto" else machine.resident == "yes"
    return (Resident if fits else Streamed)(split, preprocessing, batch_size, machine)


def prefetch(make: Callable[[int], Made], steps: range) -> Iterator[tuple[Made, float]]:
    """make(step) of every step, each made while the one before is used, and the seconds waited."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
        coming = [thread.submit(make, step) for step in steps[:1]]
        for next_step in [*steps[1:], None]:
            if not coming:
                return
            began = time.monotonic()
            made = coming.pop().result()
            waited = time.monotonic() - began
            if next_step is not None:
                coming.append(thread.submit(make, next_step))
            yield made, waited
