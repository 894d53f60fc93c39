"""Groups of decoding processes that are kept between calls, for programs that call repeatedly.

A DecoderGroup serves one pass at a time. A pool lends each pass a separate group and takes it back,
so threads, and generators that are read in turns, never share a pipe. `predict` uses a pool.

    call 1 ─── borrows group A ─────────────── returns A
    call 2 ──────── borrows group B (new) ── returns B
    call 3 ──────────────────────────────────────────── borrows B: the last returned, still warm

An image that crashes or hangs its process affects no other image.
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType

from alexnet.images.decoder_group import DecoderGroup
from alexnet.images.decoder_process import Item, Record
from alexnet.images.preparation import PreparationResult, RecordOptions

MAX_IDLE_GROUPS = 8
"""Groups that are kept for later; if more are returned, they are closed."""


class DecoderPool:
    """Lends groups of `n_processes` decoding processes, each started at its first image.

    They end with this object, with `close`, or with the program, whichever comes first. After a
    fork, the child starts its own.
    """

    def __init__(self, options: RecordOptions, n_processes: int, timeout: float = 30.0) -> None:
        self.options, self.n_processes, self.timeout = options, n_processes, timeout
        self._idle: deque[DecoderGroup] = deque()
        self._owner = os.getpid()
        weakref.finalize(self, _close_all, self._idle, self._owner)

    def __enter__(self) -> DecoderPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes that nobody is using. The next image would start others."""
        _close_all(self._idle, self._owner)

    def prepare(
        self, items: Iterable[Item]
    ) -> Iterator[tuple[Item, PreparationResult | None, Record]]:
        """Yield every item in order with its result and its record: see `DecoderGroup.prepare`."""
        group, is_finished = self._borrow(), False
        try:
            yield from group.prepare(items)
            is_finished = True
        finally:
            if is_finished and len(self._idle) < MAX_IDLE_GROUPS:
                self._idle.append(group)
            else:  # abandoned halfway, with answers that nobody will take; or one too many
                group.close()

    def _borrow(self) -> DecoderGroup:
        if os.getpid() != self._owner:  # this is a forked child
            _disown_all(self._idle)
            self._owner = os.getpid()
            weakref.finalize(self, _close_all, self._idle, self._owner)
        try:
            return self._idle.pop()  # atomic: no two threads get the same
        except IndexError:
            return DecoderGroup(self.options, self.n_processes, self.timeout)


def _close_all(idle: deque[DecoderGroup], owner: int) -> None:
    """Close the idle groups, unless they belong to the process that this one was forked from."""
    if os.getpid() != owner:
        return
    while idle:
        idle.pop().close()


def _disown_all(idle: deque[DecoderGroup]) -> None:
    while idle:
        idle.pop().disown()
