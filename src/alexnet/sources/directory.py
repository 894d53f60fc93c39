"""Folders of a file system, walked without trust: loops, pipes, locked folders are only named.

Links are followed, as many data sets are assembled of them, with three exceptions: a link to a
folder that it lies in, a link into another split of the same source, and a link to a folder that is
read under another name. These are named with where they lead.
"""

import copy
import errno
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from alexnet.sources.entry import Skipped
from alexnet.sources.limits import MOST_CHARACTERS, MOST_LISTED, MOST_NAMES
from alexnet.sources.names import ARCHIVE, is_hidden, is_sidecar
from alexnet.sources.reader import ForwardReader, open_reader
from alexnet.sources.tarball import ArchiveWalk
from alexnet.sources.tree import FoundFile, join

Inode = tuple[int, int]
Listed = str | os.DirEntry[str]
"""The name of a regular file; more is only kept of what is none, or of a link."""
_ENTRY_IN_NAMES = 5  # so many names take the memory of one DirEntry


class TooManyNames(ValueError):  # noqa: N818 - a condition of the folder, not of the program
    """A folder holds more names than are kept in memory."""


class Directory:
    """A folder of the file system as a Tree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._splits: tuple[str, ...] = ()
        with os.scandir(path):  # a folder that cannot be read fails here
            pass

    def divided(self, folders: Iterable[str]) -> "Directory":
        """The same folder, with these folders as its splits: none leads into another by a link.

        Raises ValueError if two of them are one, or one lies in the other.
        """
        tree = copy.copy(self)
        tree._splits = tuple(os.path.realpath(self.path / folder) for folder in folders)
        for number, split in enumerate(tree._splits):
            for other in tree._splits[:number]:
                if _is_in(split, other) or _is_in(other, split):
                    raise ValueError(
                        f"{self.path} has a link by which two of its splits share images: {split} "
                        f"and {other}. Remove it, or no measurement can be trusted"
                    )
        return tree

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly in `folder`, sorted, without links that are refused."""
        refused = self._refused(folder)
        return [
            name
            for name, item in self._items(folder)
            if name not in refused and _leads_to_folder(item)
        ]

    def files(self, folder: str) -> list[str]:
        """Names of the files directly in `folder`, sorted."""
        return [name for name, item in self._items(folder) if not _leads_to_folder(item)]

    def hidden(self, folder: str) -> list[str]:
        """Hidden names directly in `folder`, sorted."""
        return [_name(item) for item in self._listing(folder) if is_hidden(_name(item))]

    def refused_links(self, folder: str) -> list[str]:
        """Links to folders directly in `folder` that are not followed, with where they lead."""
        return [f"{name} → {target}" for name, target in self._refused(folder).items()]

    def open(self, name: str) -> ForwardReader:
        """A file for reading through."""
        return open_reader(self.path / name)

    def walk(
        self, folder: str, split: str, *, inner_tars: bool = False
    ) -> Iterator[FoundFile | Skipped]:
        """Every file below `folder`, sorted by name within its folder."""
        return _Walk(self.path, split, self._splits, inner_tars).files(folder)

    def _refused(self, folder: str) -> dict[str, str]:
        """Links to folders that are not followed, as far as one folder tells, and their targets."""
        items = self._items(folder)
        known = {os.path.realpath(os.path.join(self.path, folder, name))
                 for name, item in items if _is_real_folder(item)}  # fmt: skip
        rules, refused = _Rules(self.path / folder, self._splits), {}
        for name, item in items:
            if not isinstance(item, str) and item.is_symlink() and _leads_to_folder(item):
                target = os.path.realpath(item.path)
                if target in known or rules.of_folder(item.path, target):
                    refused[name] = target
                known.add(target)
        return refused

    def _items(self, folder: str) -> list[tuple[str, Listed]]:
        return [(_name(item), item) for item in self._listing(folder) if not is_hidden(_name(item))]

    def _listing(self, folder: str) -> list[Listed]:
        try:
            return _scan(self.path / folder, MOST_LISTED)
        except OSError:
            return []  # there is none, or it is locked, which walking will tell


class _Rules:
    """Which links lead astray from a folder, by the real paths of what they lead to."""

    def __init__(self, root: Path, splits: tuple[str, ...]) -> None:
        self._root = os.path.realpath(root)
        self._others = [split for split in splits if not _is_in(self._root, split)]

    def of_folder(self, link: str, target: str) -> tuple[str, str] | None:
        """Why a link to a folder is not followed, if so."""
        if _is_in(os.path.realpath(os.path.dirname(link)), target) or _is_in(self._root, target):
            return "symlink_loop", f"leads to {target}, which it lies in"
        if any(_is_in(target, other) or _is_in(other, target) for other in self._others):
            return "other_split", f"leads to {target}, into another split"
        return None

    def of_file(self, link: str) -> tuple[str, str] | None:
        """Why a link to a file is not followed, if so."""
        if not self._others:
            return None
        target = os.path.realpath(link)
        if any(_is_in(target, other) for other in self._others):
            return "other_split", f"leads to {target}, into another split"
        return None


@dataclass(frozen=True, slots=True)
class _Item:
    """A file to be found or a folder to go into."""

    name: str
    is_folder: bool


class _Walk:
    """One pass over a folder, remembering the folders it has been in."""

    def __init__(self, top: Path, split: str, splits: tuple[str, ...], inner_tars: bool) -> None:
        self._top = top
        self._split = split
        self._splits = splits
        self._inner_tars = inner_tars
        self._own: set[Inode] = set()
        self._entered: set[Inode] = set()
        self._listed = 0

    def files(self, folder: str) -> Iterator[FoundFile | Skipped]:
        """Depth first, without recursion: a folder may be deeper than Python's stack."""
        self._own = _real_folders(self._top / folder)
        self._entered = set(self._own)
        self._rules = _Rules(self._top / folder, self._splits)
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
            items = _scan(self._top / folder, MOST_LISTED - self._listed)
        except OSError as error:
            yield Skipped(self._split, folder, "unreadable", _words(error))
            return
        except TooManyNames as error:
            yield Skipped(self._split, folder, "too_many_names", str(error))
            return
        self._listed += (count := len(items))
        for item in items:
            name = join(folder, _name(item))
            yield self._refusal(name, item) or _Item(name, _leads_to_folder(item))
        self._listed -= count

    def _file(self, name: str) -> Iterator[FoundFile | Skipped]:
        path = self._top / name
        if not (self._inner_tars and ARCHIVE.search(name)):
            yield FoundFile(name, path)
            return
        inside = ArchiveWalk(self._split, path.name, prefix=ARCHIVE.sub("", name) + "/")
        try:
            with open_reader(path) as reader:
                yield from inside.files(reader)
        except OSError as error:
            yield Skipped(self._split, name, "unreadable", _words(error))

    def _refusal(self, name: str, item: Listed) -> Skipped | None:
        try:
            reason, detail = self._reason(name, item) or ("", "")
        except OSError as error:
            reason = "symlink_loop" if error.errno == errno.ELOOP else "unreadable"
            detail = _words(error)
        return Skipped(self._split, name, reason, detail) if reason else None

    def _reason(self, name: str, item: Listed) -> tuple[str, str] | None:
        if is_hidden(_name(item)):
            return "hidden", "a hidden name, or one that systems and editors leave behind"
        if not isinstance(item, str):
            if item.is_dir():
                return self._reason_to_stay_out(item)
            if not item.is_file():
                return _reason_of_no_file(item)
            if item.is_symlink() and (astray := self._rules.of_file(item.path)):
                return astray
        return ("not_an_image", "a list or a description") if is_sidecar(name) else None

    def _reason_to_stay_out(self, item: os.DirEntry[str]) -> tuple[str, str] | None:
        inode, is_link = _inode(Path(item.path)), item.is_symlink()
        if is_link and (astray := self._rules.of_folder(item.path, os.path.realpath(item.path))):
            return astray
        if inode in self._entered and (is_link or inode not in self._own):
            return "symlink_loop", f"{os.path.realpath(item.path)} is read under another name"
        if len(self._entered) == MOST_NAMES:
            return "too_many_folders", f"only the first {MOST_NAMES:,} are read"
        self._entered.add(inode)
        return None


def _scan(path: Path, most: int) -> list[Listed]:
    """What lies in a folder, sorted by name."""
    found: list[Listed] = []
    cost = characters = 0
    with os.scandir(path) as items:
        for item in items:
            is_plain = item.is_file(follow_symlinks=False)
            found.append(item.name if is_plain else item)
            cost += 1 if is_plain else _ENTRY_IN_NAMES
            characters += len(item.name)
            if cost > most or characters > MOST_CHARACTERS:
                raise TooManyNames(
                    f"{path} holds more names than are read at a time ({MOST_LISTED:,}): divide it"
                )
    return sorted(found, key=_name)


def _name(item: Listed) -> str:
    return item if isinstance(item, str) else item.name


def _leads_to_folder(item: Listed) -> bool:
    try:
        return not isinstance(item, str) and item.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_real_folder(item: Listed) -> bool:
    return not isinstance(item, str) and item.is_dir(follow_symlinks=False)


def _is_in(path: str, folder: str) -> bool:
    """Whether a real path is a folder, or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _reason_of_no_file(item: os.DirEntry[str]) -> tuple[str, str]:
    if item.is_symlink() and not os.path.exists(item.path):
        return "broken_link", f"leads to {os.readlink(item.path)}, which is not there"
    return "not_a_file", "a pipe, a socket or a device"


def _real_folders(path: Path) -> set[Inode]:
    """`path` and the folders in it that are no links: these stay their own, wherever links lead."""
    try:
        items = _scan(path, MOST_LISTED)
        inside = [Path(item.path) for item in items if _is_real_folder(item)]  # type: ignore[union-attr]
        return {_inode(folder) for folder in (path, *inside)}
    except (OSError, TooManyNames):
        return set()  # reading the folder will say why


def _inode(path: Path) -> Inode:
    status = path.stat()
    return status.st_dev, status.st_ino


def _words(error: OSError) -> str:
    return error.strerror or str(error)
