"""Moving records to the device while the network runs: prefetch, gathering threads, GPU copies.

Everything here uses two buffers in turn, so that one can be filled while the other is used::

    thread   | fill 0 | fill 1 |        fill 0 |        fill 1 | …
    network           |  use 0          |  use 1        |  use 0     …

`loaders` and `views` call this module. It knows nothing of preprocessing or of epochs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.packs.pack import Split

Item = TypeVar("Item")
BLOCK_BYTES = 64 << 20
"""Bytes that are read from the shards at a time: large enough that the cost of starting a copy does
not matter."""
GATHER_THREADS = 8
"""The largest number of threads that gather a batch. With more, memory bandwidth is the limit."""
END: Any = object()


def prefetch(items: Iterator[Item]) -> Iterator[tuple[Item, float]]:
    """Yield each item, made by a background thread while the caller uses the item before it.

    Yields (item, seconds spent waiting for it). An exception of `items` is raised here, in the
    caller's thread. To make items from a function: ``prefetch(map(make, steps))``.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as thread:
        future = thread.submit(next, items, END)
        while True:
            began = time.monotonic()
            item = future.result()
            waited = time.monotonic() - began
            if item is END:
                return
            future = thread.submit(next, items, END)
            yield item, waited


class GatherThreads:
    """Threads that gather the records of a batch together.

    Copying memory releases Python's lock, so they run at the same time.
    """

    def __init__(self, threads: int | None = None) -> None:
        """`threads`: by default one per processor core, at most GATHER_THREADS."""
        self.threads = threads or min(GATHER_THREADS, os.cpu_count() or 1)
        self.pool = ThreadPoolExecutor(self.threads, thread_name_prefix="gather")

    def gather(self, split: Split, indices: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Copy the records at `indices` of a split into `out`: uint8 (N, *record_shape)."""
        rows = -(-len(indices) // self.threads) or 1
        parts = [slice(begin, begin + rows) for begin in range(0, len(indices), rows)]
        futures = [self.pool.submit(split.gather, indices[part], out[part]) for part in parts]
        for future in futures:
            future.result()


class StreamedRecords(NamedTuple):
    """The records of one batch on the GPU."""

    indices: NDArray[np.int64]
    """Their indices in the split: int64 (N,)."""
    records: Tensor
    """uint8 (N, *record_shape)."""
    used: torch.cuda.Event
    """To be recorded by the caller after its last use of `records`: only then are they overwritten
    by the records of the batch after the next one."""


class RecordStream:
    """Copies the records of batches to a GPU, one batch ahead, on a separate CUDA stream.

    A background thread gathers the records into pinned memory and sends them to the GPU. The caller
    waits only for that thread, never for the work that it has queued on the GPU.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        device: torch.device,
        gather: Callable[[Split, NDArray[np.int64], NDArray[np.uint8]], Any],
    ) -> None:
        """`gather(split, indices, out)` copies the records at `indices` into `out`."""
        self.split, self.gather = split, gather
        shape = batch_size, *split.shape
        self.pinned = [torch.empty(shape, dtype=torch.uint8, pin_memory=True) for _ in range(2)]
        self.on_device = [torch.empty(shape, dtype=torch.uint8, device=device) for _ in range(2)]
        self.used = [torch.cuda.Event() for _ in range(2)]
        self.stream = torch.cuda.Stream(device)

    def copies(
        self, batches: Iterable[NDArray[np.int64]]
    ) -> Iterator[tuple[StreamedRecords, float]]:
        """Yield the records at the indices of every batch, and the seconds spent waiting."""
        return prefetch(self._copy(i % 2, indices) for i, indices in enumerate(batches))

    def _copy(self, slot: int, indices: NDArray[np.int64]) -> StreamedRecords:
        pinned, records = (x[slot][: len(indices)] for x in (self.pinned, self.on_device))
        self.gather(self.split, indices, pinned.numpy())
        with torch.cuda.stream(self.stream):
            self.stream.wait_event(self.used[slot])
            records.copy_(pinned, non_blocking=True)
        self.stream.synchronize()  # only this thread waits: then the pinned memory is free again
        return StreamedRecords(indices, records, self.used[slot])


class CopyStream:
    """Copies from the host to a device; to a GPU on a separate stream, parallel to other work."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        if self.stream is not None:  # earlier work on the device may still use the target's memory
            self.stream.wait_stream(torch.cuda.current_stream(device))

    def copy(self, target: Tensor, source: Tensor) -> Callable[[], None]:
        """Start a copy. The returned function waits until `source` may be overwritten."""
        if self.stream is None:
            target.copy_(source)
            return _return_at_once
        with torch.cuda.stream(self.stream):
            target.copy_(source, non_blocking=True)
        done = torch.cuda.Event()
        done.record(self.stream)
        return done.synchronize


def _return_at_once() -> None:
    """Stands for waiting where the copy is already complete."""


def fill_from_shards(
    records: Tensor, shards: Iterable[NDArray[np.uint8]], block_bytes: int = BLOCK_BYTES
) -> None:
    """Copy all shards, one after the other, into `records`: uint8 (N, *record_shape), any device.

    A thread reads one block of records into one of two buffers while the other buffer is copied to
    the device. The host holds no more than these two blocks.
    """
    device, record = records.device, records.shape[1:]
    blocks = list(_split_into_blocks(shards, max(1, block_bytes // record.numel())))
    shape = max((len(block) for _, block in blocks), default=0), *record
    pinned = device.type == "cuda"
    buffers = [torch.empty(shape, dtype=torch.uint8, pin_memory=pinned) for _ in range(2)]
    stream, wait_for_copy = CopyStream(device), [_return_at_once] * 2

    def read(number: int) -> tuple[Tensor, Tensor]:
        begin, block = blocks[number]
        wait_for_copy[number % 2]()  # the buffer's previous block may still be being copied
        buffer = buffers[number % 2][: len(block)]
        np.copyto(buffer.numpy(), block)
        return records[begin : begin + len(block)], buffer

    for number, ((target, buffer), _) in enumerate(prefetch(map(read, range(len(blocks))))):
        wait_for_copy[number % 2] = stream.copy(target, buffer)
    for wait in wait_for_copy:
        wait()


def _split_into_blocks(
    shards: Iterable[NDArray[np.uint8]], rows: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield parts of at most `rows` records of one shard, with the index of their first record."""
    index = 0
    for shard in shards:
        for begin in range(0, len(shard), rows):
            block = shard[begin : begin + rows]
            yield index, block
            index += len(block)
