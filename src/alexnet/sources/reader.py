"""Sequential reading of a file, of a part of one, or of the contents of a compressed file.

`open_reader` decides by the first bytes of a file:

    plain file           PlainReader      can skip bytes, and return Spans instead of bytes
    gzip, bzip2, xz      ForwardReader    decompresses; can only be read from start to end

`tarball` and `directory` open readers; `tar_format` and the readers of data sets read from them. A
file that is truncated or damaged raises DamagedError with the position.
"""

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
    """A file is truncated or damaged: it ends too early, or its bytes make no sense."""


class Readable(Protocol):
    """A file-like object with `read` and `close`."""

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes; none at the end."""

    def close(self) -> object:
        """Close it."""


class ForwardReader:
    """A forward-only reader; `position` is the number of bytes consumed so far.

    Parameters
    ----------
    file
        The file to read from.
    end
        The position at which this reader ends, if that is before the end of the file.
    below
        For a decompressor, the compressed file, which is closed together with `file`.
    """

    def __init__(
        self, file: Readable, end: int | None = None, below: Readable | None = None
    ) -> None:
        self._file = file
        self._below = below
        self._end = end
        self.position = 0

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes: fewer only at the end. Raises DamagedError."""
        if self._end is not None:
            size = min(size, self._end - self.position)
        content = self._read_from_file(size)
        self.position += len(content)
        return content

    def read_exactly(self, size: int) -> bytes:
        """Read `size` bytes; DamagedError if the end comes first."""
        start, content = self.position, self.read(size)
        if len(content) < size:
            raise DamagedError(
                f"truncated: {size:,} bytes expected at byte {start:,}, {len(content):,} left"
            )
        return content

    def skip_to(self, position: int) -> None:
        """Read and discard bytes up to `position`; DamagedError if the end comes first."""
        while self.position < position:
            self.read_exactly(min(_STEP, position - self.position))

    def read_or_locate(self, size: int) -> Span | bytes:
        """The next `size` bytes; or, from a PlainReader, the Span where they can be read later."""
        return self.read_exactly(size)

    def open_part(self, size: int) -> "ForwardReader":
        """A reader of only the next `size` bytes. Use it up before this one is used again."""
        return ForwardReader(self, size)

    def close(self) -> None:
        """Close the file; for a part, that closes the whole."""
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

    def _read_from_file(self, size: int) -> bytes:
        content = io.BytesIO()  # its getvalue() makes no second copy
        try:
            while size > 0 and (piece := self._file.read(min(size, _STEP))):
                content.write(piece)
                size -= len(piece)
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            if not content.tell():
                raise DamagedError(f"truncated or damaged: {error}") from error
        return content.getvalue()


class PlainReader(ForwardReader):
    """A reader of a plain file, or of a part of it, in which skipped bytes are not read."""

    def __init__(self, file: BinaryIO, path: Path, start: int, end: int) -> None:
        super().__init__(file, end - start)
        self._plain, self._path, self._start = file, path, start

    def skip_to(self, position: int) -> None:
        """Skip to `position`; DamagedError if that is beyond the end."""
        self._check(position)
        self.position = position

    def read_or_locate(self, size: int) -> Span:
        """Skip the next `size` bytes and return where they are."""
        self._check(self.position + size)
        span = Span(self._path, self._start + self.position, size)
        self.position += size
        return span

    def open_part(self, size: int) -> "PlainReader":
        """A reader of only the next `size` bytes, or of as many as there are."""
        start = self._start + self.position
        end = min(start + size, self._start + self._size)
        return PlainReader(self._plain, self._path, start, end)

    @property
    def _size(self) -> int:
        return self._end or 0

    def _check(self, position: int) -> None:
        if position > self._size:
            raise DamagedError(f"truncated: ends at byte {self._size:,}, not at {position:,}")

    def _read_from_file(self, size: int) -> bytes:
        self._plain.seek(self._start + self.position)  # parts share the file object
        return super()._read_from_file(size)


def open_reader(path: Path) -> ForwardReader:
    """Open a file for sequential reading, decompressing it if it is compressed.

    Raises OSError for anything but a regular file.
    """
    file = io.FileIO(open_descriptor(path))
    magic = file.read(6)
    file.seek(0)
    if magic.startswith((_GZIP, _BZIP2, _XZ)):
        compressed = io.BufferedReader(file, _STEP)
        return ForwardReader(_decompressed(compressed, magic), below=compressed)
    # Unbuffered, because tar headers are 512 bytes each and far apart.
    return PlainReader(file, path, 0, os.fstat(file.fileno()).st_size)


def _decompressed(file: BinaryIO, magic: bytes) -> Readable:
    if magic.startswith(_GZIP):
        return gzip.GzipFile(fileobj=file, mode="rb")
    return bz2.BZ2File(file) if magic.startswith(_BZIP2) else XzFile(file)


def gunzip(compressed: ForwardReader) -> ForwardReader:
    """A reader of the contents of a gzip file inside an archive. Closing it closes the archive."""
    return ForwardReader(gzip.GzipFile(fileobj=_RawReader(compressed), mode="rb"), below=compressed)


class XzFile:
    """Decompresses an xz file within LARGEST_DICTIONARY bytes.

    `lzma.LZMAFile` would allocate as much memory as the header of the file asks for.
    """

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._stream = _xz_stream()
        self._unread = b""

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes; none at the end. Raises LZMAError or EOFError."""
        while not self._stream.eof or self._begin_next_stream():
            more = self._unread
            if self._stream.needs_input and not more:
                more = self._file.read(_STEP)
                if not more:
                    raise EOFError("the compressed data end before the end of the stream")
            self._unread = b""
            if content := self._stream.decompress(more, size):
                return content
        return b""

    def close(self) -> None:
        """Do nothing: whoever opened the compressed file closes it."""

    def _begin_next_stream(self) -> bool:
        """Begin the next of several streams in one file; return whether there is one."""
        rest = self._stream.unused_data.lstrip(b"\0")
        if len(rest) < len(_XZ):
            rest = (rest + self._file.read(_STEP)).lstrip(b"\0")
        if not rest.startswith(_XZ):
            return False  # bytes after the last stream are ignored
        self._stream, self._unread = _xz_stream(), rest
        return True


def _xz_stream() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=LARGEST_DICTIONARY)


class _RawReader(io.RawIOBase):
    """Makes a ForwardReader a file object, as gzip requires."""

    def __init__(self, reader: ForwardReader) -> None:
        super().__init__()
        self._reader = reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = self._reader.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)
