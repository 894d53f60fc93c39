"""Where the records of a training live, and how they become batches from there.

On a CPU everything happens in a thread while the network works. On a GPU records stay uint8 until
they are there: either all of them from the start, or each batch on its own stream.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.data.augment import Draw, Preprocessing, augment
from alexnet.data.dataset import Split
from alexnet.learn.devices import Machine

Made = TypeVar("Made")
ROOM_FOR_TRAINING = 12 << 30
"""Bytes of a GPU that the weights and activations of a training may need."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Images on their way through one step."""

    images: Tensor
    """N 3 crop crop float, channels_last, on the device."""
    labels: Tensor
    """N int64, on the device."""
    members: NDArray[np.int64]
    """N: their places in the split."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What an epoch consists of, position by position."""

    members: NDArray[np.int64]
    draw: Draw
    batch_size: int
    color_noise: float

    def at(self, step: int) -> slice:
        """The positions of a step."""
        return slice(step * self.batch_size, (step + 1) * self.batch_size)


class Home(Protocol):
    """Makes the batches of a plan. A batch's memory is used again two steps later."""

    def batches(self, plan: Plan, steps: range) -> Iterator[tuple[Batch, float]]:
        """Each batch of these steps, and the seconds that were spent waiting for it."""
        ...


class OnHost:
    """Records in memory-mapped files, batches made by a thread of this process."""

    def __init__(self, split: Split, how: Preprocessing, batch_size: int) -> None:
        self.split, self.how = split, how
        shape = batch_size, 3, how.crop, how.crop
        self.images = [torch.empty(shape, memory_format=torch.channels_last) for _ in range(2)]
        self.records = [np.empty((batch_size, *split.shape), np.uint8) for _ in range(2)]

    def batches(self, plan: Plan, steps: range) -> Iterator[tuple[Batch, float]]:
        """See Home."""

        def make(step: int) -> Batch:
            at, slot = plan.at(step), step % 2
            members = plan.members[at]
            records = self.split.gather(members, self.records[slot][: len(members)])
            images = self.images[slot][: len(members)]
            augment(records, plan.draw[at], self.how, color_noise=plan.color_noise, out=images)
            return Batch(images, torch.from_numpy(self.split.labels[members]), members)

        return ahead(make, steps)


class Resident:
    """All records in the memory of the GPU."""

    def __init__(self, split: Split, how: Preprocessing, batch_size: int, machine: Machine) -> None:
        self.how, device = how, machine.device
        self.records = torch.empty((len(split), *split.shape), dtype=torch.uint8, device=device)
        begin = 0
        for shard in split.shards:
            self.records[begin : begin + len(shard)] = torch.from_numpy(np.array(shard))
            begin += len(shard)
        self.labels = torch.from_numpy(split.labels).to(device)
        shape = batch_size, 3, how.crop, how.crop
        self.images = torch.empty(shape, dtype=machine.dtype, device=device).contiguous(
            memory_format=torch.channels_last
        )

    def batches(self, plan: Plan, steps: range) -> Iterator[tuple[Batch, float]]:
        """See Home. Nothing is waited for: every batch is two launches."""
        device = self.records.device
        sequence, draw = torch.from_numpy(plan.members).to(device), plan.draw.to(device)
        for step in steps:
            at = plan.at(step)
            some = sequence[at]
            images = augment(
                self.records,
                draw[at],
                self.how,
                color_noise=plan.color_noise,
                indices=some,
                out=self.images[: len(some)],
                dtype=self.images.dtype,
            )
            yield Batch(images, self.labels[some], plan.members[at]), 0.0


class Streamed:
    """Records on the host; each batch crosses as uint8 on a stream of its own, one step ahead."""

    def __init__(self, split: Split, how: Preprocessing, batch_size: int, machine: Machine) -> None:
        self.split, self.how = split, how
        self.dtype, self.device = machine.dtype, machine.device
        shape = batch_size, *split.shape
        self.pinned = [torch.empty(shape, dtype=torch.uint8, pin_memory=True) for _ in range(2)]
        self.crossed = [torch.empty(shape, dtype=torch.uint8, device=self.device) for _ in range(2)]
        self.labels = torch.from_numpy(split.labels).to(self.device)
        self.every = torch.arange(batch_size, device=self.device)
        self.used = [torch.cuda.Event() for _ in range(2)]
        self.stream = torch.cuda.Stream(self.device)

    def batches(self, plan: Plan, steps: range) -> Iterator[tuple[Batch, float]]:
        """See Home."""
        sequence, draw = torch.from_numpy(plan.members).to(self.device), plan.draw.to(self.device)

        def cross(step: int) -> tuple[Tensor, int]:
            members, slot = plan.members[plan.at(step)], step % 2
            pinned, crossed = (x[slot][: len(members)] for x in (self.pinned, self.crossed))
            self.split.gather(members, pinned.numpy())
            with torch.cuda.stream(self.stream):
                self.stream.wait_event(self.used[slot])
                crossed.copy_(pinned, non_blocking=True)
            self.stream.synchronize()  # in this thread alone: the pinned memory is free again
            return crossed, step

        for (records, step), waited in ahead(cross, steps):
            at = plan.at(step)
            images = augment(
                records,
                draw[at],
                self.how,
                color_noise=plan.color_noise,
                indices=self.every[: len(records)],
                dtype=self.dtype,
            )
            self.used[step % 2].record()
            yield Batch(images, self.labels[sequence[at]], plan.members[at]), waited


def home_for(split: Split, how: Preprocessing, batch_size: int, machine: Machine) -> Home:
    """The best home on a machine: the GPU's memory where all records fit, else the host's."""
    if machine.device.type != "cuda":
        return OnHost(split, how, batch_size)
    free, _ = torch.cuda.mem_get_info(machine.device)
    needed = len(split) * int(np.prod(split.shape)) + ROOM_FOR_TRAINING
    fits = needed < free if machine.resident == "auto" else machine.resident == "yes"
    return (Resident if fits else Streamed)(split, how, batch_size, machine)


def ahead(make: Callable[[int], Made], steps: range) -> Iterator[tuple[Made, float]]:
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
