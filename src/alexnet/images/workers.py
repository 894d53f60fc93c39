"""Decoding processes that may crash or hang: what they were decoding is given up, the run goes on.

They are ordinary child processes with a pipe and shared memory, not multiprocessing's: nothing of
the caller's program is imported again, and a script needs no `if __name__ == "__main__"`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import mmap
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Pipe, wait
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

import alexnet
from alexnet.images.prepare import MAX_BYTES, Content, Options, Outcome, mark, prepare
from alexnet.sources.entry import Entry, Skipped
from alexnet.sources.limits import IN_FLIGHT

PROGRAM = Path(__file__).with_name("worker.py")
DEPTH = 16
"""Images a worker has been given and whose records have not been taken, at most."""
HANDFUL = 4
"""Images a worker is given at a time: every message costs two processes a switch."""
LARGE = 1 << 20
"""Encoded bytes whose memory is given back at once; less is written over soon."""
ATTEMPTS = 2
"""A worker can die of something else than its image, such as a lack of memory; once."""
START_SECONDS = 120.0
"""A first start compiles; on a busy machine that takes a while."""

Item = Entry | Skipped
Record = NDArray[np.uint8]


@dataclass(eq=False)
class Job:
    """One item on its way: where its record will be, and what became of it."""

    item: Item
    record: Record | None = None
    worker: Worker | None = None
    slot: int = -1
    inbox: int | None = None
    """Length of its encoded bytes, if they were put into the inbox."""
    attempts: int = 0
    outcome: Outcome | None = None

    @property
    def task(self) -> tuple[int, Item, int | None]:
        """What its worker is told."""
        return self.slot, self.item, self.inbox


class Worker:
    """A process, the memory it shares with this one, and the jobs that it has."""

    def __init__(self, options: Options, timeout: float) -> None:
        self.options, self.timeout = options, timeout
        self.waiting: deque[Job] = deque()
        self._memory = _memory(DEPTH * options.record_bytes)
        self._inbox = _memory(0)  # grows; sparse, so that only what is written takes space
        shared = mmap.mmap(self._memory.fileno(), 0)
        self.records: Record = np.frombuffer(shared, np.uint8).reshape(DEPTH, -1)
        self.free = list(range(DEPTH))
        self.start()

    def start(self) -> None:
        """Start a process, or another one in the place of one that is gone."""
        self.pipe, theirs = Pipe()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        files = theirs.fileno(), self._memory.fileno(), self._inbox.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(PROGRAM), *map(str, files)],
            pass_fds=files,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
        )
        theirs.close()
        self._send(self.options)
        self.ready, self.since = False, time.monotonic()
        self._given = 0  # so many of those that wait it has been sent
        self.hand_over()

    def take(self, job: Job) -> None:
        """Have a job that will be handed over with others; there must be a free slot."""
        job.worker, job.slot = self, self.free.pop()
        job.record = self.records[job.slot]
        self._post(job)
        self.waiting.append(job)
        if len(self.waiting) - self._given == HANDFUL:
            self.hand_over()

    def hand_over(self) -> None:
        """Send the jobs that the process does not have yet."""
        new = list(self.waiting)[self._given :]
        if not new:
            return
        if not self._given and self.ready:  # it was idle: its time begins now
            self.since = time.monotonic()
        self._given = len(self.waiting)
        self._send([job.task for job in new])

    def _post(self, job: Job) -> None:
        """Put encoded bytes into shared memory: a long message to a hanging process would block."""
        if isinstance(job.item, Entry) and isinstance(job.item.content, bytes):
            os.pwrite(self._inbox.fileno(), job.item.content, job.slot * MAX_BYTES)
            job.inbox = len(job.item.content)
            job.item = dataclasses.replace(job.item, content=b"")

    def free_slot(self, job: Job) -> None:
        """Have its slot for another job, and give the memory of its encoded bytes back."""
        if job.inbox is not None and job.inbox > LARGE and hasattr(mmap, "MADV_REMOVE"):
            with mmap.mmap(self._inbox.fileno(), job.inbox, offset=job.slot * MAX_BYTES) as bytes_:
                bytes_.madvise(mmap.MADV_REMOVE)
        self.free.append(job.slot)

    def _send(self, message: object) -> None:
        with contextlib.suppress(OSError):  # just died: its successor will be sent it again
            self.pipe.send(message)

    def hear(self) -> None:
        """Take one answer; of a dead process, give up or repeat what it was doing."""
        try:
            answer = self.pipe.recv()
        except (EOFError, OSError):
            self._replace("decoder_crashed", f"the decoder ended with {_end(self.process)}")
            return
        self.since = time.monotonic()
        if self.ready:
            self._pop().outcome = answer
        self.ready = True

    def time_left(self) -> float:
        """Seconds until it counts as hanging."""
        allowed = self.timeout if self.ready else START_SECONDS
        return self.since + allowed - time.monotonic()

    def give_up(self) -> None:
        """Stop a process that hangs."""
        self.process.kill()
        self._replace("decoder_hung", f"no answer from the decoder in {self.timeout:g} s")

    def _replace(self, reason: str, detail: str) -> None:
        self.stop()
        if not self.ready:
            self._errors.seek(0)
            errors = self._errors.read().decode("utf-8", "replace").strip()
            raise RuntimeError(f"a decoding process did not start ({detail}): {errors[-2000:]}")
        job = self.waiting[0]
        job.attempts += 1
        if job.attempts == ATTEMPTS:
            self._pop().outcome = Outcome(mark(self._content(job)), reason, detail)
        self._errors.close()
        self.start()

    def _pop(self) -> Job:
        self._given -= 1
        return self.waiting.popleft()

    def _content(self, job: Job) -> Content:
        assert isinstance(job.item, Entry)
        if job.inbox is None:
            return job.item.content
        return os.pread(self._inbox.fileno(), job.inbox, job.slot * MAX_BYTES)

    def stop(self) -> None:
        """End the process."""
        self.pipe.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """End the process and let go of the memory."""
        self.stop()
        self._errors.close()
        self._memory.close()
        self._inbox.close()


class Workers:
    """Decoding processes, so many at most, each started when there are images for it."""

    def __init__(self, options: Options, processes: int, timeout: float) -> None:
        self.options, self.processes, self.timeout = options, processes, timeout
        self._workers: list[Worker] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes. The next image would start others."""
        for worker in self._workers:
            worker.close()
        self._workers.clear()

    def forget(self) -> None:
        """Let go of processes that are another's: after a fork they belong to the parent."""
        for worker in self._workers:
            worker.process.returncode = 0  # so that nobody waits for it
        self._workers.clear()

    def prepare(self, items: Iterable[Item]) -> Iterator[tuple[Item, Outcome | None, Record]]:
        """Every item in order, with its outcome and its record; None for what a source skipped.

        A record is only valid until the next item is asked for.
        """
        own = np.empty(self.options.record_bytes, np.uint8)
        source, jobs = iter(items), deque[Job]()
        while True:
            self._fill(jobs, source)
            if not jobs:
                return
            job = jobs.popleft()
            if job.worker is None:  # skipped, or pixels already: no decoder can crash on those
                mine = isinstance(job.item, Entry) and prepare(job.item, self.options, own)
                yield job.item, mine or None, own
                continue
            while job.outcome is None:
                self._listen()
            assert job.record is not None
            yield job.item, job.outcome, job.record
            job.worker.free_slot(job)

    def _fill(self, jobs: deque[Job], source: Iterator[Item]) -> None:
        """Where there is room for a handful each, take as many items as there is room for."""
        if len(jobs) > self.processes * (DEPTH - HANDFUL):
            return
        waiting = sum(_bytes_in_memory(job) for job in jobs)
        while len(jobs) < self.processes * DEPTH and waiting < IN_FLIGHT:
            item = next(source, None)
            if item is None:
                break
            jobs.append(job := Job(item))
            if isinstance(item, Entry) and _needs_decoder(item):
                self._idlest().take(job)
            waiting += _bytes_in_memory(job)
        for worker in self._workers:
            worker.hand_over()

    def _idlest(self) -> Worker:
        """The worker with the most free slots; a new one as long as all have a handful to do."""
        worker = max(self._workers, key=lambda worker: len(worker.free), default=None)
        some = worker is None or len(worker.free) <= DEPTH - HANDFUL
        if worker is None or (some and len(self._workers) < self.processes):
            worker = Worker(self.options, self.timeout)
            self._workers.append(worker)
        return worker

    def _listen(self) -> None:
        """Wait for an answer, a death or a deadline."""
        busy = [worker for worker in self._workers if worker.waiting or not worker.ready]
        patience = max(0.0, min(worker.time_left() for worker in busy))
        heard = wait([worker.pipe for worker in busy], patience)
        for worker in busy:
            if worker.pipe in heard:
                worker.hear()
            elif worker.time_left() <= 0:
                worker.give_up()


def _bytes_in_memory(job: Job) -> int:
    """What an image takes until it is packed, if it is no file: encoded bytes, or pixels."""
    if isinstance(job.item, Entry) and isinstance(job.item.content, np.ndarray):
        return job.item.content.nbytes
    return job.inbox or 0


def _needs_decoder(entry: Entry) -> bool:
    content = entry.content
    if isinstance(content, bytes):
        return len(content) <= MAX_BYTES  # more are refused without a look
    return not isinstance(content, np.ndarray)


def _memory(size: int) -> IO[bytes]:
    """Anonymous memory that a child process can be given."""
    linux = hasattr(os, "memfd_create")
    file = os.fdopen(os.memfd_create("alexnet"), "r+b") if linux else tempfile.TemporaryFile()  # noqa: SIM115
    file.truncate(size)
    return file


def _environment() -> dict[str, str]:
    """This process's, made to find the same package, with one thread for each process."""
    package = str(Path(alexnet.__file__).parents[1])
    paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"}


def _end(process: subprocess.Popen[bytes]) -> str:
    """How a process ended, in words."""
    try:
        status = process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        return "a closed pipe"
    return f"signal {-status}" if status < 0 else f"exit status {status}"
