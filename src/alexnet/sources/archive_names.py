"""The names in an archive as folders and files, in bounded memory.

An archive lists its members one after another, in any order; to recognize what is in it, one asks
for the contents of a folder. All folders are kept, and of each folder only some files: enough to
tell what it holds. `tarball` and `zip_tree` call this module.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Optional

from alexnet.sources.names import has_image_extension, is_hidden
from alexnet.sources.repeats import NameBudget

_FILES_KEPT, _IMAGES_KEPT = 1000, 10  # names per folder


class ArchiveNames:
    """The folders and files of the archive at `path`, entered one by one."""

    def __init__(self, path: Path) -> None:
        self._top, self._budget = _Level(), NameBudget(path)

    def enter_file(self, name: str) -> bool:
        """Enter a file and the folders of its path; return whether it is not hidden.

        Raises ValueError if there are too many names to keep.
        """
        level, last = self._enter_folders(name)
        if level is None:
            return False
        level.keep_name(last, self._budget)
        return not is_hidden(last)

    def enter_folder(self, name: str) -> None:
        """Enter a folder, and those above it. Raises ValueError if there are too many names."""
        level, last = self._enter_folders(name)
        if level is None:
            return
        if is_hidden(last):
            level.keep_name(last, self._budget)
        else:
            level.enter(last, self._budget)

    def list_folders(self, folder: str) -> list[str]:
        """Names of the folders directly in `folder`, sorted."""
        return self._find(folder, lambda name, level: level is not None)

    def list_files(self, folder: str) -> list[str]:
        """Names of files directly in `folder`, sorted: at most ten images and a thousand others."""
        return self._find(folder, lambda name, level: level is None and not is_hidden(name))

    def list_hidden(self, folder: str) -> list[str]:
        """Hidden names directly in `folder`, sorted."""
        return self._find(folder, lambda name, level: is_hidden(name))

    def _enter_folders(self, name: str) -> tuple["_Level | None", str]:
        """Enter all parts of a path but the last; None if one of them is hidden."""
        *folders, last = name.split("/")
        level = self._top
        for part in folders:
            if is_hidden(part):
                level.keep_name(part, self._budget)
                return None, last
            level = level.enter(part, self._budget)
        return level, last

    def _find(self, folder: str, select: Callable[[str, Optional["_Level"]], bool]) -> list[str]:
        """The names directly in `folder` that `select(name, its level or None)` accepts, sorted."""
        level: _Level | None = self._top
        for name in folder.split("/") if folder else ():
            level = level.inside.get(name) if level else None
        return sorted(n for n, inside in level.inside.items() if select(n, inside)) if level else []


class _Level:
    """The contents of one folder of an archive. A million such objects may exist."""

    __slots__ = "files", "inside"

    def __init__(self) -> None:
        self.inside: dict[str, _Level | None] = {}
        """By name: the folders, and None for files and hidden names."""
        self.files = 0
        """Number of the names that are kept in `inside` and are not folders."""

    def enter(self, name: str, budget: NameBudget) -> "_Level":
        """Return the folder of this name; create it if it is new."""
        if (known := self.inside.get(name)) is None:
            budget.spend(name)
            known = self.inside[name] = _Level()
        return known

    def keep_name(self, name: str, budget: NameBudget) -> None:
        """Keep the name of a file, or a hidden name, as long as there are few."""
        most = _IMAGES_KEPT if has_image_extension(name) else _FILES_KEPT
        if name not in self.inside and self.files < (1 if budget.half_spent else most):
            budget.spend(name)
            self.files += 1
            self.inside[name] = None
