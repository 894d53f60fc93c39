"""Decoding for a program that asks now and then: processes kept between one image and the next.

`workers` serves one caller from the first image to the last. Here every caller borrows a set of
processes and gives it back, so threads, and streams that are read by turns, never share a pipe. An
image that crashes or hangs its decoder costs that image alone.
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType

from alexnet.images.prepare import Options, Outcome
from alexnet.images.workers import Item, Record, Workers

KEPT = 8
"""Sets of processes that are kept for later; what more callers at once need ends with them."""


class Decoders:
    """Sets of decoding processes, each started at its first image that has to be decoded.

    They end with this object, with `close`, or with the program, whichever comes first. After a
    fork the child starts its own.
    """

    def __init__(self, options: Options, processes: int, timeout: float = 30.0) -> None:
        self.options, self.processes, self.timeout = options, processes, timeout
        self._idle: deque[Workers] = deque()
        self._owner = os.getpid()
        weakref.finalize(self, _close, self._idle, self._owner)

    def __enter__(self) -> Decoders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes that nobody is using. The next image would start others."""
        _close(self._idle, self._owner)

    def prepare(self, items: Iterable[Item]) -> Iterator[tuple[Item, Outcome | None, Record]]:
        """Every item in order with its outcome and its record: see `Workers.prepare`."""
        workers, finished = self._borrow(), False
        try:
            yield from workers.prepare(items)
            finished = True
        finally:
            if finished and len(self._idle) < KEPT:
                self._idle.append(workers)
            else:  # left half way: what it was decoding is nobody's any more
                workers.close()

    def _borrow(self) -> Workers:
        if os.getpid() != self._owner:
            _forget(self._idle)
            self._owner = os.getpid()
            weakref.finalize(self, _close, self._idle, self._owner)
        try:
            return self._idle.pop()  # atomic: no two threads get the same
        except IndexError:
            return Workers(self.options, self.processes, self.timeout)


def _close(idle: deque[Workers], owner: int) -> None:
    """End what is idle, unless it belongs to the process that this one was forked from."""
    if os.getpid() != owner:
        return
    while idle:
        idle.pop().close()


def _forget(idle: deque[Workers]) -> None:
    while idle:
        idle.pop().forget()
