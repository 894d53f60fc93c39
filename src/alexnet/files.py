"""Writing files so that nothing is lost: whole or not at all, one process to a folder.

    replace_file(path, lambda draft: save_file(tensors, draft))
    with lock_folder(run, "training"):
        append(run / "log.jsonl", line)

A file is written beside its place, flushed to the disk and renamed, so that at every moment the old
one or the new one is there, whole. Every module that writes a file which a crash must not damage
does so through this one. Imports nothing of this package.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LOCK = ".lock"
"""The file that a process locks in a folder; one that is not locked means nothing."""


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` make a file at the path that it is given, and rename that one to `path`.

    The file, and then its new name, are on the disk when this returns. Raises OSError where it
    cannot be written; the file that was there is untouched then.
    """
    draft = path.with_name(f".{path.name}.partial")
    try:
        write(draft)
        _flush(draft)
        os.replace(draft, path)
        _flush(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def replace_bytes(path: Path, content: bytes) -> None:
    """Write the bytes of a file, whole or not at all. Raises OSError as `replace_file` does."""
    replace_file(path, lambda draft: draft.write_bytes(content))


def replace_json(path: Path, content: Any, indent: int = 2) -> None:
    """Write a JSON file, whole or not at all, in ASCII whatever the names in it.

    Raises OSError as `replace_file` does.
    """
    replace_bytes(path, (json.dumps(content, indent=indent) + "\n").encode("ascii"))


def append(path: Path, content: bytes) -> None:
    """Add bytes to the end of a file: all of them or, raising OSError, none."""
    with path.open("ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        try:
            while content:
                content = content[file.write(content) :]
        except OSError:
            file.truncate(end)
            raise


@contextmanager
def lock_folder(folder: Path, doing: str) -> Iterator[None]:
    """Keep other processes that lock this folder out of it; `doing` is what this one does there.

    The lock belongs to the process and goes with it, however it ends. Raises BlockingIOError where
    another process holds it. A folder that this process cannot write to is not locked: nothing
    can be destroyed there.
    """
    try:
        file = _lock(folder / LOCK)
    except BlockingIOError:
        raise BlockingIOError(
            f"another process is {doing} in {folder}. Wait for it to end, or name another folder"
        ) from None
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        yield
        return
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        os.close(file)


def _lock(path: Path) -> int:
    """Open and lock a file; its descriptor. Raises BlockingIOError where it is locked already."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same(file, path):  # else its last owner has removed it since it was opened
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _is_same(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _flush(path: Path) -> None:
    """See that a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
