"""Opens regular files only: a pipe would block forever, and a device might never end.

Everything that reads the files of a source, or images to predict, opens them here.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


def open_descriptor(path: str | Path) -> int:
    """Open a regular file for reading; return its file descriptor.

    Raises OSError for anything else, without blocking. The type is checked after opening, because
    what was a file when its folder was listed may have been replaced by a pipe.
    """
    without_blocking = getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | without_blocking)
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise OSError(f"{path} is {_KINDS.get(kind, 'no file')}, not a regular file")
    return descriptor


def open_regular(path: str | Path) -> BinaryIO:
    """Open a regular file as a binary file object; raises OSError for anything else."""
    return os.fdopen(open_descriptor(path), "rb")


def read_regular(path: str | Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes. Raises OSError for anything else.

    Some system files (in /proc) report a size of zero, but never end. So at most one byte more than
    the limit is read, whatever size is reported.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= limit:
            content = file.read(size + 1 if size else limit + 1)
            if len(content) <= limit:
                return content
    raise OSError(f"{path} has more than {limit:,} bytes, which no image file has")
