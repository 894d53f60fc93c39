"""A zip archive, read as the folder that it was made of. Nothing is extracted.

`ZipTree` implements `tree.Tree` with `zip_members`, which judges every member before it is read. A
walk reads no content: it yields a `ZipSpan` for each file, which a decoding process reads. What is
not used is reported with its reason: names that lead out of the archive, links, encrypted members,
members that share bytes or claim to be too large, archives inside the archive.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from alexnet.sources.archive_names import ArchiveNames
from alexnet.sources.entry import Skipped
from alexnet.sources.reader import ForwardReader, gunzip
from alexnet.sources.regular_files import open_regular
from alexnet.sources.tree import FoundFile, below
from alexnet.sources.zip_members import UnusableMember, ZipArchive, ZipMember, is_zip_name

_MAGIC = b"PK\3\4", b"PK\5\6"
"""The first bytes of an archive with members, and of an empty one."""


def is_zip(path: Path) -> bool:
    """Whether a file is a zip archive, by its name or its first bytes."""
    if is_zip_name(path):
        return True
    with open_regular(path) as file:
        return file.read(4).startswith(_MAGIC)


class ZipTree:
    """A zip archive as a Tree. Raises ValueError if it is damaged or no zip archive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open().close()

    def _open(self) -> ZipArchive:
        try:
            return ZipArchive(self.path)
        except OSError as error:
            raise ValueError(
                f"{self.path} cannot be read as a zip archive: {error}. If it was downloaded, "
                "download it again; else extract it with another program, and give the folder"
            ) from error

    def with_splits(self, folders: Iterable[str]) -> "ZipTree":
        """The same archive, because links in archives are not followed."""
        return self

    def list_folders(self, folder: str) -> list[str]:
        """Names of the folders directly in `folder`, sorted."""
        return self._names.list_folders(folder)

    def list_files(self, folder: str) -> list[str]:
        """Names of files directly in `folder`, sorted: at most ten images and a thousand others."""
        return self._names.list_files(folder)

    def list_hidden(self, folder: str) -> list[str]:
        """Hidden names directly in `folder`, sorted."""
        return self._names.list_hidden(folder)

    def list_refused_links(self, folder: str) -> list[str]:
        """Always empty: `walk` reports links in archives as Skipped."""
        return []

    def open_file(self, name: str) -> ForwardReader:
        """Open a member for sequential reading; decompress it if its name ends in .gz.

        Raises FileNotFoundError if there is none that can be used, ValueError if it is damaged.
        """
        with self._open() as archive:
            for item in archive.walk():
                if isinstance(item, ZipMember) and item.name == name:
                    return _read(archive, item)
        raise FileNotFoundError(f"{self.path} has no member {name} that can be read")

    def walk(
        self, folder: str, split: str, *, inner_tars: bool = False
    ) -> Iterator[FoundFile | Skipped]:
        """Yield every file below `folder`, in the order of the archive: see `Tree.walk`.

        Archives inside the archive are not opened, whatever `inner_tars` is. Members with unsafe
        names belong to no folder, and are reported by every walk.
        """
        with self._open() as archive:
            for item in archive.walk():
                is_unsafe = isinstance(item, Skipped) and item.reason == "unsafe_name"
                if not is_unsafe and below(folder, item.name) is None:
                    continue
                if isinstance(item, Skipped):
                    yield replace(item, split=split)
                else:
                    yield FoundFile(item.name, archive.locate(item))

    @cached_property
    def _names(self) -> ArchiveNames:
        """The names of all members that may be used, and of hidden ones."""
        names = ArchiveNames(self.path)
        with self._open() as archive:
            for item in archive.walk():
                if isinstance(item, ZipMember) or item.reason != "unsafe_name":
                    names.enter_file(item.name)
        return names


def _read(archive: ZipArchive, member: ZipMember) -> ForwardReader:
    """A reader of a member's content, which is small: a table or a list of a data set."""
    try:
        content = ForwardReader(io.BytesIO(archive.read(member)))
    except UnusableMember as error:
        raise ValueError(f"{archive.path}: {member.name} is damaged: {error}") from error
    return gunzip(content) if member.name.endswith(".gz") else content
