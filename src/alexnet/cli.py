"""The command line: parse the arguments, run one command, print its error.

    main ─ end_at_signals ─ _prepare_streams ─ help? ─ check the words ─ read --config
         ─ parse (tyro) ─ command.run() ─ exit status

`commands` has a file for each command. Nothing slow is imported at the top of this module: `main`
first installs the signal handlers and prepares the streams, so that signals and closed pipes are
handled while other modules are still being imported. The console script `alexnet` and
`python -m alexnet` call `main`.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any

from alexnet import __version__
from alexnet.terminal import guard_streams
from alexnet.training.interrupt import end_at_signals

DESCRIPTION = """Train an image classifier on labeled images, evaluate it and use it: AlexNet, the
system of Krizhevsky, Sutskever & Hinton (2012), in PyTorch. With a folder of photos, begin with
`alexnet train photos`; `alexnet demo` shows every step in about a minute; `alexnet COMMAND --help`
explains a command. Exit codes: 0 success, 1 error, 2 wrong usage, 3 the training diverged, 4
another process of the job was lost, 129, 130 or 143 stopped by a signal."""
"""What `alexnet --help` prints first."""

FAILURES = (OSError, ValueError, RuntimeError, MemoryError)
"""Errors that a user can cause. Others are faults of this program and keep their traceback."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command line, by default the process's own, and exit with the command's status."""
    end_at_signals()
    _prepare_streams()
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] in (["--version"], ["-V"]):
        print(f"alexnet {__version__}")
        sys.exit(0)
    from alexnet.commands import COMMANDS

    with guard_streams():
        _run(COMMANDS, arguments)


def _run(commands: dict[str, Any], arguments: list[str]) -> None:
    """Print the help, or run a command, and exit with its status."""
    try:
        text = _find_help(commands, arguments)
        status = _parse(commands, arguments).run() if text is None else print(text)
        _print_missing_letters()
        sys.stdout.flush()  # a write error is raised here, not at the exit
        sys.exit(status)
    except BrokenPipeError:  # the reader of our output has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except FAILURES as error:
        print(f"alexnet: {_message(error)}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))
    except KeyboardInterrupt:
        sys.exit(130)


def _print_missing_letters() -> None:
    """Say which letters of the figures that a command has drawn no installed font has."""
    from alexnet.fonts import take_report

    if report := take_report():
        print(f"alexnet: {report}", file=sys.stderr)


def _find_help(commands: dict[str, Any], arguments: list[str]) -> str | None:
    """Return the help that is asked for; None if none is. Without arguments it is the overview."""
    words = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if words and not {"-h", "--help"} & {*words} and words != ["help"]:
        return None
    from alexnet.commands.help_page import format_help, format_overview

    name = next((word for word in words if word in commands), None)
    if name is None or words[0].startswith("-"):
        return format_overview(commands, DESCRIPTION)
    return format_help(name, commands[name])


def _parse(commands: dict[str, Any], arguments: list[str]) -> Any:
    """Return the command with its options; those in the file of --config are read, too.

    Raises UsageError for what no command line can be, also for what only tyro finds wrong.
    """
    from alexnet.commands.config_file import insert_config
    from alexnet.commands.usage import check_words, explain_refusal

    check_words(arguments, commands)
    arguments = insert_config(arguments, commands)
    import tyro

    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message):
            return tyro.extras.subcommand_cli_from_dict(commands, prog="alexnet", args=arguments)
    except SystemExit as end:
        raise explain_refusal(arguments[0], message.getvalue()) from end


class LossyStderr(io.FileIO):
    """A file descriptor for messages: those that cannot be written are dropped.

    A closed pipe or a full disk behind stderr must not end a training.
    """

    def write(self, data: object) -> int:
        """Write the data; report it as written even if that failed."""
        try:
            return super().write(data) or 0  # type: ignore[arg-type]
        except OSError:
            return memoryview(data).nbytes  # type: ignore[arg-type]


def _prepare_streams() -> None:
    """Make stdout and stderr accept all text, and stderr never raise an error.

    Characters that the encoding of the terminal lacks, and bytes of file names that are not valid
    text, are printed as escapes. Standard descriptors that the caller closed are opened on
    /dev/null: otherwise the next file that is opened would get that number, and with it the output
    of libraries.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if not _writes_to(sys.stderr, 2):  # replaced by the caller, as in a notebook or a test
        return
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(LossyStderr(2, "w", closefd=False)),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=True,
    )


def _writes_to(stream: Any, descriptor: int) -> bool:
    """Return whether a stream writes to this descriptor. A closed stream (None) counts."""
    try:
        return stream is None or stream.fileno() == descriptor
    except (AttributeError, OSError, ValueError):
        return False


def _message(error: Exception) -> str:
    """Return the message of an error; of an OSError, the file and the system's reason."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__
