"""A group of decoding processes for one pass over many images, with results in the order given.

An image that crashes or hangs its process is skipped and the pass continues (`decoder_process`
explains how). `packing` uses a group for each call; `decoder_pool` keeps groups between calls.

Jobs are sent to the processes before their results are needed, up to two limits: SLOTS jobs per
process, and IN_FLIGHT bytes of images in memory.

    source ──► next items ──► jobs: [ due │ … │ … │ newest ] ──► (item, result, record)
                                       │     each is with the process that was least busy
                                       └ waited for; the results of others may have arrived already
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing.connection import wait
from types import TracebackType

import numpy as np

from alexnet.images.decoder_process import (
    JOBS_PER_MESSAGE,
    SLOTS,
    DecoderProcess,
    DecodingJob,
    Item,
    Prepared,
    Record,
)
from alexnet.images.preparation import MAX_BYTES, PreparationResult, RecordOptions, prepare
from alexnet.sources.entry import Entry
from alexnet.sources.limits import IN_FLIGHT


class DecoderGroup:
    """At most `n_processes` decoding processes, each started when there are images for it.

    `timeout` is the number of seconds that one image may take.
    """

    def __init__(self, options: RecordOptions, n_processes: int, timeout: float) -> None:
        self.options, self.n_processes, self.timeout = options, n_processes, timeout
        self._processes: list[DecoderProcess] = []

    def __enter__(self) -> DecoderGroup:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes. The next image would start others."""
        for process in self._processes:
            process.close()
        self._processes.clear()

    def disown(self) -> None:
        """After a fork, in the child: drop the processes, which belong to the parent."""
        for process in self._processes:
            process.disown()
        self._processes.clear()

    def prepare(
        self, items: Iterable[Item | Prepared]
    ) -> Iterator[tuple[Item, PreparationResult | None, Record]]:
        """Yield every item in order, with its result and its record.

        The result is None for an item that the source has skipped. A record is valid only until the
        next item is requested. Only one pass may be in progress at a time.
        """
        own_record = np.empty(self.options.record_bytes, np.uint8)
        source, jobs = iter(items), deque[DecodingJob]()
        while True:
            self._take_items(jobs, source)
            if not jobs:
                return
            job = jobs.popleft()
            if isinstance(job.item, Prepared):
                yield job.item.entry, job.item.result, job.item.record
                continue
            if job.process is None:  # skipped, or already pixels: no decoder can crash on those
                result = None
                if isinstance(job.item, Entry):
                    result = prepare(job.item, self.options, own_record)
                yield job.item, result, own_record
                continue
            while job.result is None:
                self._receive_answers()
            assert job.record is not None
            yield job.item, job.result, job.record
            job.process.release(job)

    def _take_items(self, jobs: deque[DecodingJob], source: Iterator[Item | Prepared]) -> None:
        """Once there is room for JOBS_PER_MESSAGE more jobs per process, fill all places."""
        if len(jobs) > self.n_processes * (SLOTS - JOBS_PER_MESSAGE):
            return
        n_bytes = sum(_bytes_in_memory(job) for job in jobs)
        while len(jobs) < self.n_processes * SLOTS and n_bytes < IN_FLIGHT:
            item = next(source, None)
            if item is None:
                break
            jobs.append(job := DecodingJob(item))
            if isinstance(item, Entry) and _needs_decoder(item):
                self._least_busy().add(job)
            n_bytes += _bytes_in_memory(job)
        for process in self._processes:
            process.send_jobs()

    def _least_busy(self) -> DecoderProcess:
        """The process with the most free slots; a new one while all have JOBS_PER_MESSAGE to do."""
        process = max(self._processes, key=lambda process: len(process.free), default=None)
        all_busy = process is None or len(process.free) <= SLOTS - JOBS_PER_MESSAGE
        if process is None or (all_busy and len(self._processes) < self.n_processes):
            process = DecoderProcess(self.options, self.timeout)
            self._processes.append(process)
        return process

    def _receive_answers(self) -> None:
        """Wait for an answer, a death or a deadline of any process, and deal with each."""
        busy = [process for process in self._processes if process.waiting or not process.is_ready]
        seconds = max(0.0, min(process.time_left() for process in busy))
        readable = wait([process.pipe for process in busy], seconds)
        for process in busy:
            if process.pipe in readable:
                process.receive()
            elif process.time_left() <= 0:
                process.kill_hanging()


def _bytes_in_memory(job: DecodingJob) -> int:
    """Bytes that a job holds until it is used: pixels, or encoded bytes that are in no file."""
    if isinstance(job.item, Entry) and isinstance(job.item.content, np.ndarray):
        return job.item.content.nbytes
    return job.inbox_length or 0


def _needs_decoder(entry: Entry) -> bool:
    content = entry.content
    if isinstance(content, bytes):
        return len(content) <= MAX_BYTES  # `prepare` rejects larger ones without decoding them
    return not isinstance(content, np.ndarray)


def count_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1
