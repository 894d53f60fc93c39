"""Reading forward through a file, a part of one, or what a compressed file holds."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from alexnet.data.sources.entry import Span

_DECOMPRESSORS: dict[bytes, Callable[[Path], "Readable"]] = {
    b"\x1f\x8b": gzip.GzipFile, b"BZh": bz2.BZ2File, b"\xfd7zXZ": lzma.LZMAFile,
}  # fmt: skip
_STEP = 1 << 20


class DamagedError(Exception):
    """Bytes end, or stop making sense, before they should."""


class Readable(Protocol):
    """What gives bytes when asked for some."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""

    def close(self) -> object:
        """Give back what is held open."""


class Reader:
    """Bytes that are read once, forward; `position` counts those that are behind.

    Compressed files can only be passed through. A plain file, or a part of it, can also be jumped
    over and be pointed into.
    """

    def __init__(self, file: Readable, end: int | None = None) -> None:
        self._file = file
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

    def part(self, size: int) -> "Reader":
        """The next `size` bytes as bytes of their own, read before this one goes on."""
        return Reader(self, size)

    def close(self) -> None:
        """Close the file at the bottom; for a part, that closes the whole."""
        self._file.close()

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
        pieces = []
        try:
            while size > 0 and (piece := self._file.read(min(size, _STEP))):
                pieces.append(piece)
                size -= len(piece)
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            if not pieces:
                raise DamagedError(f"cut off or damaged: {error}") from error
        return b"".join(pieces)


class PlainReader(Reader):
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


def open_reader(path: Path) -> Reader:
    """Open a file for reading through, decompressing it where its first bytes ask for that."""
    with open(path, "rb") as file:
        magic = file.read(6)
    for known, decompress in _DECOMPRESSORS.items():
        if magic.startswith(known):
            return Reader(decompress(path))
    # unbuffered: tar headers are 512 bytes each and far apart
    return PlainReader(open(path, "rb", buffering=0), path, 0, path.stat().st_size)


class Gunzip(gzip.GzipFile):
    """What a gzip file inside an archive holds."""

    def __init__(self, compressed: Reader) -> None:
        self._compressed = compressed
        super().__init__(fileobj=_Raw(compressed), mode="rb")

    def close(self) -> None:
        """Close the archive too."""
        super().close()
        self._compressed.close()


class _Raw(io.RawIOBase):
    """A Reader as the file object that gzip wants."""

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self._reader = reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = self._reader.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)
