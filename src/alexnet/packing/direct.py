"""Writes a large file from its beginning to its end without filling the page cache.

Two blocks take turns. While a thread writes one to the disk, the caller fills the other:

    caller   fill A │ fill B  │ fill A  │ fill B  │ …
    thread          │ write A │ write B │ write A │ …

`packing.shards` writes shards in this way. Files that must be replaced whole are written by
`alexnet.files` instead. Imports nothing of this package.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

BLOCK_BYTES = 1 << 22
"""Number of bytes per write: a multiple of every page and sector size."""
DIRECT = getattr(os, "O_DIRECT", 0)
"""O_DIRECT, or 0 where the platform lacks it. Direct writes bypass the page cache. Copying into it
would take about as long as decoding the images, and would evict the files of other programs."""


class DirectWriter:
    """Writes a new file in blocks, each in the background while the next one is filled.

    If a background write fails, for example because the disk is full, a later call raises its
    OSError.
    """

    def __init__(self, path: Path) -> None:
        # Memory from mmap is page-aligned, as O_DIRECT requires.
        self._blocks = [mmap.mmap(-1, BLOCK_BYTES) for _ in range(2)]
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None
        self._filled = self._offset = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        try:
            self._file = os.open(path, flags | DIRECT, 0o666)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._file = os.open(path, flags, 0o666)  # the file system has no direct writes

    def write(self, content: memoryview) -> None:
        """Append bytes. Raises OSError if an earlier block could not be written."""
        content = content.cast("B")
        while len(content):
            part = content[: BLOCK_BYTES - self._filled]
            self._blocks[0][self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            content = content[len(part) :]
            if self._filled == BLOCK_BYTES:
                self._start_write()

    def _start_write(self) -> None:
        """Wait for the previous write, start writing the filled block, and switch to the other."""
        self._wait()
        block = memoryview(self._blocks[0])[: self._filled]
        self._pending = self._thread.submit(write_all, self._file, block, self._offset)
        self._offset, self._filled = self._offset + self._filled, 0
        self._blocks.reverse()

    def _wait(self) -> None:
        """Wait for the write in the background, if any, and raise its error."""
        if self._pending is not None:
            self._pending.result()

    def finish(self, start: bytes) -> None:
        """Write the rest, replace the first bytes by `start`, flush to the disk and close."""
        self._wait()
        stop_direct(self._file)  # the last block may end inside a sector
        write_all(self._file, memoryview(self._blocks[0])[: self._filled], self._offset)
        write_all(self._file, memoryview(start), 0)
        os.fsync(self._file)
        self.close()

    def close(self) -> None:
        """Close the file, whether complete or not."""
        self._thread.shutdown()
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def write_all(file: int, content: memoryview, offset: int) -> None:
    """Write all bytes at an offset of a file, without O_DIRECT if the file system rejects it."""
    while len(content):
        try:
            written = os.pwrite(file, content, offset)
        except OSError as error:
            if error.errno != errno.EINVAL or not stop_direct(file):
                raise
            continue  # no direct writes here, or not at this offset
        content, offset = content[written:], offset + written


def stop_direct(file: int) -> bool:
    """Turn off O_DIRECT for an open file; return whether it was on."""
    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    fcntl.fcntl(file, fcntl.F_SETFL, flags & ~DIRECT)
    return bool(flags & DIRECT)
