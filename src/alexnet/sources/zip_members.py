"""The members of a zip archive, judged before they are read. Nothing is written to disk.

    with ZipArchive(path) as archive:
        for member in archive.walk():        # ZipMember, or Skipped with the reason
            content = archive.read(member)   # its bytes; UnusableMember if they are damaged

A zip archive lists its members at its end: name, sizes, CRC-32, position. None of that is trusted:

    list of members    at most LARGEST_DIRECTORY bytes, so that it fits in memory
    name               one that leads out of the archive is reported and never used as a path
    size               at most LARGEST_MEMBER bytes are decompressed, whatever the list says
    position           members that share bytes are refused: a small file could otherwise claim
                       thousands of large members (D. Fifield, "A better zip bomb", 2019)
    content            the CRC-32 is compared; archives inside archives are not opened

`commands.predict` reads images to predict with it, and `zip_tree` finds labeled images. Their bytes
are read later, from a `ZipSpan`, by the decoding processes. Imports only from this folder.
"""

from __future__ import annotations

import bz2
import contextlib
import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from alexnet.sources.entry import Skipped, Span
from alexnet.sources.limits import LARGEST_MEMBER, LONGEST_NAME, MOST_CHARACTERS
from alexnet.sources.names import ARCHIVE, hidden_prefix, is_sidecar, safe_name
from alexnet.sources.regular_files import open_regular

LARGEST_DIRECTORY = MOST_CHARACTERS
"""Bytes of the list of members; a million members with usual names have fewer."""
METHODS = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2
"""Compression methods that are read. LZMA is not: a member could ask for gigabytes of memory."""
_ENCRYPTED, _STRONGLY_ENCRYPTED, _UTF8 = 1 << 0, 1 << 6, 1 << 11
_HEADER_BYTES, _HEADER_MAGIC = 30, b"PK\3\4"
_STEP = 1 << 20
_DAMAGES = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError,
    RuntimeError, UnicodeError, OverflowError,
)  # fmt: skip
"""What `zipfile` raises for archives that are damaged, each for some of them."""


class UnusableMember(ValueError):  # noqa: N818 - a condition of the archive, not of the program
    """A member that cannot be read. `reason` is one word, as in `Skipped`; the text is details."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A file in an archive: its name there, in plain form, and its place in the list of members."""

    archive: Path
    name: str
    number: int
    size: int
    """Bytes, as the list of members claims; at most LARGEST_MEMBER."""


@dataclass(frozen=True, slots=True)
class ZipSpan(Span):
    """A member of an archive, to be read later: `size` bytes when decompressed.

    It begins with a header at byte `offset`; `stored` bytes are read.
    """

    stored: int
    method: int
    crc: int

    def read(self) -> bytes:
        """Read and decompress the member. Raises OSError if it is damaged."""
        with open_regular(self.path) as file:
            file.seek(self.offset)
            header = file.read(_HEADER_BYTES)
            if len(header) < _HEADER_BYTES or not header.startswith(_HEADER_MAGIC):
                raise OSError("damaged: there is no header of a member where the archive says")
            name_bytes, extra_bytes = struct.unpack_from("<HH", header, 26)
            file.seek(self.offset + _HEADER_BYTES + name_bytes + extra_bytes)
            content = _decompress(file.read(self.stored), self.method, self.size)
        if len(content) != self.size or zlib.crc32(content) != self.crc:
            raise OSError("damaged: its content does not agree with its size and checksum")
        return content


class ZipArchive:
    """An open zip archive. Raises OSError for a file that cannot be opened or is no zip archive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_regular(path)
        try:
            self._zip = zipfile.ZipFile(_LimitedFile(self._file))  # type: ignore[arg-type]
        except _DAMAGES as error:
            self._file.close()
            raise OSError(f"no zip archive, or a damaged one: {error}") from error
        self._members = self._zip.infolist()

    def walk(self) -> Iterator[ZipMember | Skipped]:
        """Yield every file in the order of the list, and a Skipped for each that is not used.

        Folders are left out. Hidden names are reported once, by the first hidden part of them.
        """
        hidden: set[str] = set()
        last = {safe_name(_plain(x)): i for i, x in enumerate(self._members)}
        overlapping = _find_overlaps(self._members)
        for number, info in enumerate(self._members):
            if info.filename.endswith(("/", "\\")):  # is_dir() fails for an empty name
                continue
            name = safe_name(_plain(info))
            if name is None:
                yield Skipped("", info.filename[:LONGEST_NAME], "unsafe_name", _WHY_UNSAFE)
            elif head := hidden_prefix(name):
                if head not in hidden:
                    yield Skipped("", head, "hidden", "a hidden name, or one that systems leave")
                hidden.add(head)
            elif number in overlapping:
                yield Skipped("", name, "overlap", "shares its bytes with another member")
            elif last[name] != number:
                yield Skipped("", name, "named_twice", "a later member has this name too")
            elif refusal := _refuse(name, info):
                yield Skipped("", name, *refusal)
            else:
                yield ZipMember(self.path, name, number, info.file_size)

    def read(self, member: ZipMember) -> bytes:
        """Return the content of a member. Raises UnusableMember if it is damaged."""
        content = io.BytesIO()
        try:
            with self._zip.open(self._members[member.number]) as file:
                while piece := file.read(_STEP):
                    content.write(piece)
        except _DAMAGES as error:
            raise UnusableMember("damaged", str(error) or type(error).__name__) from error
        if content.tell() != member.size:
            claim = f"{content.tell():,} bytes, not {member.size:,} as the archive says"
            raise UnusableMember("truncated", claim)
        return content.getvalue()

    def locate(self, member: ZipMember) -> ZipSpan:
        """Return where a member is, to read it later."""
        info = self._members[member.number]
        return ZipSpan(
            self.path, info.header_offset, member.size, info.compress_size, info.compress_type,
            info.CRC,
        )  # fmt: skip

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._file.close()

    def __enter__(self) -> ZipArchive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self.close()


def is_zip_name(path: Path | str) -> bool:
    """Whether a file is named as a zip archive."""
    return str(path).lower().endswith(".zip")


def read_member(member: ZipMember) -> bytes:
    """Open the archive of a member again and read it. Raises OSError or UnusableMember."""
    with ZipArchive(member.archive) as archive:
        return archive.read(member)


_WHY_UNSAFE = "leads out of the archive, or is longer than any file's name"


class _LimitedFile:
    """A file that refuses to read more than LARGEST_DIRECTORY bytes at once.

    `zipfile` reads the whole list of members with one call, of the size that the file claims.
    """

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable
        self.close = file.close

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes. Raises BadZipFile if that is too many."""
        if size > LARGEST_DIRECTORY:
            raise zipfile.BadZipFile(f"its list of members has {size:,} bytes")
        return self._file.read(LARGEST_DIRECTORY if size < 0 else size)


def _plain(info: zipfile.ZipInfo) -> str:
    """The name of a member with "/" between its parts; some programs for Windows write "\\".

    Names are UTF-8 if the archive says so, and also if they can be read so: macOS does not say it.
    All others count as code page 437, as the format demands, whatever they are meant to be.
    """
    name = info.filename.replace("\\", "/")
    if info.flag_bits & _UTF8 or name.isascii():
        return name
    with contextlib.suppress(UnicodeError):
        return name.encode("cp437").decode("utf-8")
    return name


def _decompress(content: bytes, method: int, size: int) -> bytes:
    """Decompress to at most one byte more than `size`. Raises OSError if the bytes are damaged."""
    if method == zipfile.ZIP_STORED:
        return content
    try:
        if method == zipfile.ZIP_BZIP2:
            return bz2.BZ2Decompressor().decompress(content, size + 1)
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, size + 1)
    except (zlib.error, OSError, EOFError, ValueError) as error:
        raise OSError(f"damaged: {error}") from error


def _find_overlaps(members: list[zipfile.ZipInfo]) -> set[int]:
    """Numbers of the members whose bytes reach into those of the next one.

    In the file, each member is a header of at least 30 bytes, its name and its compressed bytes.
    """
    order = sorted(range(len(members)), key=lambda i: members[i].header_offset)
    overlapping: set[int] = set()
    end, owner = 0, -1
    for i in order:
        info = members[i]
        if info.header_offset < end:
            overlapping |= {i, owner}
        reach = info.header_offset + 30 + info.compress_size
        if reach > end:
            end, owner = reach, i
    return overlapping


def _refuse(name: str, info: zipfile.ZipInfo) -> tuple[str, str] | None:
    """Why a member is not read, as reason and detail; None if it is."""
    mode = info.external_attr >> 16
    if info.flag_bits & (_ENCRYPTED | _STRONGLY_ENCRYPTED):
        return "encrypted", "it needs a password: extract the archive first"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "not_a_file", "a link or a device in an archive"
    if is_sidecar(name):
        return "not_an_image", "a list or a description"
    if is_zip_name(name) or ARCHIVE.search(name):
        return "archive_inside", "an archive in an archive is not opened: extract it first"
    if (claimed := max(info.file_size, info.compress_size)) > LARGEST_MEMBER:
        return "too_large", f"claims {claimed:,} bytes"
    if info.compress_type not in METHODS:
        return "unsupported", f"compression method {info.compress_type}: extract the archive first"
    return None
