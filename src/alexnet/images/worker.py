"""A decoding process: takes images from a pipe, writes records into shared memory, answers.

Run by `workers`, with the numbers of three inherited files: the pipe, the memory for records and
the inbox of encoded bytes. A crash here costs one image, not the run.
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

from alexnet.images.decode import BYTES_A_PIXEL
from alexnet.images.prepare import MAX_BYTES, Options, prepare, read_ahead
from alexnet.sources.entry import Entry

SLACK = 1 << 28
"""Bytes beside those of an image: libraries that are loaded late, buffers, fragments."""
STATM = Path("/proc/self/statm")
Task = tuple[int, Entry, int | None]


def serve(pipe: Connection, memory: int, inbox: int) -> None:
    """Answer every task with its Outcome, in order, until the pipe is closed.

    Tasks come in lists. A task is a slot of the memory, an entry, and the length of its encoded
    bytes if they are in the inbox.
    """
    options: Options = pipe.recv()
    slots = np.frombuffer(mmap.mmap(memory, 0), np.uint8).reshape(-1, options.record_bytes)
    _warm_up(options, slots[0])
    _limit_memory(BYTES_A_PIXEL * options.max_pixels + SLACK)
    pipe.send("ready")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # C libraries chatter
    tasks: queue.SimpleQueue[list[Task]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, tasks), daemon=True).start()
    while True:
        for slot, entry, length in tasks.get():
            if length is not None:
                content = os.pread(inbox, length, slot * MAX_BYTES)
                entry = dataclasses.replace(entry, content=content)
            pipe.send(prepare(entry, options, slots[slot]))


def _warm_up(options: Options, record: NDArray[np.uint8]) -> None:
    """Compile, or load, the loops: that time is nobody's decoding time."""
    gray = np.zeros((options.size + 1, options.size + 2), np.uint8)
    prepare(Entry("train", "", 0, gray), options, record)


def _limit_memory(more: int) -> None:
    """Let this process take so many bytes more than it has, where Linux counts them.

    What wants more gets a MemoryError, which is a reason not to use that image. Memory shared with
    the caller does not count.
    """
    if not STATM.exists():
        return
    data_pages = int(STATM.read_text().split()[5])
    resource.setrlimit(resource.RLIMIT_DATA, (data_pages * resource.getpagesize() + more,) * 2)


def _receive(pipe: Connection, tasks: queue.SimpleQueue[list[Task]]) -> None:
    """Take tasks as they come, so that files are read ahead while others are decoded."""
    try:
        while True:
            handful = pipe.recv()
            for _, entry, _ in handful:
                read_ahead(entry.content)
            tasks.put(handful)
    except (EOFError, OSError):
        os._exit(0)  # the packer has ended, however; a decoder that hangs must not outlive it


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the packer is told, and closes the pipe
    serve(Connection(int(sys.argv[1])), *map(int, sys.argv[2:]))
