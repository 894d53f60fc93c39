"""Handling of SIGINT, SIGTERM and SIGHUP: stop a training after its step, or end the process.

`alexnet.cli` calls `end_at_signals` before it imports anything heavy; `training.train` enters an
`Interrupt` while it trains. Signals that are ignored when the process starts stay ignored, as
SIGHUP under `nohup` and SIGINT in the background of a script. Imports nothing of this package.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
SHOW_CURSOR = b"\x1b[?25h\n"
"""Escape sequence that shows the cursor again, which a progress bar has hidden."""


def end_at_signals() -> None:
    """Have SIGINT, SIGTERM and SIGHUP end the process at once with exit status 128 + signal.

    By default, Python raises an exception on SIGINT wherever the program is: in an import, which
    then leaves a broken module behind, or in a C++ library, which aborts. Every file that this
    program writes survives a kill, so ending at once loses nothing.
    """
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    """Signal handler: show the cursor again and end the process."""
    signal.signal(number, signal.SIG_DFL)  # a second signal does not wait for what follows
    with suppress(Exception):  # it may have come in the middle of a write
        sys.stdout.flush()
    with suppress(OSError):
        if os.isatty(2):
            os.write(2, SHOW_CURSOR)
    os._exit(128 + number)


class Interrupt:
    """While entered, SIGINT, SIGTERM and SIGHUP are remembered instead of ending the process.

    A second signal ends it immediately, with the exit status that shells expect (128 + signal).
    Outside the main thread, where Python delivers no signals, it does nothing.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        """The number of the signal that came, or None."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: keep the first signal; end the process at the second."""
        if self.signal is not None:
            _end(number, frame)
        self.signal = number
