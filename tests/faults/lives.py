"""Processes that are killed: forked from one that has imported everything, or started as commands.

A forked process needs no time for imports. Forking is safe because the forking process has only one
thread (`check_alone`): it computes on one thread, so that OpenMP starts no others.
Import this module before numpy and torch: it sets their numbers of threads.
"""

from __future__ import annotations

import os

THREADS = int(os.environ.get("OMP_NUM_THREADS") or 1)
"""Threads of every life; the forking process itself has one."""
NUMBERS = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"
for _name in NUMBERS:
    os.environ[_name] = "1"

import contextlib  # noqa: E402
import mmap  # noqa: E402
import pickle  # noqa: E402
import resource  # noqa: E402
import signal  # noqa: E402
import struct  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
import traceback  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

ROOT = Path(__file__).parents[2]
TOUCHES = (
    *("os.rename", "os.remove", "os.link", "os.symlink"),
    *("os.truncate", "os.mkdir", "os.rmdir"),
)
"""Audit events at which a process changes a file system, beside opening a file for writing."""
SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
PATIENCE = 120.0
"""Seconds that a life may take before it counts as hanging."""


@dataclass(frozen=True)
class Death:
    """How a life is to end, unless it ends by itself before."""

    number: int = signal.SIGKILL
    seconds: float | None = None
    """After which the signal is sent."""
    touch: int | None = None
    """Before which change of the file system the process kills itself."""
    file_bytes: int | None = None
    """No file may grow beyond: a disk that is full."""
    deaf: bool = False
    """What is printed goes into a pipe that nobody reads any more."""


@dataclass(frozen=True)
class Life:
    """How a life went."""

    status: int
    """Exit status; the negative number of the signal that ended it."""
    seconds: float
    touches: int
    """How often it was about to change the file system."""
    printed: str
    hung: bool = False

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.status == -signal.SIGKILL and not self.hung


def check_alone() -> None:
    """Raise RuntimeError if this process has other threads, which no fork would survive."""
    tasks, began = Path("/proc/self/task"), time.monotonic()
    if not tasks.exists():
        return
    while (count := len(list(tasks.iterdir()))) > 1 and time.monotonic() - began < 5:
        time.sleep(0.01)  # one that has been joined may still be going
    if count > 1:
        raise RuntimeError(f"{count} threads: forking would lose those that are not this one")


def live(work: Callable[[], object], death: Death) -> Life:
    """Do some work in a forked process, and end it as `death` says."""
    check_alone()
    sys.stdout.flush()
    sys.stderr.flush()
    touches = mmap.mmap(-1, 8)
    with tempfile.TemporaryFile() as log:
        child = os.fork()
        if child == 0:
            _be_born(work, death, log.fileno(), touches)
        return _watched(child, death, log, touches)


def live_for_real(command: list[str], death: Death, threads: int = THREADS) -> Life:
    """Run a program as a user does, and end it as `death` says (but not at a touch)."""
    variables = {**os.environ, **dict.fromkeys(NUMBERS, str(threads))}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=variables
        )
        life = _watched(process.pid, death, log, mmap.mmap(-1, 8))
        process.returncode = life.status
        return life


def ask(question: Callable[[], Any]) -> Any:
    """What a function returns in a forked process, whose memory is gone afterwards."""
    with tempfile.TemporaryFile() as answer:

        def work() -> None:
            answer.write(pickle.dumps(question()))
            answer.flush()

        life = live(work, Death())
        if life.status != 0:
            raise RuntimeError(f"a judge ended with status {life.status}: {life.printed[-3000:]}")
        answer.seek(0)
        return pickle.load(answer)  # our own


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Let this process say nothing, whatever is done with its streams meanwhile."""
    streams, handlers = (sys.stdout, sys.stderr), [signal.getsignal(x) for x in SIGNALS]
    kept, null = [os.dup(number) for number in (1, 2)], os.open(os.devnull, os.O_WRONLY)
    try:
        for number in 1, 2:
            os.dup2(null, number)
        yield
    finally:
        for stream in sys.stdout, sys.stderr:
            stream.flush()
        sys.stdout, sys.stderr = streams
        for number, file in zip((1, 2), kept, strict=True):
            os.dup2(file, number)
        for file in (*kept, null):
            os.close(file)
        for signal_number, handler in zip(SIGNALS, handlers, strict=True):
            signal.signal(signal_number, handler)


def _be_born(work: Callable[[], object], death: Death, log: int, touches: mmap.mmap) -> None:
    """The whole life of a forked process; it never returns."""
    status = 70
    try:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        _redirect(log, death.deaf)
        if death.file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (death.file_bytes, resource.RLIM_INFINITY))
        _count_touches(touches, death.touch)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(THREADS)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        work()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
        if "/alexnet/" in traceback.format_exc():  # else it came before any line of the program
            traceback.print_exc()
    except BaseException:  # noqa: BLE001 - whatever it is, the parent shall read it
        traceback.print_exc()
    finally:
        for stream in sys.stdout, sys.stderr:
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)


def _redirect(log: int, deaf: bool) -> None:
    if deaf:
        reader, log = os.pipe()
        os.close(reader)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115


def _count_touches(shared: mmap.mmap, last: int | None) -> None:
    """Count changes of the file system, and die before the one that is to be the last."""
    count = 0

    def touched(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if name == "open":
            if not isinstance(arguments[2], int) or not arguments[2] & (os.O_WRONLY | os.O_RDWR):
                return
        elif name not in TOUCHES:
            return
        count += 1
        shared[:8] = struct.pack("q", count)
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sync = os.fsync

    def touched_and_sync(file: int) -> None:
        touched("os.truncate", ())
        sync(file)

    os.fsync = touched_and_sync
    sys.addaudithook(touched)


def _watched(child: int, death: Death, log: Any, touches: mmap.mmap) -> Life:
    """Send the signal in time, and wait for the end."""
    began, sent, hung = time.monotonic(), False, False
    while (found := os.waitpid(child, os.WNOHANG))[0] == 0:
        passed = time.monotonic() - began
        if death.seconds is not None and passed >= death.seconds and not sent:
            os.kill(child, death.number)
            sent = True
        if passed > PATIENCE and not hung:
            os.kill(child, signal.SIGKILL)
            hung = True
        time.sleep(0.001)
    log.seek(0)
    printed = log.read().decode("utf-8", "replace")
    (count,) = struct.unpack("q", touches[:8])
    seconds = time.monotonic() - began
    return Life(os.waitstatus_to_exitcode(found[1]), seconds, count, printed, hung)
