"""Writing a large file from its beginning to its end without filling the page cache."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

BLOCK_BYTES = 1 << 22
"""Written at a time: a multiple of every page and sector."""
DIRECT = getattr(os, "O_DIRECT", 0)
"""Where the system has it, the disk takes its bytes from our memory. Copies in the page cache take
about as long to make as images to decode, and push out what other programs have there."""


class DirectWriter:
    """A new file, written by a thread in blocks while the next block is filled.

    What a write raises, such as OSError on a full disk, is raised by a later call.
    """

    def __init__(self, path: Path) -> None:
        self._blocks = [mmap.mmap(-1, BLOCK_BYTES) for _ in range(2)]  # aligned, as direct I/O asks
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None
        self._filled = self._offset = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        try:
            self._file = os.open(path, flags | DIRECT, 0o666)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._file = os.open(path, flags, 0o666)  # a file system without direct writes

    def write(self, content: memoryview) -> None:
        """Append bytes."""
        content = content.cast("B")
        while len(content):
            part = content[: BLOCK_BYTES - self._filled]
            self._blocks[0][self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            content = content[len(part) :]
            if self._filled == BLOCK_BYTES:
                self._send()

    def _send(self) -> None:
        """Have the block written, and go on with the other once that one is."""
        self._wait()
        block = memoryview(self._blocks[0])[: self._filled]
        self._pending = self._thread.submit(write_all, self._file, block, self._offset)
        self._offset, self._filled = self._offset + self._filled, 0
        self._blocks.reverse()

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()

    def finish(self, start: bytes) -> None:
        """Write what is left, replace the first bytes, see that all is on disk, and close."""
        self._wait()
        stop_direct(self._file)  # the last block ends anywhere
        write_all(self._file, memoryview(self._blocks[0])[: self._filled], self._offset)
        write_all(self._file, memoryview(start), 0)
        os.fsync(self._file)
        self.close()

    def close(self) -> None:
        """Close the file, in whatever state it is."""
        self._thread.shutdown()
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def write_all(file: int, content: memoryview, offset: int) -> None:
    """Write bytes at a place of a file, all of them."""
    while len(content):
        try:
            written = os.pwrite(file, content, offset)
        except OSError as error:
            if error.errno != errno.EINVAL or not stop_direct(file):
                raise
            continue  # no direct writes here, or not from where the last one ended
        content, offset = content[written:], offset + written


def stop_direct(file: int) -> bool:
    """Write a file by way of the page cache from now on; False if it was so already."""
    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    fcntl.fcntl(file, fcntl.F_SETFL, flags & ~DIRECT)
    return bool(flags & DIRECT)
