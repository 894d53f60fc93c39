"""The program of a decoding process: takes images from a pipe, writes records, answers.

`decoder_process` runs this file by its path, with the numbers of three inherited file descriptors:
the pipe, the memory for records, and the inbox of encoded bytes (drawn there). A crash here affects
one image, not the run.
"""

from __future__ import annotations

import dataclasses
import mmap
import os
import queue
import resource
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.images.memory import BYTES_PER_PIXEL
from alexnet.images.preparation import MAX_BYTES, RecordOptions, prepare, read_ahead
from alexnet.sources.entry import Entry

SLACK = 1 << 28
"""Bytes of memory in addition to those of an image: libraries that are loaded late, buffers,
fragmentation."""
STATM = Path("/proc/self/statm")
Task = tuple[int, Entry, int | None]
"""The slot of the shared memory that the record goes into, the entry, and the length of its encoded
bytes if these are in the inbox."""


def serve(pipe: Connection, memory: int, inbox: int) -> None:
    """Answer every task with its PreparationResult, in order, until the pipe is closed.

    The first message is the RecordOptions, every other one a list of tasks. `memory` and `inbox`
    are file descriptors.
    """
    options: RecordOptions = pipe.recv()
    slots = np.frombuffer(mmap.mmap(memory, 0), np.uint8).reshape(-1, options.record_bytes)
    _compile_loops(options, slots[0])
    _limit_memory(BYTES_PER_PIXEL * options.max_pixels + SLACK)
    pipe.send("ready")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # C libraries print warnings
    tasks: queue.SimpleQueue[list[Task]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, tasks), daemon=True).start()
    while True:
        for slot, entry, length in tasks.get():
            if length is not None:
                content = os.pread(inbox, length, slot * MAX_BYTES)
                entry = dataclasses.replace(entry, content=content)
            pipe.send(prepare(entry, options, slots[slot]))


def _compile_loops(options: RecordOptions, record: NDArray[np.uint8]) -> None:
    """Compile the Numba loops, or load them from the cache, by preparing one small image.

    This happens before the first task, so that it does not count toward an image's timeout.
    """
    gray = np.zeros((options.size + 1, options.size + 2), np.uint8)
    prepare(Entry("train", "", 0, gray), options, record)


def _limit_memory(more: int) -> None:
    """Let this process take at most `more` bytes in addition to what it has; only on Linux.

    Beyond that, allocating raises MemoryError, which is a reason not to use that image. The memory
    that is shared with the parent does not count.
    """
    if not STATM.exists():
        return
    data_pages = int(STATM.read_text().split()[5])
    resource.setrlimit(resource.RLIMIT_DATA, (data_pages * resource.getpagesize() + more,) * 2)


def _receive(pipe: Connection, tasks: queue.SimpleQueue[list[Task]]) -> None:
    """Receive tasks in a thread, so that their files are read ahead while others are decoded."""
    try:
        while True:
            message = pipe.recv()
            for _, entry, _ in message:
                read_ahead(entry.content)
            tasks.put(message)
    except (EOFError, OSError):
        # The parent has ended, for whatever reason: exit at once, even if a decoder hangs.
        os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets Ctrl-C too and closes the pipe
    serve(Connection(int(sys.argv[1])), *map(int, sys.argv[2:]))
