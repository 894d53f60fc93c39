"""Checks the files that a training reads against their checksums while the training runs.

`training.train` starts a `BackgroundCheck`, asks for its report after each step, and stops if the
report is about damage. So that the check does not slow down the training, its thread has the lowest
priority and waits longer than it works. Never import the training here.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
import zlib
from contextlib import suppress
from pathlib import Path

from alexnet.packs.pack import Pack, read_blocks
from alexnet.packs.verification import list_checksums

BLOCK = 1 << 20
"""Bytes read at a time."""
WAIT_FACTOR = 3
"""After each block, the thread waits this many times as long as the block took. The thread then
uses at most a quarter of one core."""


class BackgroundCheck:
    """Reads the files of the training and validation images once, in a thread of low priority."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self.splits = tuple(name for name in ("train", "val") if name in pack.splits)
        self.report = ""
        """The result as a sentence. Empty before the check has ended and after `take_report`."""
        self.is_damaged = False
        """Whether the files are damaged, so that the training should stop."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pack check", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread after its current block. Do not wait for a disk that does not answer."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1)

    def take_report(self) -> str:
        """Return the report once; later calls return an empty text."""
        report, self.report = self.report, ""
        return report

    def _run(self) -> None:
        _lower_priority()
        try:
            self.report = self._compare()
        except OSError as error:
            # Only an I/O error means damage. A file may also be unreadable because the volume
            # was unmounted, or for lack of permission; the training itself will notice that.
            self.is_damaged = error.errno == errno.EIO
            reason = f"{error.filename or self.pack.path}: {error.strerror}"
            self.report = f"The checksums of {self.pack.path} could not all be checked ({reason})."

    def _compare(self) -> str:
        """Compare every array with its CRC-32 and return the report."""
        for path, expected in list_checksums(self.pack, self.splits):
            if path.suffix != ".npy":
                continue  # a training does not read the names
            actual = self._crc32(path)
            if self._stopped.is_set():
                return ""
            if actual != expected:
                self.is_damaged = True
                return (
                    f"{path} is damaged: its checksum is {actual}, and was {expected} when it was "
                    "packed."
                )
        shards = sum(len(self.pack.splits[name].files) for name in self.splits)
        if shards == 1:
            return f"The shard of {self.pack.path} agrees with its checksum."
        return f"All {shards} shards of {self.pack.path} agree with their checksums."

    def _crc32(self, path: Path) -> str:
        """Compute the same as `pack.crc32`, slowly. After `stop`, the result is meaningless."""
        crc, began = 0, time.monotonic()
        for block in read_blocks(path, BLOCK):
            crc = zlib.crc32(block, crc)
            if self._stopped.wait(WAIT_FACTOR * (time.monotonic() - began)):
                break
            began = time.monotonic()
        return f"{crc:08x}"


def _lower_priority() -> None:
    """Give this thread the lowest priority, on Linux, where each thread has its own."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
