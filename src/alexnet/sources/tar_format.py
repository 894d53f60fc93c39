"""Tar archives, read forward and never extracted.

Python's own module stops in silence at a damaged header, keeps every header it has seen, and may
go back in a compressed file. Here a cut archive says where it was cut, memory stays the same for a
million members, and reading only goes forward. `tarfile.TarInfo` still parses each header block.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from alexnet.sources.entry import Span
from alexnet.sources.reader import DamagedError, ForwardReader

_BLOCK = tarfile.BLOCKSIZE
_LONG_NAME, _LONG_LINK, _OLD_SPARSE = b"L", b"K", b"S"
_PAX, _PAX_GLOBAL, _PAX_SOLARIS = b"x", b"g", b"X"
_EXTENSIONS = (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL, _PAX_SOLARIS)
_LONGEST_EXTENSION = 1 << 20
_KEYS, _SPARSE = (b"path", b"size"), b"GNU.sparse"
_KINDS = {
    b"1": "a hard link", b"2": "a symbolic link",
    b"3": "a device", b"4": "a device", b"6": "a pipe",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TarMember:
    """One member of an archive, valid until the next one is asked for."""

    name: str
    kind: str  # "file", "folder", or what else it is, in words
    size: int
    _reader: ForwardReader

    def take(self) -> Span | bytes:
        """Where the content is, or the content itself if the archive is compressed."""
        return self._reader.take(self.size)

    def open(self) -> ForwardReader:
        """The content for reading through."""
        return self._reader.part(self.size)


def members(reader: ForwardReader) -> Iterator[TarMember]:
    """Every member, in the order of the archive; DamagedError where the archive is cut."""
    extension: dict[str, str] = {}
    while (header := _header(reader)) is not None:
        size = _size(header, extension)
        after = reader.position + _padded(size)
        if header.type in _EXTENSIONS:
            extension |= _extension(header.type, reader, size)
        else:
            yield _member(header, extension, size, reader)
            extension = {}
        reader.skip_to(after)


def is_tar(reader: ForwardReader) -> bool:
    """Whether the next bytes are those of a tar archive."""
    try:
        return _header(reader) is not None
    except DamagedError:
        return False


def _header(reader: ForwardReader) -> tarfile.TarInfo | None:
    start, block = reader.position, reader.exactly(_BLOCK)
    if block.count(0) == _BLOCK:
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise DamagedError(f"no header of a member at byte {start:,}: {error}") from error
    if header.type == _OLD_SPARSE:
        _pass_sparse_map(block, reader)
    return header


def _size(header: tarfile.TarInfo, extension: dict[str, str]) -> int:
    if not (
        header.isreg() or header.type in _EXTENSIONS or header.type not in tarfile.SUPPORTED_TYPES
    ):
        return 0  # links, devices and folders have no content, whatever their headers say
    text = extension.get("size", "")
    stated = text.isdecimal() and len(text) < 20 and header.type not in _EXTENSIONS
    size = int(text) if stated else header.size
    if size < 0:
        raise DamagedError(f"a member says that it has {size:,} bytes")
    return size


def _member(
    header: tarfile.TarInfo, extension: dict[str, str], size: int, reader: ForwardReader
) -> TarMember:
    name = extension.get("path", header.name)
    sparse = header.type == _OLD_SPARSE or _SPARSE.decode() in extension
    if sparse:
        return TarMember(name, "a sparse file", size, reader)
    if header.isreg():
        return TarMember(name, "file", size, reader)
    return TarMember(
        name,
        _KINDS.get(header.type, "folder" if header.isdir() else "of no known kind"),
        size,
        reader,
    )


def _extension(kind: bytes, reader: ForwardReader, size: int) -> dict[str, str]:
    """What a header of GNU or pax form says about the member after it."""
    if size > _LONGEST_EXTENSION:
        raise DamagedError(f"a name of {size:,} bytes at byte {reader.position:,}")
    content = reader.exactly(size)
    if kind == _LONG_NAME:
        return {"path": _text(content.split(b"\0", 1)[0])}
    return _pax_records(content) if kind in (_PAX, _PAX_SOLARIS) else {}


def _pax_records(content: bytes) -> dict[str, str]:
    """`LENGTH KEY=VALUE\\n`, again and again, as far as it is used; the rest is left out."""
    records, at = {}, 0
    while at < len(content):
        digits = content[at : at + 9].partition(b" ")[0]
        length = int(digits) if digits.isdigit() and len(digits) < 9 else 0
        if length <= len(digits) + 1:
            break
        key, _, value = content[at + len(digits) + 1 : at + length - 1].partition(b"=")
        if key in _KEYS or key.startswith(_SPARSE):  # others would only fill the memory
            records[_text(key) if key in _KEYS else _SPARSE.decode()] = _text(value)
        at += length
    return records


def _pass_sparse_map(block: bytes, reader: ForwardReader) -> None:
    more = block[482]
    while more:
        more = reader.exactly(_BLOCK)[504]


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")
