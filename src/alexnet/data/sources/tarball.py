"""Archives of a folder, read as that folder; nothing is extracted and no name is trusted."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from alexnet.data.sources.entry import Skipped
from alexnet.data.sources.names import ARCHIVE, hidden_head, is_hidden, is_sidecar, safe_name
from alexnet.data.sources.reader import DamagedError, Gunzip, PlainReader, Reader, open_reader
from alexnet.data.sources.tar import Member, is_tar, members
from alexnet.data.sources.tree import Found, below

LARGEST_IMAGE = 1 << 28  # bytes; a member that claims more is not read
_NAMES_KEPT = 1000  # of the files in one folder: enough to know what a folder is


class Tarball:
    """A tar archive, compressed or not, as a Tree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_reader(path) as reader:
            if not is_tar(reader):
                raise ValueError(f"{path} is no tar archive, or is cut off before its first file")

    @property
    def is_compressed(self) -> bool:
        """Whether it can only be passed through."""
        with open_reader(self.path) as reader:
            return not isinstance(reader, PlainReader)

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly in `folder`, sorted."""
        return sorted(self._level(folder).folders)

    def files(self, folder: str) -> list[str]:
        """Names of the files directly in `folder`, sorted; the first thousand in the archive."""
        return sorted(self._level(folder).files)

    def hidden(self, folder: str) -> list[str]:
        """Hidden names directly in `folder`, sorted."""
        return sorted(self._level(folder).hidden)

    def open(self, name: str) -> Reader:
        """A member for reading through, decompressed if its name ends in .gz."""
        reader = open_reader(self.path)
        for member in members(reader):
            if member.kind == "file" and safe_name(member.name) == name:
                return Reader(Gunzip(member.open())) if name.endswith(".gz") else member.open()
        reader.close()
        raise FileNotFoundError(f"no {name} in {self.path}")

    def walk(
        self, folder: str, split: str, *, inner_tars: bool = False
    ) -> Iterator[Found | Skipped]:
        """Every file below `folder`, in the order of the archive."""
        with open_reader(self.path) as reader:
            yield from Pass(split, self.path.name, folder, inner_tars=inner_tars).files(reader)

    def _level(self, folder: str) -> "_Level":
        return self._levels.get(folder, _Level())

    @cached_property
    def _levels(self) -> dict[str, "_Level"]:
        levels: dict[str, _Level] = {}
        try:
            with open_reader(self.path) as reader:
                for member in members(reader):
                    _note(levels, member)
        except DamagedError:
            pass  # what is left is read; walking names the damage
        return levels


@dataclass
class Pass:
    """One pass through an archive that was opened as `title`, for what lies below `folder`.

    `prefix` goes before the names of what is found.
    """

    split: str
    title: str
    folder: str = ""
    prefix: str = ""
    inner_tars: bool = False

    def files(self, reader: Reader) -> Iterator[Found | Skipped]:
        """The files and what is no file; a cut archive ends with a Skipped that says so."""
        hidden: set[str] = set()
        try:
            for name, member in self._wanted(members(reader)):
                skipped = self._skipped(name, member)
                if skipped is None:
                    yield from self._content(name, member)
                elif skipped.name not in hidden:
                    if skipped.name != self.prefix + name:
                        hidden.add(skipped.name)  # a folder: named once, not with all it holds
                    yield skipped
        except DamagedError as damage:
            yield Skipped(self.split, self.prefix + self.title, "truncated_archive", str(damage))

    def _wanted(self, found: Iterator[Member]) -> Iterator[tuple[str, Member]]:
        for member in found:
            name = safe_name(member.name)
            if member.kind != "folder" and (name is None or below(self.folder, name) is not None):
                yield name or member.name, member

    def _skipped(self, name: str, member: Member) -> Skipped | None:
        if safe_name(member.name) is None:
            return self._skip(name, "unsafe_name", "leads out of the archive")
        if (head := hidden_head(name)) is not None:
            return self._skip(head, "hidden", "a hidden name, or one that systems leave behind")
        if member.kind != "file":
            return self._skip(name, "not_a_file", f"{member.kind} in an archive")
        if is_sidecar(name):
            return self._skip(name, "not_an_image", "a list or a description")
        if member.size > LARGEST_IMAGE and not self._is_inner_tar(name):
            return self._skip(name, "too_large", f"claims {member.size:,} bytes")
        return None

    def _skip(self, name: str, reason: str, detail: str) -> Skipped:
        return Skipped(self.split, self.prefix + name, reason, detail)

    def _is_inner_tar(self, name: str) -> bool:
        return self.inner_tars and ARCHIVE.search(name) is not None

    def _content(self, name: str, member: Member) -> Iterator[Found | Skipped]:
        if self._is_inner_tar(name):
            folder = ARCHIVE.sub("", self.prefix + name)
            yield from Pass(self.split, name, prefix=folder + "/").files(member.open())
        else:
            yield Found(self.prefix + name, member.take())


@dataclass
class _Level:
    """What lies directly in one folder of an archive."""

    folders: set[str] = field(default_factory=set)
    files: list[str] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)


def _note(levels: dict[str, _Level], member: Member) -> None:
    """Enter a member, and the folders it implies, into the levels above it."""
    name = safe_name(member.name)
    if name is None or member.kind not in ("file", "folder"):
        return
    parts = name.split("/")
    for depth, part in enumerate(parts):
        level = levels.setdefault("/".join(parts[:depth]), _Level())
        if is_hidden(part):
            level.hidden.add(part)
            return
        if depth < len(parts) - 1 or member.kind == "folder":
            level.folders.add(part)
        elif len(level.files) < _NAMES_KEPT:
            level.files.append(part)
