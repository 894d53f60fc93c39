"""One decoding process as its parent sees it: its jobs, its shared memory, its death.

It is an ordinary child process that runs `decoder_program`, not one of the multiprocessing module:
the caller's program is not imported again, and a script needs no `if __name__ == "__main__"`.

How an image gets to the child and its record back, for the job in slot 2 of SLOTS:

    parent: DecoderProcess                                    child: decoder_program
    ──────────────────────                                    ──────────────────────
    encoded bytes ──► inbox   │ 0 │ 1 │▓2▓│ 3 │ … │ ──────►   reads them
                      one part of MAX_BYTES per slot; sparse, so only what is written takes memory;
                      not used for files, which the child opens itself
    task ───────────► pipe    [(2, entry, length), …] ────►   JOBS_PER_MESSAGE tasks per message
                      records │ 0 │ 1 │▓2▓│ 3 │ … │ ◄──────   writes the record
    result ◄───────── pipe    PreparationResult ◄──────────   one per task, in order

Large contents never go through the pipe: writing them would block the parent if the child hangs.

What happens to a child that ends or hangs while it works on the first waiting job:

    crash                the pipe closes; the job is tried once more by a new process, because the
                         child may have been killed for another reason (out of memory); a second
                         crash makes it "decoder_crashed"
    no answer in time    the child is killed, then as above; "decoder_hung"
    cannot start         RuntimeError with what the child has printed
    the parent ends      the pipe closes, and the child exits at once

The other waiting jobs are sent to the new process; their inbox parts and slots have survived.
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
from dataclasses import dataclass
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

import alexnet
from alexnet.images.preparation import (
    MAX_BYTES,
    Content,
    PreparationResult,
    RecordOptions,
    compute_fingerprint,
)
from alexnet.sources.entry import Entry, Skipped

PROGRAM = Path(__file__).with_name("decoder_program.py")
SLOTS = 16
"""Maximum number of jobs of a process: waiting, or done with a record that is not yet used."""
JOBS_PER_MESSAGE = 4
"""Jobs are sent in groups, because every message costs a context switch in both processes."""
LARGE_CONTENT = 1 << 20
"""Encoded bytes whose memory is given back at once; smaller ones are soon overwritten anyway."""
ATTEMPTS = 2
"""Attempts to decode an image before it is skipped."""
START_SECONDS = 120.0
"""Time to start. The first start compiles, which takes a while on a busy machine."""

Item = Entry | Skipped
"""What a source yields."""
Record = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image whose record is there already: it passes through a group without being decoded."""

    entry: Entry
    result: PreparationResult
    record: Record


@dataclass(eq=False)
class DecodingJob:
    """One item on its way through a process: where its record will be, and its result."""

    item: Item | Prepared
    record: Record | None = None
    process: DecoderProcess | None = None
    """The process that has it; None for items that need no decoder."""
    slot: int = -1
    inbox_length: int | None = None
    """Number of its encoded bytes, if these are in the inbox."""
    attempts: int = 0
    result: PreparationResult | None = None

    @property
    def task(self) -> tuple[int, Item, int | None]:
        """What is sent to the process: see `decoder_program.Task`."""
        assert not isinstance(self.item, Prepared)
        return self.slot, self.item, self.inbox_length


class DecoderProcess:
    """A child process, the memory that it shares with this one, and the jobs that it has.

    `waiting` are the jobs without a result, first come first; `free` the slots without a job.
    """

    def __init__(self, options: RecordOptions, timeout: float) -> None:
        self.options, self.timeout = options, timeout
        self.waiting: deque[DecodingJob] = deque()
        self._memory = _open_anonymous_memory(SLOTS * options.record_bytes)
        self._inbox = _open_anonymous_memory(0)  # grows where it is written to
        shared = mmap.mmap(self._memory.fileno(), 0)
        self.records: Record = np.frombuffer(shared, np.uint8).reshape(SLOTS, -1)
        self.free = list(range(SLOTS))
        self.start()

    def start(self) -> None:
        """Start a process, or a replacement for one that has ended."""
        self.pipe, child_pipe = Pipe()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        descriptors = child_pipe.fileno(), self._memory.fileno(), self._inbox.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(PROGRAM), *map(str, descriptors)],
            pass_fds=descriptors,
            env=_child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
        )
        child_pipe.close()
        self._send(self.options)
        self.is_ready, self.waiting_since = False, time.monotonic()
        self._n_sent = 0  # how many of the waiting jobs this process has been sent
        self.send_jobs()

    def add(self, job: DecodingJob) -> None:
        """Take a job, and send it together with others. There must be a free slot."""
        job.process, job.slot = self, self.free.pop()
        job.record = self.records[job.slot]
        self._write_to_inbox(job)
        self.waiting.append(job)
        if len(self.waiting) - self._n_sent == JOBS_PER_MESSAGE:
            self.send_jobs()

    def send_jobs(self) -> None:
        """Send the jobs that the process has not been sent yet."""
        unsent = list(self.waiting)[self._n_sent :]
        if not unsent:
            return
        if not self._n_sent and self.is_ready:  # it was idle: the time of its first job begins now
            self.waiting_since = time.monotonic()
        self._n_sent = len(self.waiting)
        self._send([job.task for job in unsent])

    def _write_to_inbox(self, job: DecodingJob) -> None:
        if isinstance(job.item, Entry) and isinstance(job.item.content, bytes):
            os.pwrite(self._inbox.fileno(), job.item.content, job.slot * MAX_BYTES)
            job.inbox_length = len(job.item.content)
            job.item = dataclasses.replace(job.item, content=b"")

    def release(self, job: DecodingJob) -> None:
        """Free the slot of a job whose record has been used, and the memory of large content."""
        length = job.inbox_length
        if length is not None and length > LARGE_CONTENT and hasattr(mmap, "MADV_REMOVE"):
            offset = job.slot * MAX_BYTES
            with mmap.mmap(self._inbox.fileno(), length, offset=offset) as content:
                content.madvise(mmap.MADV_REMOVE)
        self.free.append(job.slot)

    def _send(self, message: object) -> None:
        with contextlib.suppress(OSError):  # it has just died: its replacement is sent it again
            self.pipe.send(message)

    def receive(self) -> None:
        """Receive one answer. If the process has died, replace it: see the top of this module."""
        try:
            answer = self.pipe.recv()
        except (EOFError, OSError):
            detail = f"the decoder ended with {_describe_end(self.process)}"
            self._replace("decoder_crashed", detail)
            return
        self.waiting_since = time.monotonic()
        if self.is_ready:
            self._pop_first().result = answer
        self.is_ready = True  # the first answer only says so

    def time_left(self) -> float:
        """Seconds until the process counts as hanging; negative if it does."""
        allowed = self.timeout if self.is_ready else START_SECONDS
        return self.waiting_since + allowed - time.monotonic()

    def kill_hanging(self) -> None:
        """Kill a process that hangs, and start another."""
        self.process.kill()
        self._replace("decoder_hung", f"no answer from the decoder in {self.timeout:g} s")

    def _replace(self, reason: str, detail: str) -> None:
        """Start another process, which retries the first waiting job or finds it given up."""
        self.stop()
        if not self.is_ready:
            self._errors.seek(0)
            errors = self._errors.read().decode("utf-8", "replace").strip()
            raise RuntimeError(f"a decoding process did not start ({detail}): {errors[-2000:]}")
        job = self.waiting[0]
        job.attempts += 1
        if job.attempts == ATTEMPTS:
            fingerprint = compute_fingerprint(self._content(job))
            self._pop_first().result = PreparationResult(fingerprint, reason, detail)
        self._errors.close()
        self.start()

    def _pop_first(self) -> DecodingJob:
        self._n_sent -= 1
        return self.waiting.popleft()

    def _content(self, job: DecodingJob) -> Content:
        assert isinstance(job.item, Entry)
        if job.inbox_length is None:
            return job.item.content
        return os.pread(self._inbox.fileno(), job.inbox_length, job.slot * MAX_BYTES)

    def stop(self) -> None:
        """End the process, by closing its pipe or else by killing it."""
        self.pipe.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """End the process and release the shared memory."""
        self.stop()
        self._errors.close()
        self._memory.close()
        self._inbox.close()

    def disown(self) -> None:
        """After a fork, in the child: the process is the parent's, so never wait for it."""
        self.process.returncode = 0


def _open_anonymous_memory(size: int) -> IO[bytes]:
    """Memory with a file descriptor, which a child process can inherit; a file if not on Linux."""
    is_linux = hasattr(os, "memfd_create")
    file = os.fdopen(os.memfd_create("alexnet"), "r+b") if is_linux else tempfile.TemporaryFile()  # noqa: SIM115
    file.truncate(size)
    return file


def _child_environment() -> dict[str, str]:
    """This process's environment, with PYTHONPATH extended so that the child imports this package.

    OpenBLAS is limited to one thread, because there is one process per core.
    """
    package = str(Path(alexnet.__file__).parents[1])
    paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"}


def _describe_end(process: subprocess.Popen[bytes]) -> str:
    """How a process has ended, in words."""
    try:
        status = process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        return "a closed pipe"
    return f"signal {-status}" if status < 0 else f"exit status {status}"
