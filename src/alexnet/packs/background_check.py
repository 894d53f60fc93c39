"""The files that a training reads, compared with their checksums while it trains."""

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
from alexnet.packs.verification import checksums

BLOCK = 1 << 20
REST = 3
"""Times as long as it worked, the thread waits: it takes a quarter of one core at most."""


class ShardCheck:
    """Reads the files of the training and validation images once, in a thread of low priority."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self.splits = tuple(name for name in ("train", "val") if name in pack.splits)
        self.news = ""
        """What it has found, for a person; empty until it has ended, and after it was taken."""
        self.is_damaged = False
        """Whether that is damage, which no training should go on with."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shard check", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End within a block; whoever waits for a disk that does not answer is left behind."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1)

    def take_news(self) -> str:
        """What was found, once."""
        news, self.news = self.news, ""
        return news

    def _run(self) -> None:
        _lower_priority()
        try:
            self.news = self._compare()
        except OSError as error:
            self.is_damaged = error.errno == errno.EIO
            what = f"{error.filename or self.pack.path}: {error.strerror}"
            self.news = f"The checksums of {self.pack.path} could not all be checked ({what})."

    def _compare(self) -> str:
        for path, wanted in checksums(self.pack, self.splits):
            if path.suffix != ".npy":
                continue  # names do not matter to a training
            found = self._crc32(path)
            if self._stopped.is_set():
                return ""
            if found != wanted:
                self.is_damaged = True
                return (
                    f"{path} is damaged: its checksum is {found}, and was {wanted} when it was "
                    "packed."
                )
        shards = sum(len(self.pack.splits[name].files) for name in self.splits)
        if shards == 1:
            return f"The shard of {self.pack.path} agrees with its checksum."
        return f"All {shards} shards of {self.pack.path} agree with their checksums."

    def _crc32(self, path: Path) -> str:
        """CRC-32 as `dataset.crc32`, slowly; of no meaning once it was stopped."""
        crc, began = 0, time.monotonic()
        for block in read_blocks(path, BLOCK):
            crc = zlib.crc32(block, crc)
            if self._stopped.wait(REST * (time.monotonic() - began)):
                break
            began = time.monotonic()
        return f"{crc:08x}"


def _lower_priority() -> None:
    """Let every other thread go first, where a thread has a priority of its own."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
