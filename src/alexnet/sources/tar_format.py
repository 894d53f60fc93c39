"""The tar format: the members of an archive, read in one forward pass and never extracted.

    │ header │ content, padded to 512 │ header │ content │ … │ a block of zeros
      512 bytes: name, size, type      └ may be an extension: a long name etc. of the next member

Python's `tarfile` ends silently at a damaged header, keeps every header in memory, and may seek
backward in a compressed file. Here a truncated archive raises DamagedError with the position, a
million members take no more memory than one, and files are only read forward. Each header block is
still parsed by `tarfile.TarInfo`. `tarball` calls this module.
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
    """One member of an archive, valid until the next one is requested.

    `kind` is "file", "folder", or a description of anything else, for messages.
    """

    name: str
    kind: str
    size: int
    _reader: ForwardReader

    def read_or_locate(self) -> Span | bytes:
        """The Span of the content; or the content itself if the archive is compressed."""
        return self._reader.read_or_locate(self.size)

    def open_content(self) -> ForwardReader:
        """Open the content for sequential reading."""
        return self._reader.open_part(self.size)


def read_members(reader: ForwardReader) -> Iterator[TarMember]:
    """Yield every member in the order of the archive; DamagedError if it is truncated."""
    extension: dict[str, str] = {}
    while (header := _read_header(reader)) is not None:
        size = _content_size(header, extension)
        after = reader.position + _padded(size)
        if header.type in _EXTENSIONS:
            extension |= _read_extension(header.type, reader, size)
        else:
            yield _to_member(header, extension, size, reader)
            extension = {}
        reader.skip_to(after)


def is_tar(reader: ForwardReader) -> bool:
    """Whether the next bytes are the header of a tar archive."""
    try:
        return _read_header(reader) is not None
    except DamagedError:
        return False


def _read_header(reader: ForwardReader) -> tarfile.TarInfo | None:
    """The next header; None at the block of zeros that ends the archive. Raises DamagedError."""
    start, block = reader.position, reader.read_exactly(_BLOCK)
    if block.count(0) == _BLOCK:
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise DamagedError(f"no header of a member at byte {start:,}: {error}") from error
    if header.type == _OLD_SPARSE:
        _skip_sparse_map(block, reader)
    return header


def _content_size(header: tarfile.TarInfo, extension: dict[str, str]) -> int:
    """Bytes of content after a header, which a pax extension may state instead of the header."""
    if not (
        header.isreg() or header.type in _EXTENSIONS or header.type not in tarfile.SUPPORTED_TYPES
    ):
        return 0  # links, devices and folders have no content, even if they claim to
    text = extension.get("size", "")
    is_stated = text.isdecimal() and len(text) < 20 and header.type not in _EXTENSIONS
    size = int(text) if is_stated else header.size
    if size < 0:
        raise DamagedError(f"a member says that it has {size:,} bytes")
    return size


def _to_member(
    header: tarfile.TarInfo, extension: dict[str, str], size: int, reader: ForwardReader
) -> TarMember:
    """The member that a header, and the extensions before it, describe."""
    name = extension.get("path", header.name)
    is_sparse = header.type == _OLD_SPARSE or _SPARSE.decode() in extension
    if is_sparse:
        return TarMember(name, "a sparse file", size, reader)
    if header.isreg():
        return TarMember(name, "file", size, reader)
    return TarMember(
        name,
        _KINDS.get(header.type, "folder" if header.isdir() else "of no known kind"),
        size,
        reader,
    )


def _read_extension(kind: bytes, reader: ForwardReader, size: int) -> dict[str, str]:
    """The name and size that a GNU or pax extension gives to the member after it."""
    if size > _LONGEST_EXTENSION:
        raise DamagedError(f"a name of {size:,} bytes at byte {reader.position:,}")
    content = reader.read_exactly(size)
    if kind == _LONG_NAME:
        return {"path": _text(content.split(b"\0", 1)[0])}
    return _pax_records(content) if kind in (_PAX, _PAX_SOLARIS) else {}


def _pax_records(content: bytes) -> dict[str, str]:
    """Parse `LENGTH KEY=VALUE\\n` records, keeping only the keys that are used."""
    records, at = {}, 0
    while at < len(content):
        digits = content[at : at + 9].partition(b" ")[0]
        length = int(digits) if digits.isdigit() and len(digits) < 9 else 0
        if length <= len(digits) + 1:
            break
        key, _, value = content[at + len(digits) + 1 : at + length - 1].partition(b"=")
        if key in _KEYS or key.startswith(_SPARSE):  # the others would only use up memory
            records[_text(key) if key in _KEYS else _SPARSE.decode()] = _text(value)
        at += length
    return records


def _skip_sparse_map(block: bytes, reader: ForwardReader) -> None:
    """Skip the blocks that continue the map of an old GNU sparse file; a byte flags each one."""
    more = block[482]
    while more:
        more = reader.read_exactly(_BLOCK)[504]


def _padded(size: int) -> int:
    """The size rounded up to whole blocks."""
    return -(-size // _BLOCK) * _BLOCK


def _text(content: bytes) -> str:
    """A name as text; bytes that are not UTF-8 survive as surrogates."""
    return content.decode("utf-8", "surrogateescape")
