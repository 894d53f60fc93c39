"""Watches the processes of one job: if one is killed, frozen or fails, the others end soon.

Every process has a thread that sends a beat several times in the time limit. Rank 0 hears all the
others, and they hear rank 0, so that the number of connections grows only with that of processes:

    rank 1 ──beats──▶ ┐          ┌ ──beats, verdict──▶ rank 1
    rank 2 ──beats──▶ ├─ rank 0 ─┼ ──beats, verdict──▶ rank 2
    rank 3 ──beats──▶ ┘          └ ──beats, verdict──▶ rank 3

    its connection closes without a goodbye     killed, or crashed       known at once
    it says that it ends with an error          the error is passed on   known at once
    no beat for the time limit                  frozen, cut off          known after the limit

The verdict names the process. It is printed by every process that hears it; if the main thread does
not end by itself within GRACE seconds, because it waits for the lost process in a collective, the
thread ends the process with the exit status EXIT_LOST. Every file that this program writes survives
that. A process that finds that it was frozen itself forgives the others that time, so a job whose
processes are all stopped and continued goes on.

Messages are lines of `connections`, and a beat is an empty line. Called by `alexnet.processes`;
imports no torch, so that the tests can stop many processes in short time.
"""

from __future__ import annotations

import atexit
import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from alexnet.connections import Line, connect, identify, introduce, listen, make_token
from alexnet.terminal import escape_unprintable

LIMIT = "ALEXNET_WATCH_SECONDS"
"""Environment variable with the time limit in seconds; 0 turns the watch off."""
SECONDS = 10.0
"""Time without a beat after which a process counts as lost, if LIMIT is not set."""
BEATS = 5
"""Beats in the time limit, at least."""
LONGEST = 1.0
"""Longest time between two beats in seconds."""
GRACE = 1.0
"""Seconds that the main thread has to end after a verdict."""
EXIT_LOST = 4
"""Exit status of a process that ends because another one was lost."""


@dataclass(frozen=True)
class Member:
    """One process of the job, as the others know it."""

    rank: int
    host: str
    pid: int
    port: int = 0
    """Rank 0: the port on which it listens."""
    token: str = ""
    """Rank 0: what a connection must begin with."""
    seconds: float = SECONDS
    """The time limit; that of rank 0 holds for all."""

    def __str__(self) -> str:
        return f"rank {self.rank} on host {self.host} (process {self.pid})"


class ProcessLost(SystemExit):
    """Another process was lost, so that this one ends with EXIT_LOST.

    The message was printed already, by the thread; therefore nothing more is printed if nobody
    catches this.
    """

    def __init__(self, rank: int, message: str) -> None:
        super().__init__(EXIT_LOST)
        self.rank, self.message = rank, message

    def __str__(self) -> str:
        return self.message


def read_limit() -> float:
    """Return the time limit in seconds. Raises ValueError if LIMIT is not a number from 0."""
    text = os.environ.get(LIMIT, str(SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise ValueError(f"{LIMIT} is {text!r}, but must be a number of seconds; 0 turns it off")
    return seconds


def start_watch(
    rank: int,
    size: int,
    gather: Callable[[dict[str, Any]], list[dict[str, Any]]],
    address: str = "localhost",
) -> Watch | None:
    """Begin to watch the processes of a job; None if there is nobody to watch, or LIMIT is 0.

    `gather` returns the values of all ranks in order, and `address` is where rank 0 can be reached
    (torchrun's MASTER_ADDR). Raises ConnectionError if rank 0 cannot be reached.
    """
    if size == 1:
        return None
    listener = listen(address) if rank == 0 else None
    port = listener.getsockname()[1] if listener else 0
    me = Member(rank, socket.gethostname(), os.getpid(), port, make_token(), read_limit())
    members = [Member(**value) for value in gather(asdict(me))]
    if not members[0].seconds:
        if listener is not None:
            listener.close()
        return None
    first = None if listener else _reach(members[0], address, rank)
    return Watch(members, rank, listener, first)


def _reach(hub: Member, address: str, rank: int) -> Line:
    """Connect to rank 0 and say who this is."""
    try:
        line = Line(connect(address, hub.port, max(hub.seconds, 5.0)), 0)
    except OSError as error:
        raise ConnectionError(
            f"rank {rank} on {socket.gethostname()} cannot reach {hub} at {address}, port "
            f"{hub.port} ({error}): allow connections between the machines, or set {LIMIT}=0 to do "
            "without watching the processes"
        ) from error
    line.send(introduce(rank, hub.token))
    return line


class Watch:
    """The watch of one process: its thread, and what is known of the others."""

    def __init__(
        self,
        members: list[Member],
        rank: int,
        listener: socket.socket | None,
        first: Line | None,
    ) -> None:
        self.members, self.rank = members, rank
        self.seconds = members[0].seconds
        self.verdict: ProcessLost | None = None
        """What is raised if another process was lost; None while all is well."""
        self._decided = threading.Event()
        self._leaving = False
        self._lines = {0: first} if first else {}
        self._gone: set[int] = set()
        self._began = self._looked = time.monotonic()
        self._selector = selectors.DefaultSelector()
        if first is not None:
            self._selector.register(first.socket, selectors.EVENT_READ, first)
        if listener is not None:
            self._selector.register(listener, selectors.EVENT_READ, None)
        self._listener = listener
        self._thread = threading.Thread(target=self._run, name="heartbeats", daemon=True)
        self._thread.start()
        atexit.register(self._end_at_exit)

    def check(self) -> None:
        """Raise ProcessLost if another process is known to be lost."""
        if self.verdict is not None:
            raise self.verdict

    def explain(self, error: BaseException) -> NoReturn:
        """Raise ProcessLost if `error` came of the loss of a process, else the error itself.

        A collective fails a moment before it is known who was lost, so this waits for the verdict,
        at most as long as a verdict can take.
        """
        self._decided.wait(self.seconds + GRACE)
        if self.verdict is not None:
            raise self.verdict from error
        raise error

    def leave(self, error: str = "") -> None:
        """Stop watching and being watched; with an error, tell the others that it ends this one."""
        if self._leaving or self.verdict is not None:
            return
        self._leaving = True
        message = {"lost": self.rank, "why": f"ended with an error: {error}"}
        for line in list(self._lines.values()):
            line.send(message if error else {"bye": self.rank})
            with suppress(OSError):
                line.socket.shutdown(socket.SHUT_WR)
        self._thread.join(GRACE)

    def _run(self) -> None:
        """Send and hear beats until this process leaves or another one is lost."""
        interval = min(self.seconds / BEATS, LONGEST)
        ends = float("inf")
        while self.verdict is None and time.monotonic() < ends:
            for key, _ in self._selector.select(GRACE / 10 if self._leaving else interval):
                self._accept() if key.data is None else self._read(key.data)
            self._forgive_own_pause(interval)
            if self._leaving:  # wait a moment for what was sent to arrive
                ends = min(ends, time.monotonic() + GRACE / 2)
                if not self._lines:
                    break
                continue
            for line in list(self._lines.values()):
                line.send()
            self._check_ages()
        if self.verdict is None:
            self._close()
        elif not self._leaving:
            self._end_process()

    def _forgive_own_pause(self, interval: float) -> None:
        """Do not count the time in which this process itself was stopped."""
        now = time.monotonic()
        pause = now - self._looked - interval
        if pause > interval:
            self._began += pause
            for line in self._lines.values():
                line.heard = min(now, line.heard + pause)
        self._looked = now

    def _accept(self) -> None:
        """Take a connection; it is nobody's until it says the token."""
        assert self._listener is not None
        with suppress(OSError):
            connection, _ = self._listener.accept()
            self._selector.register(connection, selectors.EVENT_READ, Line(connection, None))

    def _read(self, line: Line) -> None:
        """Act on what has come from one process."""
        messages, is_open = line.receive()
        for message in messages:
            if line.rank is None:
                is_open = self._welcome(line, message) and is_open
            elif "lost" in message:
                self._judge(message["lost"], str(message.get("why", "was lost")))
            elif "bye" in message:
                self._forget(line)
                return
        if not is_open:
            self._forget(line)
            if line.rank is not None and not self._leaving:
                self._judge(line.rank, "ended without a message: it was killed, or it crashed")

    def _welcome(self, line: Line, message: dict[str, Any]) -> bool:
        """Whether a connection is from a process of this job; then it is one of the lines."""
        rank = identify(message, self.members[0].token)
        if rank is None or not 0 < rank < len(self.members):
            return False
        if rank in self._lines or rank in self._gone:
            return False
        line.rank, self._lines[rank] = rank, line
        return True

    def _forget(self, line: Line) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(line.socket)
        line.socket.close()
        if line.rank is not None and self._lines.pop(line.rank, None) is not None:
            self._gone.add(line.rank)

    def _check_ages(self) -> None:
        """Judge the processes that have not been heard for the time limit.

        The time is that of `_forgive_own_pause`: this process may have been stopped since then.
        """
        now = self._looked
        hears = range(1, len(self.members)) if self._listener else [0]
        for rank in hears:
            heard = self._lines[rank].heard if rank in self._lines else self._began
            if rank not in self._gone and now - heard > self.seconds:
                self._judge(
                    rank,
                    f"has not answered for {self.seconds:g} seconds: it is frozen, its machine has "
                    "stopped, or the network between the machines is interrupted",
                )

    def _judge(self, rank: Any, why: str) -> None:
        """Decide that a process is lost; tell everyone, print it, and only then let it be known."""
        if self.verdict is not None or self._leaving or rank not in range(len(self.members)):
            return
        ends = "It ends: the others have gone on without it" if rank == self.rank else "Ends, too"
        message = (
            f"{self.members[rank]} {why}. {ends}: rank {self.rank} (process {os.getpid()}). What "
            "was saved is complete: give the same command again, for a training with --resume"
        )
        for line in list(self._lines.values()):
            line.send({"lost": rank, "why": why})
        text = f"alexnet: {escape_unprintable(message)}\n"
        with suppress(OSError):
            os.write(2, text.encode("utf-8", "backslashreplace"))
        self.verdict = ProcessLost(rank, message)  # now the main thread may end the process
        self._decided.set()

    def _end_process(self) -> None:
        """End the process if the main thread does not do that in time."""
        time.sleep(GRACE)
        os._exit(EXIT_LOST)

    def _end_at_exit(self) -> None:
        """Do not wait at the exit for what libraries still have to say to the lost process."""
        if self.verdict is not None:
            with suppress(Exception):
                sys.stdout.flush()
            os._exit(EXIT_LOST)

    def _close(self) -> None:
        """Close all connections."""
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
