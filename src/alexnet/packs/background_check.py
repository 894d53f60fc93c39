"""Checks the files that a training or an evaluation reads against their checksums meanwhile.

`training.train` starts a `BackgroundCheck`, asks for its report after each step, and stops if the
report is about damage. `evaluation` measures inside `check_while_reading`, which raises at the end.
So that the check slows down neither, its thread has the lowest priority and waits longer than it
works. Never import training or evaluation here.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from alexnet.packs.checked_files import read_blocks
from alexnet.packs.pack import Pack
from alexnet.packs.schema import ORIGINS
from alexnet.packs.verification import list_checksums

BLOCK = 1 << 20
"""Bytes read at a time."""
WAIT_FACTOR = 3
"""After each block, the thread waits this many times as long as the block took. The thread then
uses at most a quarter of one core."""


class BackgroundCheck:
    """Reads the files of the images of some splits once, in a thread of low priority."""

    def __init__(self, pack: Pack, splits: tuple[str, ...] = ("train", "val")) -> None:
        self.pack = pack
        self.splits = tuple(name for name in splits if name in pack.splits)
        self.report = ""
        """The result as a sentence. Empty before the check has ended and after `take_report`."""
        self.is_damaged = False
        """Whether the files are damaged, so that the training should stop."""
        self._stopped = threading.Event()
        self._hurried = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pack check", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread after its current block. Do not wait for a disk that does not answer."""
        self._stopped.set()
        self._hurried.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1)

    def finish(self) -> None:
        """Wait until everything is read, which the thread now does without pauses."""
        self._hurried.set()
        self._thread.join()

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
            if path.suffix != ".npy" or path.name == ORIGINS:
                continue  # a training does not read the names, nor where images came from
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
            self._pause(WAIT_FACTOR * (time.monotonic() - began))
            if self._stopped.is_set():
                break
            began = time.monotonic()
        return f"{crc:08x}"

    def _pause(self, seconds: float) -> None:
        """Wait, except after `finish` and `stop`."""
        self._hurried.wait(seconds)


@contextmanager
def check_while_reading(pack: Pack, split: str) -> Iterator[None]:
    """Compare the files of a split with their checksums while entered, in the background.

    What is not yet read at the end is read then, so that the check is always complete. Raises
    ValueError at the end if a file is damaged. A pack whose files cannot be read here raises what
    reading the images raises.
    """
    check = BackgroundCheck(pack, (split,))
    check.start()
    try:
        yield
    except BaseException:
        check.stop()
        raise
    check.finish()
    if check.is_damaged:
        raise ValueError(
            f"{check.report} Nothing measured on it would count. Copy that file anew from a good "
            f"copy, or delete {pack.path} and pack the same images again"
        )


def _lower_priority() -> None:
    """Give this thread the lowest priority, on Linux, where each thread has its own."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
