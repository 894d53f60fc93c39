"""The valid outcomes of a hostile input: a result, or an error message that helps the user."""

from __future__ import annotations

import dis
import traceback
from types import TracebackType

import alexnet
from alexnet.cli import FAILURES

PACKAGE = alexnet.__path__[0]
NEVER = RecursionError, NotImplementedError, UnicodeError
"""Subclasses of the errors that the command line prints in one line, but not helpful to a user."""
FAILING = "traceback", "wrong", "crash", "hang", "memory"
"""Kinds of findings that break a promise. `unclear` ones do not: those errors are told in a line,
but in the words of a library. `guarded` ones cost a process that is there for it."""


class Wrong(Exception):  # noqa: N818 - it is a finding, no error
    """A reader returned something that cannot be."""


def judge(error: BaseException) -> str | None:
    """The kind of finding that an exception is; None for an error as it should be."""
    if isinstance(error, Wrong):
        return "wrong"
    if isinstance(error, MemoryError):
        return None if _is_raised_by_us(error.__traceback__) else "memory"
    if isinstance(error, UnicodeError) and isinstance(error, FAILURES):
        return "unclear"
    if not isinstance(error, FAILURES) or isinstance(error, NEVER):
        return "traceback"
    if isinstance(error, OSError) and error.errno is not None:
        return None
    return None if _is_raised_by_us(error.__traceback__) else "unclear"


def place(error: BaseException) -> str:
    """The deepest line of the package that it passed: file, function and line."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(PACKAGE)]
    if not ours:
        return "outside"
    last = ours[-1]
    return f"{last.filename.removeprefix(PACKAGE + '/')}:{last.name}"


def _is_raised_by_us(trace: TracebackType | None) -> bool:
    """Whether a `raise` in the package made it, and no library that the package called."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not trace.tb_frame.f_code.co_filename.startswith(PACKAGE):
        return False
    code = trace.tb_frame.f_code.co_code
    return dis.opname[code[trace.tb_lasti]] in ("RAISE_VARARGS", "RERAISE")
