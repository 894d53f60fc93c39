"""The command line: parse, run one command, say what went wrong. `commands` has a file for each."""

from __future__ import annotations

import os
import sys
from typing import Any

import tyro

from alexnet import __version__
from alexnet.commands import COMMANDS
from alexnet.terminal import guarded

DESCRIPTION = """Labeled images in, a trained and measured classifier out: the system of Krizhevsky,
Sutskever & Hinton (2012). `alexnet demo` shows all of it in a minute; `alexnet COMMAND --help`
explains one. Exit codes: 0 done, 1 failed, 2 usage, 3 diverged, 130 and 143 interrupted."""

FAILURES = (OSError, ValueError, RuntimeError)
"""What a user can cause. Anything else is a fault of this program and keeps its traceback."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--version"]:
        print(f"alexnet {__version__}")
        sys.exit(0)
    command = tyro.extras.subcommand_cli_from_dict(
        COMMANDS, prog="alexnet", description=DESCRIPTION, args=arguments or ["--help"]
    )
    with guarded():
        _run(command)


def _run(command: Any) -> None:
    """Run a command and exit with its status."""
    try:
        sys.exit(command.run())
    except BrokenPipeError:  # whoever read our output has seen enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except FAILURES as error:
        print(f"alexnet: {_message(error)}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))
    except KeyboardInterrupt:
        sys.exit(130)


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
