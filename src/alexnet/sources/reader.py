"""Reading forward through a file, a part of one, or what a compressed file holds."""

import bz2
import gzip
import io
import lzma
import os
import zlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from alexnet.sources.entry import Span
from alexnet.sources.limits import LARGEST_DICTIONARY
from alexnet.sources.regular_files import open_descriptor

_GZIP, _BZIP2, _XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0"
_STEP = 1 << 20


class DamagedError(ValueError):
    """Bytes end, or stop making sense, before they should."""


class Readable(Protocol):
    """What gives bytes when asked for some."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""

    def close(self) -> object:
        """Give back what is held open."""


class ForwardReader:
    """Bytes that are read once, forward; `position` counts those that are behind.

    Compressed files can only be passed through. A plain file, or a part of it, can also be jumped
    over and be pointed into.
    """

    def __init__(
        self, file: Readable, end: int | None = None, below: Readable | None = None
    ) -> None:
        self._file = file
        self._below = below
        self._end = end
        self.position = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes: fewer only at the end."""
        if self._end is not None:
            size = min(size, self._end - self.position)
        content = self._read_through(size)
        self.position += len(content)
        return content

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes; DamagedError where the end comes first."""
        start, content = self.position, self.read(size)
        if len(content) < size:
            raise DamagedError(
                f"cut off: {size:,} bytes wanted at byte {start:,}, {len(content):,} left"
            )
        return content

    def skip_to(self, position: int) -> None:
        """Move forward; DamagedError where the end comes first."""
        while self.position < position:
            self.exactly(min(_STEP, position - self.position))

    def take(self, size: int) -> Span | bytes:
        """The next `size` bytes, or where they are if they can be read again from there."""
        return self.exactly(size)

    def part(self, size: int) -> "ForwardReader":
        """The next `size` bytes as bytes of their own, read before this one goes on."""
        return ForwardReader(self, size)

    def close(self) -> None:
        """Close the file at the bottom; for a part, that closes the whole."""
        self._file.close()
        if self._below is not None:
            self._below.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _read_through(self, size: int) -> bytes:
        content = io.BytesIO()  # gives its bytes away without a second copy of them
        try:
            while size > 0 and (piece := self._file.read(min(size, _STEP))):
                content.write(piece)
                size -= len(piece)
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            if not content.tell():
                raise DamagedError(f"cut off or damaged: {error}") from error
        return content.getvalue()


class PlainReader(ForwardReader):
    """A file that is not compressed, or a part of it: what is not wanted costs nothing."""

    def __init__(self, file: BinaryIO, path: Path, start: int, end: int) -> None:
        super().__init__(file, end - start)
        self._plain, self._path, self._start = file, path, start

    def skip_to(self, position: int) -> None:
        """Jump forward; DamagedError where that is beyond the end."""
        self._check(position)
        self.position = position

    def take(self, size: int) -> Span:
        """Where the next `size` bytes are."""
        self._check(self.position + size)
        span = Span(self._path, self._start + self.position, size)
        self.position += size
        return span

    def part(self, size: int) -> "PlainReader":
        """The next `size` bytes, or those of them that are there."""
        start = self._start + self.position
        end = min(start + size, self._start + self._size)
        return PlainReader(self._plain, self._path, start, end)

    @property
    def _size(self) -> int:
        return self._end or 0

    def _check(self, position: int) -> None:
        if position > self._size:
            raise DamagedError(f"cut off: goes on to byte {position:,}, there are {self._size:,}")

    def _read_through(self, size: int) -> bytes:
        self._plain.seek(self._start + self.position)  # parts share the file and move it
        return super()._read_through(size)


def open_reader(path: Path) -> ForwardReader:
    """Open a file for reading through, decompressing it where its first bytes ask for that.

    Raises OSError for what is no file.
    """
    file = io.FileIO(open_descriptor(path))
    magic = file.read(6)
    file.seek(0)
    if magic.startswith((_GZIP, _BZIP2, _XZ)):
        compressed = io.BufferedReader(file, _STEP)
        return ForwardReader(_decompressed(compressed, magic), below=compressed)
    # unbuffered: tar headers are 512 bytes each and far apart
    return PlainReader(file, path, 0, os.fstat(file.fileno()).st_size)


def _decompressed(file: BinaryIO, magic: bytes) -> Readable:
    if magic.startswith(_GZIP):
        return gzip.GzipFile(fileobj=file, mode="rb")
    return bz2.BZ2File(file) if magic.startswith(_BZIP2) else Unxz(file)


def gunzip(compressed: ForwardReader) -> ForwardReader:
    """What a gzip file inside an archive holds; closing it closes the archive."""
    return ForwardReader(gzip.GzipFile(fileobj=_Raw(compressed), mode="rb"), below=compressed)


class Unxz:
    """What an xz file holds. Python's own would give it as much memory as its header asks for."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._stream = _xz_stream()
        self._ahead = b""

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end. Raises LZMAError or EOFError."""
        while not self._stream.eof or self._begin_next():
            more = self._ahead
            if self._stream.needs_input and not more:
                more = self._file.read(_STEP)
                if not more:
                    raise EOFError("the compressed data end before their last block")
            self._ahead = b""
            if content := self._stream.decompress(more, size):
                return content
        return b""

    def close(self) -> None:
        """Nothing: the file belongs to who opened it."""

    def _begin_next(self) -> bool:
        """Go on with the next of several streams in one file; whether there is one."""
        rest = self._stream.unused_data.lstrip(b"\0")
        if len(rest) < len(_XZ):
            rest = (rest + self._file.read(_STEP)).lstrip(b"\0")
        if not rest.startswith(_XZ):
            return False  # what follows a whole stream is none of ours
        self._stream, self._ahead = _xz_stream(), rest
        return True


def _xz_stream() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=LARGEST_DICTIONARY)


class _Raw(io.RawIOBase):
    """A ForwardReader as the file object that gzip wants."""

    def __init__(self, reader: ForwardReader) -> None:
        super().__init__()
        self._reader = reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = self._reader.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)
