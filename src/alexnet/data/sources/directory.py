"""Folders of a file system, walked without trust: loops, pipes, locked folders are only named."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alexnet.data.sources.entry import Skipped
from alexnet.data.sources.names import ARCHIVE, is_hidden, is_sidecar
from alexnet.data.sources.reader import Reader, open_reader
from alexnet.data.sources.tarball import Pass
from alexnet.data.sources.tree import Found, join

Inode = tuple[int, int]


class Directory:
    """A folder of the file system as a Tree. Links are followed, into no folder twice."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with os.scandir(path):  # a folder that cannot be read fails here
            pass

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly in `folder`, sorted."""
        return [item.name for item in self._items(folder) if _leads_to_folder(item)]

    def files(self, folder: str) -> list[str]:
        """Names of the files directly in `folder`, sorted."""
        return [item.name for item in self._items(folder) if not _leads_to_folder(item)]

    def hidden(self, folder: str) -> list[str]:
        """Hidden names directly in `folder`, sorted."""
        return [item.name for item in self._scan(folder) if is_hidden(item.name)]

    def open(self, name: str) -> Reader:
        """A file for reading through."""
        return open_reader(self.path / name)

    def walk(
        self, folder: str, split: str, *, inner_tars: bool = False
    ) -> Iterator[Found | Skipped]:
        """Every file below `folder`, sorted by name within its folder."""
        return _Walk(self.path, split, inner_tars).files(folder)

    def _items(self, folder: str) -> list[os.DirEntry[str]]:
        return [item for item in self._scan(folder) if not is_hidden(item.name)]

    def _scan(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            return _scan(self.path / folder)
        except OSError:
            return []  # there is none, or it is locked, which walking will tell


@dataclass(frozen=True, slots=True)
class _Item:
    """A file to be found or a folder to go into."""

    name: str
    is_folder: bool


class _Walk:
    """One pass over a folder, remembering the folders it has been in."""

    def __init__(self, top: Path, split: str, inner_tars: bool) -> None:
        self._top = top
        self._split = split
        self._inner_tars = inner_tars
        self._own: set[Inode] = set()
        self._entered: set[Inode] = set()

    def files(self, folder: str) -> Iterator[Found | Skipped]:
        """Depth first, without recursion: a folder may be deeper than Python's stack."""
        self._own = _real_folders(self._top / folder)
        self._entered = set(self._own)
        stack = [self._level(folder)]
        while stack:
            item = next(stack[-1], None)
            if item is None:
                stack.pop()
            elif isinstance(item, Skipped):
                yield item
            elif item.is_folder:
                stack.append(self._level(item.name))
            else:
                yield from self._file(item.name)

    def _level(self, folder: str) -> Iterator["_Item | Skipped"]:
        try:
            items = _scan(self._top / folder)
        except OSError as error:
            yield Skipped(self._split, folder, "unreadable", _words(error))
            return
        for item in items:
            name = join(folder, item.name)
            yield self._refusal(name, item) or _Item(name, _leads_to_folder(item))

    def _file(self, name: str) -> Iterator[Found | Skipped]:
        path = self._top / name
        if not (self._inner_tars and ARCHIVE.search(name)):
            yield Found(name, path)
            return
        inside = Pass(self._split, path.name, prefix=ARCHIVE.sub("", name) + "/")
        with open_reader(path) as reader:
            yield from inside.files(reader)

    def _refusal(self, name: str, item: os.DirEntry[str]) -> Skipped | None:
        try:
            reason, detail = self._reason(name, item)
        except OSError as error:
            reason = "symlink_loop" if error.errno == errno.ELOOP else "unreadable"
            detail = _words(error)
        return Skipped(self._split, name, reason, detail) if reason else None

    def _reason(self, name: str, item: os.DirEntry[str]) -> tuple[str, str]:
        if is_hidden(item.name):
            return "hidden", "a hidden name, or one that systems and editors leave behind"
        if item.is_dir():
            return self._reason_to_stay_out(item)
        if not item.is_file():
            return _reason_of_no_file(item)
        return ("not_an_image", "a list or a description") if is_sidecar(name) else ("", "")

    def _reason_to_stay_out(self, item: os.DirEntry[str]) -> tuple[str, str]:
        inode = _inode(Path(item.path))
        if inode in self._entered and (item.is_symlink() or inode not in self._own):
            return "symlink_loop", f"{os.path.realpath(item.path)} is read under another name"
        self._entered.add(inode)
        return "", ""


def _scan(path: Path) -> list[os.DirEntry[str]]:
    with os.scandir(path) as items:
        return sorted(items, key=lambda item: item.name)


def _leads_to_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _reason_of_no_file(item: os.DirEntry[str]) -> tuple[str, str]:
    if item.is_symlink() and not os.path.exists(item.path):
        return "broken_link", f"leads to {os.readlink(item.path)}, which is not there"
    return "not_a_file", "a pipe, a socket or a device"


def _real_folders(path: Path) -> set[Inode]:
    """`path` and the folders in it that are no links: these stay their own, wherever links lead."""
    try:
        inside = [Path(item.path) for item in _scan(path) if item.is_dir(follow_symlinks=False)]
        return {_inode(folder) for folder in (path, *inside)}
    except OSError:
        return set()  # reading the folder will say why


def _inode(path: Path) -> Inode:
    status = path.stat()
    return status.st_dev, status.st_ino


def _words(error: OSError) -> str:
    return error.strerror or str(error)
