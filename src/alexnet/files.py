"""Writes files completely or not at all, and locks folders for one process at a time.

    replace_file(path, lambda draft: save_file(tensors, draft))
    with lock_folder(run, "training"):
        append(run / "log.jsonl", line)

Every module that writes a file which a kill, a full disk or a power failure must not damage does
so through this one. A file is replaced in five steps, so that at every moment `path` is the old
file or the new one, complete:

    write      .NAME.partial    in the same folder, so in the same file system
    chmod      .NAME.partial    readable as the umask says, whatever library wrote it
    fsync      .NAME.partial    its bytes are on the disk
    rename     .NAME.partial → NAME
    fsync      the folder       the new name is on the disk, too

The shards of a pack are not written like this: they are too large to be written twice, and
`packing.journal` records which part of them is valid. Imports nothing of this package.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LOCK = ".lock"
"""The file in a folder that a process locks. If no process has it locked, it means nothing."""
NOT_WRITABLE = errno.EACCES, errno.EPERM, errno.EROFS
"""Errors of a folder that this process has no right to write to."""
NO_FOLDER_SYNC = errno.EACCES, errno.EINVAL, errno.ENOTSUP
"""Errors of folders that cannot be flushed, on file systems that order names by themselves."""
NO_LOCKS = errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP
"""Errors of file systems that have no locks."""


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` make a file at the path that it is given, then rename that file to `path`.

    Parameters
    ----------
    path
        The file to replace, or to make. Its folder must exist.
    write
        Called once with the path of an empty draft in the same folder. It may open that file and
        write to it, or put another file in its place. What it returns is ignored.

    Raises OSError if the file cannot be written, and whatever `write` raises. The old file is then
    as it was and the draft is removed. Only a kill leaves a draft behind; the next call for the
    same path uses it again, so there is never more than one. Processes that replace the same file
    at the same time write separate drafts; the last to finish wins.
    """
    draft, lock = _open_draft(path)
    try:
        write(draft)
        _set_permissions(draft, stat.S_IMODE(os.fstat(lock).st_mode))
        _flush(draft)
        os.replace(draft, path)
        _remove_second_name(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    finally:
        os.close(lock)
    _flush_folder(path.parent)


def create_file(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` make a file, as `replace_file` does, and name it `path` if that is free.

    Raises FileExistsError, before `write` is called or after it, if there is anything at `path`: it
    stays as it is, whoever made it and when. Raises what `replace_file` raises otherwise.
    """
    draft, lock = _open_draft(path)  # removes what a kill between link and unlink has left
    try:
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        write(draft)
        _set_permissions(draft, stat.S_IMODE(os.fstat(lock).st_mode))
        _flush(draft)
        _name_exclusively(draft, path)
    finally:
        draft.unlink(missing_ok=True)
        os.close(lock)
    _flush_folder(path.parent)


def _name_exclusively(draft: Path, path: Path) -> None:
    """Give a draft its name; raise FileExistsError if something else has it."""
    try:
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: the name was free a moment ago
        if os.path.lexists(path):
            raise
        os.rename(draft, path)


def replace_bytes(path: Path, content: bytes) -> None:
    """Replace a file by these bytes, whole or not at all. Raises OSError as `replace_file` does."""
    replace_file(path, lambda draft: draft.write_bytes(content))


def replace_json(path: Path, content: Any, indent: int = 2) -> None:
    """Replace a JSON file, whole or not at all. It is ASCII, whatever the names in it.

    Raises OSError as `replace_file` does, and TypeError if `content` has no form in JSON.
    """
    replace_bytes(path, (json.dumps(content, indent=indent) + "\n").encode("ascii"))


def append(path: Path, content: bytes) -> None:
    """Add bytes to the end of a file: all of them or, raising OSError, none.

    They are handed to the system at once and survive a kill, but are not flushed to the disk: a
    power failure may cost the last lines of a log, which is cheaper than an fsync for each. Only
    one process at a time may append to a file (`lock_folder`).
    """
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
    """Keep other processes that lock this folder out of it, while entered.

    `doing` says what this process does there ("training"), for the message of the error that
    another process gets. The lock ends with the process, however that ends.

    Raises BlockingIOError if another process holds the lock, FileNotFoundError if there is no such
    folder. A folder that this process may not write to is not locked: it cannot be damaged.
    """
    path = folder / LOCK
    try:
        file = _open_and_lock(path)
    except BlockingIOError:
        raise BlockingIOError(
            f"another process is {doing} in {folder}. Wait for it to end, or name another folder"
        ) from None
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        yield
        return
    try:
        yield
    finally:
        try:
            if _is_at(file, path):  # else the folder was removed, and may be another process's now
                path.unlink(missing_ok=True)
        finally:
            os.close(file)


def hold_folder(folder: Path) -> int | None:
    """Hold a folder while its files are used; `is_held` is then true, in this process and others.

    Any number of readers may hold a folder, also one that they cannot write to. Returns what
    `release_folder` takes; the end of the process releases the folder, too. None if the folder is
    not there, or where the file system has no such locks.
    """
    file = -1
    try:
        file = os.open(folder, os.O_RDONLY)
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return file
    except OSError:
        release_folder(file if file >= 0 else None)
        return None


def release_folder(held: int | None) -> None:
    """Release what `hold_folder` returned."""
    if held is not None:
        os.close(held)


def is_held(folder: Path) -> bool:
    """Whether anybody holds a folder. False where the file system has no such locks."""
    try:
        file = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(file)
    return False


def _open_draft(path: Path) -> tuple[Path, int]:
    """Lock a draft beside `path`; return its path and the descriptor that holds the lock.

    A draft that another process is writing is left alone: the next free name is taken.
    """
    for number in itertools.count(1):
        suffix = f".{number}" if number > 1 else ""
        draft = path.with_name(f".{path.name}{suffix}.partial")
        try:
            while _is_leftover(os.fstat(file := _open_and_lock(draft, required=False))):
                draft.unlink()
                os.close(file)
            return draft, file
        except BlockingIOError:
            continue
    raise AssertionError("there are more names than processes")


def _is_leftover(status: os.stat_result) -> bool:
    """Whether a draft was left by a kill, so that it is made anew, with permissions of today.

    It has content, or it is a link to a file that must not be written to.
    """
    return status.st_nlink > 1 or status.st_size > 0


def _set_permissions(draft: Path, mode: int) -> None:
    """Give the draft the permissions that it was made with, which are those of the umask.

    safetensors and `tempfile` write another file, which only its owner can read, in its place. A
    file of another user, to which the draft may be a link, keeps its permissions.
    """
    if stat.S_IMODE(draft.stat().st_mode) != mode:
        with suppress(PermissionError):
            draft.chmod(mode)


def _remove_second_name(draft: Path, path: Path) -> None:
    """Remove the draft if it is still there after it was renamed to `path`.

    Renaming one name of a file to another name of the same file does nothing (POSIX). That is the
    case if `write` has made the draft a hard link to the file that is at `path` already.
    """
    with suppress(FileNotFoundError):
        if draft.samefile(path):
            draft.unlink()


def _open_and_lock(path: Path, required: bool = True) -> int:
    """Open a file, making it if need be, and lock it; return its descriptor.

    Between opening and locking, the owner of the lock may remove the file, and a third process
    make it anew. A lock on a file that has no name any more keeps nobody out, so the name is
    checked after locking:

        this process     open 1 · · · · · · · lock 1   name is 2: try again
        its last owner   · · · · unlink 1, close
        a third process  · · · · · · · · · · open 2, lock 2

    Raises BlockingIOError if another process holds the lock. `required=False` goes without a lock
    where the file system has none.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(file, required)
            if _is_at(file, path):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _lock(file: int, required: bool) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if required or error.errno not in NO_LOCKS:
            raise


def _is_at(file: int, path: Path) -> bool:
    """Whether an open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _flush(path: Path) -> None:
    """Wait until a file's bytes, or the names in a folder, are on the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the file system can do that."""
    try:
        _flush(folder)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
