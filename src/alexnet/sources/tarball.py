"""A tar archive, read as the folder that it was made of. Nothing is extracted.

`Tarball` implements `tree.Tree`. The first call that needs the contents makes one pass over the
archive, which collects the names in bounded memory (`archive_names`); every `walk` is another pass
(`ArchiveWalk`), which yields files in the order of the archive. Names are not trusted: a name that
leads out of the archive is reported and never used as a path.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from alexnet.sources.archive_names import ArchiveNames
from alexnet.sources.entry import Skipped
from alexnet.sources.limits import LARGEST_MEMBER, LONGEST_NAME
from alexnet.sources.names import (
    ARCHIVE,
    hidden_prefix,
    is_sidecar,
    safe_name,
)
from alexnet.sources.reader import DamagedError, ForwardReader, PlainReader, gunzip, open_reader
from alexnet.sources.repeats import NameCounter, RepeatedNames
from alexnet.sources.tar_format import TarMember, is_tar, read_members
from alexnet.sources.tree import FoundFile, below

_REMEMBERED = 1 << 16  # names that one pass remembers, to report them only once


class Tarball:
    """A tar archive, compressed or not, as a Tree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_reader(path) as reader:
            if not is_tar(reader):
                raise ValueError(
                    f"{path} is not a tar archive, or is truncated before its first file"
                )

    @property
    def is_compressed(self) -> bool:
        """Whether the archive is compressed and so can only be read sequentially."""
        with open_reader(self.path) as reader:
            return not isinstance(reader, PlainReader)

    def with_splits(self, folders: Iterable[str]) -> "Tarball":
        """The same archive, because links in archives are not followed."""
        return self

    def list_folders(self, folder: str) -> list[str]:
        """Names of the folders directly in `folder`, sorted."""
        return self._contents[0].list_folders(folder)

    def list_files(self, folder: str) -> list[str]:
        """Names of files directly in `folder`, sorted: at most ten images and a thousand others."""
        return self._contents[0].list_files(folder)

    def list_hidden(self, folder: str) -> list[str]:
        """Hidden names directly in `folder`, sorted."""
        return self._contents[0].list_hidden(folder)

    def list_refused_links(self, folder: str) -> list[str]:
        """Always empty: `walk` reports links in archives as Skipped."""
        return []

    def open_file(self, name: str) -> ForwardReader:
        """Open a member for sequential reading; decompress it if its name ends in .gz.

        Raises FileNotFoundError if there is none, ValueError if the archive is damaged before it.
        """
        reader = open_reader(self.path)
        try:
            for member in read_members(reader):
                if member.kind == "file" and safe_name(member.name) == name:
                    return (
                        gunzip(member.open_content())
                        if name.endswith(".gz")
                        else member.open_content()
                    )
        except DamagedError as damage:
            reader.close()
            raise ValueError(f"{self.path}, before {name}, is {damage}") from damage
        reader.close()
        raise FileNotFoundError(f"{self.path} has no member {name}")

    def walk(
        self, folder: str, split: str, *, inner_tars: bool = False
    ) -> Iterator[FoundFile | Skipped]:
        """Yield every file below `folder`, in the order of the archive: see `Tree.walk`."""
        walk = ArchiveWalk(split, self.path.name, folder, inner_tars=inner_tars)
        walk.repeated = self._contents[1].restart()
        with open_reader(self.path) as reader:
            yield from walk.walk(reader)

    @cached_property
    def _contents(self) -> tuple[ArchiveNames, RepeatedNames]:
        """The names in the archive, and those of files that are repeated."""
        inside, names = ArchiveNames(self.path), NameCounter(self.path)
        try:
            with open_reader(self.path) as reader:
                for member in read_members(reader):
                    name = safe_name(member.name)
                    if member.kind == "folder" and name is not None:
                        inside.enter_folder(name)
                    elif member.kind == "file" and name is not None and inside.enter_file(name):
                        names.add(name)
        except DamagedError:
            pass  # use what comes before the damage; `walk` will report it
        return inside, names.find_repeated()


@dataclass
class ArchiveWalk:
    """One pass over an archive, for the files below `folder`.

    `title` names the archive in messages, `prefix` is put before every name that is yielded, and
    `split` is the split of each Skipped. `repeated` are the names that occur more than once, if
    they are known; for an archive inside another one, which is read only once, they are not.
    """

    split: str
    title: str
    folder: str = ""
    prefix: str = ""
    inner_tars: bool = False
    repeated: RepeatedNames | None = None
    _names: set[str] = field(default_factory=set)

    def walk(self, reader: ForwardReader) -> Iterator[FoundFile | Skipped]:
        """Yield the files, and a Skipped for everything else; the last one if it is truncated."""
        hidden: set[str] = set()
        try:
            for name, member in self._select(reader):
                skipped = self._skipped(name, member)
                if skipped is None:
                    yield from self._yield_content(name, member)
                elif skipped.name not in hidden:
                    if skipped.name != self.prefix + name and len(hidden) < _REMEMBERED:
                        hidden.add(skipped.name)  # report a hidden folder once, not for each file
                    yield skipped
        except DamagedError as damage:
            yield Skipped(self.split, self.prefix + self.title, "truncated_archive", str(damage))

    def _select(self, reader: ForwardReader) -> Iterator[tuple[str, TarMember]]:
        """The members below `folder` that are not folders, and those with unsafe names."""
        for member in read_members(reader):
            name = safe_name(member.name)
            if member.kind != "folder" and (name is None or below(self.folder, name) is not None):
                yield name or member.name[:LONGEST_NAME], member

    def _skipped(self, name: str, member: TarMember) -> Skipped | None:
        """Why a member is not used, or None if it is."""
        if safe_name(member.name) is None:
            return self._skip(name, "unsafe_name", _why_unsafe(member.name))
        if (head := hidden_prefix(name)) is not None:
            return self._skip(head, "hidden", "a hidden name, or one that systems leave behind")
        if member.kind != "file":
            return self._skip(name, "not_a_file", f"{member.kind} in an archive")
        if is_sidecar(name):
            return self._skip(name, "not_an_image", "a list or a description")
        if member.size > LARGEST_MEMBER and not self._is_inner_tar(name):
            return self._skip(name, "too_large", f"claims {member.size:,} bytes")
        return self._skipped_repeat(name)

    def _skipped_repeat(self, name: str) -> Skipped | None:
        """Of several members with one name, use the last: extracting would leave that one."""
        so_far, in_all = self.repeated.count(name) if self.repeated else self._count_inside(name)
        if so_far == in_all:
            return None
        which = "a later" if self.repeated else "an earlier"
        return self._skip(name, "named_twice", f"{which} member of the archive has this name too")

    def _count_inside(self, name: str) -> tuple[int, int]:
        """The same for an archive inside another one, where the first is used instead."""
        if name in self._names:
            return 2, 1
        if len(self._names) < _REMEMBERED:
            self._names.add(name)
        return 1, 1

    def _skip(self, name: str, reason: str, detail: str) -> Skipped:
        """A Skipped of this archive's split, under the full name."""
        return Skipped(self.split, self.prefix + name, reason, detail)

    def _is_inner_tar(self, name: str) -> bool:
        return self.inner_tars and ARCHIVE.search(name) is not None

    def _yield_content(self, name: str, member: TarMember) -> Iterator[FoundFile | Skipped]:
        """A file, or the files of an inner tar."""
        if self._is_inner_tar(name):
            folder = ARCHIVE.sub("", self.prefix + name)
            inner_walk = ArchiveWalk(self.split, name, prefix=folder + "/")
            yield from inner_walk.walk(member.open_content())
        else:
            yield FoundFile(self.prefix + name, member.read_or_locate())


def _why_unsafe(name: str) -> str:
    """Why `safe_name` rejects a name, for a message."""
    if len(name) > LONGEST_NAME:
        return f"has {len(name):,} characters, more than any file's name"
    return "leads out of the archive"
