"""The door to the terminal: what is printed can neither control it nor fail for want of a letter.

Names of files and classes come from others. A name may hold escape sequences that clear the screen
or type into it, marks that turn the direction of writing, or bytes that are no text. `cli` puts a
`GuardedStream` before both outputs, so that no command has to think of it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, TextIO

_KEPT = "\n\t"


def escape_unprintable(text: str, kept: str = "") -> str:
    """Text with all that is no visible character escaped, as `\\x1b`, but for what is `kept`.

    That is control characters, marks of direction, spaces other than the usual one, and bytes of a
    file name that are no text (lone surrogates).
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else _escaped(c) for c in text)


def escape_unencodable(text: str, encoding: str | None) -> str:
    """Text with the characters escaped that an encoding, as that of a terminal, does not have."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class GuardedStream:
    """A text stream that passes on lines and tabs, and every other control character escaped."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write text as a terminal can be trusted with it."""
        safe = escape_unprintable(text, _KEPT)
        self.stream.write(escape_unencodable(safe, self.stream.encoding))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of the lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def guard_streams() -> Iterator[None]:
    """Everything that is printed meanwhile goes through a GuardedStream."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = GuardedStream(sys.stdout), GuardedStream(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


def unwrap_stream(stream: TextIO) -> TextIO:
    """The stream itself, for who draws on the terminal and escapes the texts of others."""
    return stream.stream if isinstance(stream, GuardedStream) else stream
