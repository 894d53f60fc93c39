"""Text of unknown origin, made safe to print.

Names of files and classes come from others. They may contain escape sequences that clear the screen
or type into the terminal, marks that reverse the direction of writing, bytes that are not text, or
characters that the terminal's encoding does not have. `cli` replaces stdout and stderr by
`GuardedStream`s, so no command has to think of this; what draws on the terminal itself, as
`screen.Bar`, unwraps the stream and escapes its texts. Imports nothing of this package.
"""

from __future__ import annotations

import contextlib
import sys
import textwrap
from collections.abc import Iterator
from typing import Any, TextIO

_KEPT = "\n\t"
"""Control characters that a GuardedStream passes on."""


def escape_unprintable(text: str, kept: str = "") -> str:
    """Return the text with every character that is not printable escaped, as `\\x1b`.

    Escaped are control characters, direction marks, spaces other than the usual one, and bytes of a
    file name that are not text (lone surrogates). The characters in `kept` stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else _escaped(c) for c in text)


def escape_unencodable(text: str, encoding: str | None) -> str:
    """Return the text with characters escaped that `encoding` (None: UTF-8) does not have."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def format_count(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 image`, `1,200 images`, `1 class`, `2 classes`.

    The plural is the noun with an s, or es after s, x or sh, if it is not given.
    """
    if number == 1:
        return f"1 {noun}"
    ending = "es" if noun.endswith(("s", "x", "sh")) else "s"
    return f"{number:,} {plural or noun + ending}"


def wrap_text(text: str, width: int = 80) -> str:
    """Return a text in lines of at most `width` columns; a longer word, as a path, stays whole.

    Lines that fit stay as they are. The rest of a longer one is indented by two columns more.
    """
    lines: list[str] = []
    for line in text.split("\n"):
        indent = " " * (len(line) - len(line.lstrip(" ")) + 2)
        fits = len(line) <= width
        lines += (
            [line]
            if fits
            else textwrap.wrap(
                line,
                max(width, 20),
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
    return "\n".join(lines)


class GuardedStream:
    """A text stream in front of another one that escapes what is written.

    Newlines and tabs pass; other control characters, and characters that the encoding of the other
    stream does not have, are escaped. All other attributes are those of the other stream.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write the text, escaped; return its length before that, as every stream does."""
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
    """While entered, replace stdout and stderr by GuardedStreams."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = GuardedStream(sys.stdout), GuardedStream(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


def unwrap_stream(stream: TextIO) -> TextIO:
    """Return the stream behind a GuardedStream, for code that escapes its texts itself."""
    return stream.stream if isinstance(stream, GuardedStream) else stream
