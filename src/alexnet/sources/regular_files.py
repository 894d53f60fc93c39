"""Opening files that must be files: a pipe would block, a device would never end."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


def open_descriptor(path: str | Path) -> int:
    """Open a regular file for reading. Raises OSError for anything else, without waiting for it.

    What was a file when its folder was listed may have become a pipe, so the opened file is asked.
    """
    waits_for_no_writer = getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | waits_for_no_writer)
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise OSError(f"{path} is {_KINDS.get(kind, 'no file')}, not a file")
    return descriptor


def open_regular(path: str | Path) -> BinaryIO:
    """`open_descriptor` as a binary file."""
    return os.fdopen(open_descriptor(path), "rb")


def read_regular(path: str | Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes. Raises OSError for anything else.

    Files of the system may say that they have no bytes and never end, so their size is not trusted.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= limit:
            content = file.read(size + 1 if size else limit + 1)
            if len(content) <= limit:
                return content
    raise OSError(f"{path} has more than {limit:,} bytes, which no image file has")
