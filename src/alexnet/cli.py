"""The command line: parse, run one command, say what went wrong. `commands` has a file for each.

Nothing is imported here that takes time: `main` prepares the process first, so that a signal or a
closed pipe is met well from the start.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from alexnet import __version__
from alexnet.terminal import guard_streams
from alexnet.training.interrupt import end_at_signals

DESCRIPTION = """Labeled images in, a trained and measured classifier out: the system of Krizhevsky,
Sutskever & Hinton (2012). `alexnet demo` shows all of it in a minute; `alexnet COMMAND --help`
explains one. Exit codes: 0 done, 1 failed, 2 usage, 3 diverged, 129, 130 and 143 interrupted."""

FAILURES = (OSError, ValueError, RuntimeError, MemoryError)
"""What a user can cause. Anything else is a fault of this program and keeps its traceback."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    end_at_signals()
    _prepare_streams()
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--version"]:
        print(f"alexnet {__version__}")
        sys.exit(0)
    import tyro

    from alexnet.commands import COMMANDS

    with guard_streams():
        _run(tyro, COMMANDS, arguments)


def _run(tyro: Any, commands: dict[str, Any], arguments: list[str]) -> None:
    """Parse the arguments, run the command and exit with its status."""
    try:
        command = tyro.extras.subcommand_cli_from_dict(
            commands, prog="alexnet", description=DESCRIPTION, args=arguments or ["--help"]
        )
        status = command.run()
        sys.stdout.flush()  # what cannot be written is an error now, not at the interpreter's end
        sys.exit(status)
    except BrokenPipeError:  # whoever read our output has seen enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except FAILURES as error:
        print(f"alexnet: {_message(error)}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))
    except KeyboardInterrupt:
        sys.exit(130)


class Messages(io.FileIO):
    """A descriptor for messages: what cannot be written (closed pipe, full disk) is dropped."""

    def write(self, data: object) -> int:
        """Write, or let it go: a program that works does not end because nobody listens."""
        try:
            return super().write(data) or 0  # type: ignore[arg-type]
        except OSError:
            return memoryview(data).nbytes  # type: ignore[arg-type]


def _prepare_streams() -> None:
    """Make stdout and stderr take every text, and stderr never fail.

    What a terminal's encoding lacks, and the bytes of a file name that are not text, are printed
    as escapes. A descriptor that the caller closed becomes /dev/null: else the next file that is
    opened would take its number, and receive what libraries print.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if not _writes_to(sys.stderr, 2):  # somebody's own, as in a notebook or a test
        return
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(Messages(2, "w", closefd=False)),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=True,
    )


def _writes_to(stream: Any, descriptor: int) -> bool:
    """Whether a stream is one of the process's own; one that was closed counts as such."""
    try:
        return stream is None or stream.fileno() == descriptor
    except (AttributeError, OSError, ValueError):
        return False


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__
