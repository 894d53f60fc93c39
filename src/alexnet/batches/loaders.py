"""Loaders, which bring the batches of an epoch to the device.

=================  =======================  ==============================  ======================
loader             records are kept         sent to the device              cropped and augmented
=================  =======================  ==============================  ======================
HostLoader         in memory-mapped files   (the device is the CPU)         by a background thread
ResidentLoader     in the GPU's memory      once, before the first epoch    on the GPU
StreamingLoader    in memory-mapped files   as uint8, one batch ahead       on the GPU
=================  =======================  ==============================  ======================

All three give the same batches; `choose_loader` takes the fastest one that fits. `epochs.Batches`
calls this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.batches.augment import AugmentationParams, augment
from alexnet.batches.preprocessing import Preprocessing
from alexnet.batches.transfer import GatherThreads, RecordStream, fill_from_shards, prefetch
from alexnet.device import Machine
from alexnet.packs.pack import Split


@dataclass(frozen=True, eq=False)
class Batch:
    """The images of one step, ready for the network."""

    images: Tensor
    """Float (N, 3, crop, crop), channels_last, on the device."""
    labels: Tensor
    """int64 (N,), on the device."""
    indices: NDArray[np.int64]
    """The images' indices in the split: int64 (N,)."""


@dataclass(frozen=True, eq=False)
class EpochPlan:
    """The images of an epoch in order, with the augmentation parameters of each."""

    indices: NDArray[np.int64]
    """Index in the split of the image at every position of the epoch: int64 (images,)."""
    params: AugmentationParams
    """The augmentation at every position of the epoch."""
    batch_size: int
    color_noise: float
    """The recipe's color noise in this epoch: the images are divided by 1 + color_noise."""
    find_rows: Callable[[int], range] = range
    """Of a batch of so many images, which ones this process computes: consecutive rows."""

    def positions(self, step: int) -> slice:
        """The positions of the epoch that make up one step, or this process's share of it."""
        start = step * self.batch_size
        rows = self.find_rows(min(self.batch_size, len(self.indices) - start))
        return slice(start + rows.start, start + rows.stop)


class Loader(Protocol):
    """Yields the batches of an epoch.

    A batch is valid only until the next one is requested, because its memory may be reused.
    """

    def batches(self, plan: EpochPlan, steps: range) -> Iterator[tuple[Batch, float]]:
        """Yield the batch of each step, and the seconds that were spent waiting for it."""
        ...


class HostLoader:
    """Keeps the records in memory-mapped files; a background thread makes batches on the CPU."""

    def __init__(self, split: Split, preprocessing: Preprocessing, batch_size: int) -> None:
        self.split, self.preprocessing = split, preprocessing
        shape = batch_size, 3, preprocessing.crop, preprocessing.crop
        self.images = [torch.empty(shape, memory_format=torch.channels_last) for _ in range(2)]
        self.records = [np.empty((batch_size, *split.shape), np.uint8) for _ in range(2)]

    def batches(self, plan: EpochPlan, steps: range) -> Iterator[tuple[Batch, float]]:
        """Yield the batch of each step: see `Loader.batches`."""

        def make(step: int) -> Batch:
            positions, slot = plan.positions(step), step % 2
            indices = plan.indices[positions]
            images = augment(
                self.split.gather(indices, self.records[slot][: len(indices)]),
                plan.params[positions],
                self.preprocessing,
                color_noise=plan.color_noise,
                out=self.images[slot][: len(indices)],
            )
            return Batch(images, torch.from_numpy(self.split.labels[indices]), indices)

        return prefetch(map(make, steps))


class ResidentLoader:
    """Keeps all records in the memory of the GPU, where each batch is cropped from them."""

    def __init__(
        self, split: Split, preprocessing: Preprocessing, batch_size: int, machine: Machine
    ) -> None:
        self.preprocessing, device = preprocessing, machine.device
        self.records = torch.empty((len(split), *split.shape), dtype=torch.uint8, device=device)
        fill_from_shards(self.records, split.shards)
        self.labels = torch.from_numpy(split.labels).to(device)
        shape = batch_size, 3, preprocessing.crop, preprocessing.crop
        self.images = torch.empty(shape, dtype=machine.dtype, device=device).contiguous(
            memory_format=torch.channels_last
        )

    def batches(self, plan: EpochPlan, steps: range) -> Iterator[tuple[Batch, float]]:
        """Yield the batch of each step: see `Loader.batches`.

        The waiting time is always 0: the records, their order and the augmentation parameters are
        on the GPU already, and the kernels are only queued.
        """
        device = self.records.device
        order, params = torch.from_numpy(plan.indices).to(device), plan.params.to(device)
        for step in steps:
            positions = plan.positions(step)
            indices = order[positions]
            images = augment(
                self.records,
                params[positions],
                self.preprocessing,
                color_noise=plan.color_noise,
                indices=indices,
                out=self.images[: len(indices)],
                dtype=self.images.dtype,
            )
            yield Batch(images, self.labels[indices], plan.indices[positions]), 0.0


class StreamingLoader:
    """Keeps the records on the host; each batch is copied to the GPU as uint8, one step ahead."""

    def __init__(
        self, split: Split, preprocessing: Preprocessing, batch_size: int, machine: Machine
    ) -> None:
        self.preprocessing, self.dtype, self.device = preprocessing, machine.dtype, machine.device
        self.record_stream = RecordStream(split, batch_size, machine.device, GatherThreads().gather)
        self.labels = torch.from_numpy(split.labels).to(self.device)
        self.rows = torch.arange(batch_size, device=self.device)

    def batches(self, plan: EpochPlan, steps: range) -> Iterator[tuple[Batch, float]]:
        """Yield the batch of each step: see `Loader.batches`."""
        order, params = torch.from_numpy(plan.indices).to(self.device), plan.params.to(self.device)
        copies = self.record_stream.copies(plan.indices[plan.positions(step)] for step in steps)
        for step, (streamed, waited) in zip(steps, copies, strict=True):
            positions = plan.positions(step)
            images = augment(
                streamed.records,
                params[positions],
                self.preprocessing,
                color_noise=plan.color_noise,
                indices=self.rows[: len(streamed.records)],
                dtype=self.dtype,
            )
            streamed.used.record()
            yield Batch(images, self.labels[order[positions]], streamed.indices), waited


def choose_loader(
    split: Split,
    preprocessing: Preprocessing,
    batch_size: int,
    machine: Machine,
    reserved_bytes: int = 0,
) -> Loader:
    """Choose the fastest loader on a machine: the GPU's memory if all records fit, else the host.

    `reserved_bytes` is the GPU memory to leave free for training (`training.memory`). Raises
    MemoryError if the user asked for resident records and they are larger than the GPU's free
    memory.
    """
    device, record_bytes = machine.device, len(split) * int(np.prod(split.shape))
    if device.type != "cuda":
        return HostLoader(split, preprocessing, batch_size)
    free, _ = torch.cuda.mem_get_info(device)
    if machine.resident == "yes" and record_bytes > free:
        raise MemoryError(
            f"the records of {len(split):,} training images take {record_bytes / 1e9:.1f} GB, and "
            f"{device} has {free / 1e9:.1f} GB free. Leave --resident yes out, and they are "
            "streamed to it, or pack with --pixels yuv420, which halves them"
        )
    if machine.resident == "auto":
        fits = record_bytes + reserved_bytes < free
    else:
        fits = machine.resident == "yes"
    loader = ResidentLoader if fits else StreamingLoader
    return loader(split, preprocessing, batch_size, machine)
