"""The help of `alexnet` and of each command, in at most 80 columns.

`cli.main` prints it for --help. The text comes from the docstrings of the command and of its fields
(`options`); the options that most people need come first.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping

from alexnet.commands.options import Option, group_options, list_options

WIDTH = 80
"""Columns at most; fewer on a narrower terminal."""
INDENT = 26
"""Columns before the explanation of an option."""


def format_overview(commands: Mapping[str, type], description: str) -> str:
    """Return the help of the program: what it does, and a line or two for each command."""
    lines = ["usage: alexnet COMMAND [OPTIONS]", "", _wrap(description, ""), "", "Commands:"]
    lines += [_format_row(name, _summarize(command)) for name, command in commands.items()]
    lines += ["", "Options:"]
    lines += [_format_row("-h, --help", "Print this help; after a command, the command's help.")]
    lines += [_format_row("--version", "Print the version of the program.")]
    return "\n".join(lines)


def format_help(name: str, command: type) -> str:
    """Return the help of one command: its arguments, then its options in groups."""
    positional = [option for option in list_options(command) if option.is_positional]
    usage = " ".join(["usage: alexnet", name, *(x.metavar for x in positional), "[OPTIONS]"])
    lines = [_wrap(usage, "    ", first=""), "", _wrap(command.__doc__ or "", "")]
    if positional:
        lines += ["", "Arguments:", *map(_format_option, positional)]
    for title, options in group_options(command).items():
        lines += ["", f"{title}:", *map(_format_option, options)]
    lines += ["", _format_row("-h, --help", "Print this help.")]
    return "\n".join(lines)


def _format_option(option: Option) -> str:
    """Return an option with its value and its explanation."""
    name = ", ".join((*option.short, option.flag))
    if option.is_positional or option.is_flag:
        return _format_row(name, option.about)
    return _format_row(f"{name} {option.metavar}", option.about)


def _format_row(left: str, right: str) -> str:
    """Return two columns; a left column that is too wide stands on a line of its own."""
    left = f"  {left}"
    text = _wrap(right, " " * INDENT)
    return left + text[len(left) :] if len(left) + 2 <= INDENT else f"{left}\n{text}"


def _wrap(text: str, indent: str, first: str | None = None) -> str:
    """Return text filled to the width of the help."""
    width = max(40, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))
    return textwrap.fill(
        " ".join(text.split()),
        width,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _summarize(command: type) -> str:
    """Return the first sentence of a command's docstring, up to a colon or a semicolon."""
    text = " ".join((command.__doc__ or "").split())
    for end in (". ", ": ", "; "):
        text = text.partition(end)[0]
    return text.rstrip(".") + "."
