"""Walks folders on disk defensively: it implements `tree.Tree` for a folder of the file system.

Loops of symlinks, pipes, devices and unreadable folders are reported as Skipped instead of being
followed, blocking or raising an error. Symlinks are followed, because many data sets consist of
them, except where that would read images twice or mix splits:

    data/train/cat/
      ├── loop   → data/train          symlink_loop: the target contains the link
      ├── other  → data/val/cat        other_split: the target is in another split
      └── again  → data/train/dog      symlink_loop: a real folder, read under its own name anyway

A target outside the folder is read under the name of the first link to it. `recognition` opens
folders; `commands.predict` and `evaluation.submission` use it too.
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
"""A regular file by its name only, to save memory; anything else as its DirEntry."""
_NAMES_PER_DIR_ENTRY = 5  # one DirEntry takes as much memory as this many names


class TooManyNames(ValueError):  # noqa: N818 - a condition of the folder, not of the program
    """A folder holds more names than may be kept in memory at a time."""


class Directory:
    """A folder of the file system as a Tree. Raises OSError if it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._splits: tuple[str, ...] = ()
        with os.scandir(path):  # raises OSError for a folder that cannot be read
            pass

    def with_splits(self, folders: Iterable[str]) -> "Directory":
        """The same folder with `folders` as its splits: no symlink in one leads into another.

        Raises ValueError if two of them are the same folder, or one is inside the other.
        """
        tree = copy.copy(self)
        tree._splits = tuple(os.path.realpath(self.path / folder) for folder in folders)
        for number, split in enumerate(tree._splits):
            for other in tree._splits[:number]:
                if _is_in(split, other) or _is_in(other, split):
                    raise ValueError(
                        f"{self.path} has a symlink by which two of its splits share images: "
                        f"{split} and {other}. Remove it: a network must not be tested on images "
                        "that it was trained on"
                    )
        return tree

    def list_folders(self, folder: str) -> list[str]:
        """Names of the folders directly in `folder`, sorted, without refused symlinks."""
        refused = self._refused(folder)
        return [
            name
            for name, item in self._items(folder)
            if name not in refused and _leads_to_folder(item)
        ]

    def list_files(self, folder: str) -> list[str]:
        """Names of the files directly in `folder`, sorted."""
        return [name for name, item in self._items(folder) if not _leads_to_folder(item)]

    def list_hidden(self, folder: str) -> list[str]:
        """Hidden names directly in `folder`, sorted."""
        return [_name(item) for item in self._listing(folder) if is_hidden(_name(item))]

    def list_refused_links(self, folder: str) -> list[str]:
        """Symlinks to folders directly in `folder` that are not followed: "name → target"."""
        return [f"{name} → {target}" for name, target in self._refused(folder).items()]

    def open_file(self, name: str) -> ForwardReader:
        """Open a file for sequential reading."""
        return open_reader(self.path / name)

    def walk(
        self, folder: str, split: str, *, inner_tars: bool = False
    ) -> Iterator[FoundFile | Skipped]:
        """Yield every file below `folder`, sorted by name in each folder: see `Tree.walk`."""
        return _Walk(self.path, split, self._splits, inner_tars).walk(folder)

    def _refused(self, folder: str) -> dict[str, str]:
        """Name and target of symlinks that are not followed, judged by this folder alone."""
        items = self._items(folder)
        known = {os.path.realpath(os.path.join(self.path, folder, name))
                 for name, item in items if _is_real_folder(item)}  # fmt: skip
        rules, refused = _LinkRules(self.path / folder, self._splits), {}
        for name, item in items:
            if not isinstance(item, str) and item.is_symlink() and _leads_to_folder(item):
                target = os.path.realpath(item.path)
                if target in known or rules.check_folder_link(item.path, target):
                    refused[name] = target
                known.add(target)
        return refused

    def _items(self, folder: str) -> list[tuple[str, Listed]]:
        return [(_name(item), item) for item in self._listing(folder) if not is_hidden(_name(item))]

    def _listing(self, folder: str) -> list[Listed]:
        try:
            return _scan(self.path / folder, MOST_LISTED)
        except OSError:
            return []  # it is missing or locked, which `walk` will report


class _LinkRules:
    """Decides by their real targets which symlinks below the folder `root` are not followed."""

    def __init__(self, root: Path, splits: tuple[str, ...]) -> None:
        self._root = os.path.realpath(root)
        self._others = [split for split in splits if not _is_in(self._root, split)]

    def check_folder_link(self, link: str, target: str) -> tuple[str, str] | None:
        """The reason and detail if a symlink to a folder must not be followed, else None."""
        if _is_in(os.path.realpath(os.path.dirname(link)), target) or _is_in(self._root, target):
            return "symlink_loop", f"leads to {target}, which contains it"
        if any(_is_in(target, other) or _is_in(other, target) for other in self._others):
            return "other_split", f"leads to {target}, into another split"
        return None

    def check_file_link(self, link: str) -> tuple[str, str] | None:
        """The reason and detail if a symlink to a file must not be followed, else None."""
        if not self._others:
            return None
        target = os.path.realpath(link)
        if any(_is_in(target, other) for other in self._others):
            return "other_split", f"leads to {target}, into another split"
        return None


@dataclass(frozen=True, slots=True)
class _Item:
    """A file to yield or a folder to enter."""

    name: str
    is_folder: bool


class _Walk:
    """One pass over a folder, which remembers the folders that it has entered."""

    def __init__(self, top: Path, split: str, splits: tuple[str, ...], inner_tars: bool) -> None:
        self._top = top
        self._split = split
        self._splits = splits
        self._inner_tars = inner_tars
        self._real_folder_inodes: set[Inode] = set()
        self._entered: set[Inode] = set()
        self._listed = 0

    def walk(self, folder: str) -> Iterator[FoundFile | Skipped]:
        """Depth first, without recursion, because folders may be nested deeper than Python's stack.

        The stack holds one iterator per folder on the current path.
        """
        self._real_folder_inodes = _find_real_folder_inodes(self._top / folder)
        self._entered = set(self._real_folder_inodes)
        self._rules = _LinkRules(self._top / folder, self._splits)
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
                yield from self._yield_file(item.name)

    def _level(self, folder: str) -> Iterator["_Item | Skipped"]:
        """The contents of one folder. Its names count toward MOST_LISTED until it is finished."""
        try:
            items = _scan(self._top / folder, MOST_LISTED - self._listed)
        except OSError as error:
            yield Skipped(self._split, folder, "unreadable", _describe(error))
            return
        except TooManyNames as error:
            yield Skipped(self._split, folder, "too_many_names", str(error))
            return
        self._listed += (count := len(items))
        for item in items:
            name = join(folder, _name(item))
            yield self._skip(name, item) or _Item(name, _leads_to_folder(item))
        self._listed -= count

    def _yield_file(self, name: str) -> Iterator[FoundFile | Skipped]:
        """A file, or the contents of an inner tar."""
        path = self._top / name
        if not (self._inner_tars and ARCHIVE.search(name)):
            yield FoundFile(name, path)
            return
        inside = ArchiveWalk(self._split, path.name, prefix=ARCHIVE.sub("", name) + "/")
        try:
            with open_reader(path) as reader:
                yield from inside.walk(reader)
        except OSError as error:
            yield Skipped(self._split, name, "unreadable", _describe(error))

    def _skip(self, name: str, item: Listed) -> Skipped | None:
        """A Skipped if an item is not used, else None."""
        try:
            reason, detail = self._reason(name, item) or ("", "")
        except OSError as error:
            reason = "symlink_loop" if error.errno == errno.ELOOP else "unreadable"
            detail = _describe(error)
        return Skipped(self._split, name, reason, detail) if reason else None

    def _reason(self, name: str, item: Listed) -> tuple[str, str] | None:
        """Why an item is not used, as reason and detail, or None. Raises OSError."""
        if is_hidden(_name(item)):
            return "hidden", "a hidden name, or one that systems and editors leave behind"
        if not isinstance(item, str):
            if item.is_dir():
                return self._reason_not_to_enter(item)
            if not item.is_file():
                return _reason_not_a_file(item)
            if item.is_symlink() and (astray := self._rules.check_file_link(item.path)):
                return astray
        return ("not_an_image", "a list or a description") if is_sidecar(name) else None

    def _reason_not_to_enter(self, item: os.DirEntry[str]) -> tuple[str, str] | None:
        """Why a folder is not entered; if it is, remember it.

        A real folder is entered once by its own name, and by a link only if it is elsewhere.
        """
        inode, is_link = _inode(Path(item.path)), item.is_symlink()
        if is_link and (
            astray := self._rules.check_folder_link(item.path, os.path.realpath(item.path))
        ):
            return astray
        if inode in self._entered and (is_link or inode not in self._real_folder_inodes):
            return "symlink_loop", f"{os.path.realpath(item.path)} is read under another name"
        if len(self._entered) == MOST_NAMES:
            return "too_many_folders", f"only the first {MOST_NAMES:,} are read"
        self._entered.add(inode)
        return None


def _scan(path: Path, most: int) -> list[Listed]:
    """The contents of a folder, sorted by name.

    Raises OSError, or TooManyNames if they would cost more than `most` names.
    """
    contents: list[Listed] = []
    cost = characters = 0
    with os.scandir(path) as items:
        for item in items:
            is_plain = item.is_file(follow_symlinks=False)
            contents.append(item.name if is_plain else item)
            cost += 1 if is_plain else _NAMES_PER_DIR_ENTRY
            characters += len(item.name)
            if cost > most or characters > MOST_CHARACTERS:
                raise TooManyNames(
                    f"{path} holds more names than are read at a time ({MOST_LISTED:,}): divide "
                    "it into several folders"
                )
    return sorted(contents, key=_name)


def _name(item: Listed) -> str:
    return item if isinstance(item, str) else item.name


def _leads_to_folder(item: Listed) -> bool:
    try:
        return not isinstance(item, str) and item.is_dir()
    except OSError:  # a symlink to itself
        return False


def _is_real_folder(item: Listed) -> bool:
    return not isinstance(item, str) and item.is_dir(follow_symlinks=False)


def _is_in(path: str, folder: str) -> bool:
    """Whether a real path is `folder` or inside it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _reason_not_a_file(item: os.DirEntry[str]) -> tuple[str, str]:
    if item.is_symlink() and not os.path.exists(item.path):
        return "broken_link", f"leads to {os.readlink(item.path)}, which does not exist"
    return "not_a_file", "a pipe, a socket or a device"


def _find_real_folder_inodes(path: Path) -> set[Inode]:
    """The inodes of `path` and of its real subfolders.

    These folders are always read under their own names; a symlink to one of them is skipped.
    """
    try:
        items = _scan(path, MOST_LISTED)
        inside = [Path(item.path) for item in items if _is_real_folder(item)]  # type: ignore[union-attr]
        return {_inode(folder) for folder in (path, *inside)}
    except (OSError, TooManyNames):
        return set()  # `walk` will report it


def _inode(path: Path) -> Inode:
    status = path.stat()
    return status.st_dev, status.st_ino


def _describe(error: OSError) -> str:
    return error.strerror or str(error)
