"""Archives of a folder, read as that folder; nothing is extracted and no name is trusted."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from alexnet.sources.entry import Skipped
from alexnet.sources.limits import LARGEST_MEMBER, LONGEST_NAME
from alexnet.sources.names import (
    ARCHIVE,
    hidden_head,
    is_called_an_image,
    is_hidden,
    is_sidecar,
    safe_name,
)
from alexnet.sources.reader import DamagedError, ForwardReader, PlainReader, gunzip, open_reader
from alexnet.sources.repeats import NameBudget, NameCounter, Repeated
from alexnet.sources.tar_format import TarMember, is_tar, members
from alexnet.sources.tree import FoundFile, below

_FILES_KEPT, _IMAGES_KEPT = 1000, 10  # of one folder: enough to know what the folder is
_REMEMBERED = 1 << 16  # names that one pass remembers, so as not to give them twice


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

    def divided(self, folders: Iterable[str]) -> "Tarball":
        """The same: links in archives are not followed."""
        return self

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly in `folder`, sorted."""
        return self._names(folder, lambda name, level: level is not None)

    def files(self, folder: str) -> list[str]:
        """Names of files directly in `folder`, sorted: the first ten images, a thousand others."""
        return self._names(folder, lambda name, level: level is None and not is_hidden(name))

    def hidden(self, folder: str) -> list[str]:
        """Hidden names directly in `folder`, sorted."""
        return self._names(folder, lambda name, level: is_hidden(name))

    def refused_links(self, folder: str) -> list[str]:
        """None: links in archives are named where its files are."""
        return []

    def open(self, name: str) -> ForwardReader:
        """A member for reading through, decompressed if its name ends in .gz."""
        reader = open_reader(self.path)
        try:
            for member in members(reader):
                if member.kind == "file" and safe_name(member.name) == name:
                    return gunzip(member.open()) if name.endswith(".gz") else member.open()
        except DamagedError as damage:
            reader.close()
            raise ValueError(f"{self.path}, before {name}, is {damage}") from damage
        reader.close()
        raise FileNotFoundError(f"no {name} in {self.path}")

    def walk(
        self, folder: str, split: str, *, inner_tars: bool = False
    ) -> Iterator[FoundFile | Skipped]:
        """Every file below `folder`, in the order of the archive."""
        walk = ArchiveWalk(split, self.path.name, folder, inner_tars=inner_tars)
        walk.repeated = self._contents[1].anew()
        with open_reader(self.path) as reader:
            yield from walk.files(reader)

    def _names(self, folder: str, wanted: Callable[[str, "_Level | None"], bool]) -> list[str]:
        level: _Level | None = self._contents[0]
        for name in folder.split("/") if folder else ():
            level = level.inside.get(name) if level else None
        return sorted(n for n, inside in level.inside.items() if wanted(n, inside)) if level else []

    @cached_property
    def _contents(self) -> tuple["_Level", Repeated]:
        """The top folder, with those inside it, and the names of files that are repeated."""
        top, budget, names = _Level(), NameBudget(self.path), NameCounter(self.path)
        try:
            with open_reader(self.path) as reader:
                for member in members(reader):
                    if _note(top, member, budget):
                        names.add(safe_name(member.name) or "")
        except DamagedError:
            pass  # what is left is read; walking names the damage
        return top, names.repeated()


@dataclass
class ArchiveWalk:
    """One pass through an archive that was opened as `title`, for what lies below `folder`.

    `prefix` goes before the names of what is found.
    """

    split: str
    title: str
    folder: str = ""
    prefix: str = ""
    inner_tars: bool = False
    repeated: Repeated | None = None
    _names: set[str] = field(default_factory=set)

    def files(self, reader: ForwardReader) -> Iterator[FoundFile | Skipped]:
        """The files and what is no file; a cut archive ends with a Skipped that says so."""
        hidden: set[str] = set()
        try:
            for name, member in self._wanted(members(reader)):
                skipped = self._skipped(name, member)
                if skipped is None:
                    yield from self._content(name, member)
                elif skipped.name not in hidden:
                    if skipped.name != self.prefix + name and len(hidden) < _REMEMBERED:
                        hidden.add(skipped.name)  # a folder: named once, not with all it holds
                    yield skipped
        except DamagedError as damage:
            yield Skipped(self.split, self.prefix + self.title, "truncated_archive", str(damage))

    def _wanted(self, found: Iterator[TarMember]) -> Iterator[tuple[str, TarMember]]:
        for member in found:
            name = safe_name(member.name)
            if member.kind != "folder" and (name is None or below(self.folder, name) is not None):
                yield name or member.name[:LONGEST_NAME], member

    def _skipped(self, name: str, member: TarMember) -> Skipped | None:
        if safe_name(member.name) is None:
            return self._skip(name, "unsafe_name", _why_unsafe(member.name))
        if (head := hidden_head(name)) is not None:
            return self._skip(head, "hidden", "a hidden name, or one that systems leave behind")
        if member.kind != "file":
            return self._skip(name, "not_a_file", f"{member.kind} in an archive")
        if is_sidecar(name):
            return self._skip(name, "not_an_image", "a list or a description")
        if member.size > LARGEST_MEMBER and not self._is_inner_tar(name):
            return self._skip(name, "too_large", f"claims {member.size:,} bytes")
        return self._repeat(name)

    def _repeat(self, name: str) -> Skipped | None:
        """Of several members with one name the last is used, which extracting would leave."""
        seen, times = self.repeated.see(name) if self.repeated else self._see_inside(name)
        if seen == times:
            return None
        which = "a later" if self.repeated else "an earlier"
        return self._skip(name, "named_twice", f"{which} member of the archive has this name too")

    def _see_inside(self, name: str) -> tuple[int, int]:
        """In an archive inside an archive, which is read only once, the first is used."""
        if name in self._names:
            return 2, 1
        if len(self._names) < _REMEMBERED:
            self._names.add(name)
        return 1, 1

    def _skip(self, name: str, reason: str, detail: str) -> Skipped:
        return Skipped(self.split, self.prefix + name, reason, detail)

    def _is_inner_tar(self, name: str) -> bool:
        return self.inner_tars and ARCHIVE.search(name) is not None

    def _content(self, name: str, member: TarMember) -> Iterator[FoundFile | Skipped]:
        if self._is_inner_tar(name):
            folder = ARCHIVE.sub("", self.prefix + name)
            yield from ArchiveWalk(self.split, name, prefix=folder + "/").files(member.open())
        else:
            yield FoundFile(self.prefix + name, member.take())


class _Level:
    """What lies directly in one folder of an archive. There may be a million of them."""

    __slots__ = "files", "inside"

    def __init__(self) -> None:
        self.inside: dict[str, _Level | None] = {}
        """The folders by name; files and hidden names are None."""
        self.files = 0

    def enter(self, name: str, budget: NameBudget) -> "_Level":
        """The folder of this name, which is noted if it is new."""
        if (known := self.inside.get(name)) is None:
            budget.spend(name)
            known = self.inside[name] = _Level()
        return known

    def note(self, name: str, budget: NameBudget) -> None:
        """Note a file or a hidden name, as long as there are few."""
        most = _IMAGES_KEPT if is_called_an_image(name) else _FILES_KEPT
        if name not in self.inside and self.files < (1 if budget.half_spent else most):
            budget.spend(name)
            self.files += 1
            self.inside[name] = None


def _note(top: _Level, member: TarMember, budget: NameBudget) -> bool:
    """Enter a member and the folders it implies; whether it is a file that is not hidden."""
    name = safe_name(member.name)
    if name is None or member.kind not in ("file", "folder"):
        return False
    *folders, last = name.split("/")
    level = top
    for part in folders:
        if is_hidden(part):
            level.note(part, budget)
            return False
        level = level.enter(part, budget)
    if member.kind == "folder" and not is_hidden(last):
        level.enter(last, budget)
    else:
        level.note(last, budget)
    return member.kind == "file" and not is_hidden(last)


def _why_unsafe(name: str) -> str:
    if len(name) > LONGEST_NAME:
        return f"has {len(name):,} characters, more than any file's name"
    return "leads out of the archive"
