"""One image to one record: read, decode, fit, write down. Nothing else makes records.

Packing, and predicting from what is in files, call this with the same options, so a network is
shown the same pixels by both. Nothing here raises for a bad image: what came of it is an Outcome.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.images.decode import MAX_PIXELS, NotAnImage, decode, fit, misnamed
from alexnet.images.records import Fit, Format, moments, record_shape, write_record
from alexnet.sources.entry import Entry, Span
from alexnet.sources.limits import LARGEST_FILE
from alexnet.sources.regular import open_descriptor, read_regular

MAX_BYTES = LARGEST_FILE
"""No image file is larger; what is would only fill the memory."""
DIGEST_BYTES = 8
Content = Path | Span | bytes | NDArray[np.uint8]


@dataclass(frozen=True)
class Options:
    """What decides the bytes of a record."""

    size: int
    fit: Fit = "crop"
    pixels: Format = "rgb"
    upright: bool = False
    """Whether images are turned as their EXIF orientation says."""
    max_pixels: int = MAX_PIXELS

    @property
    def record_shape(self) -> tuple[int, ...]:
        """Shape of one record."""
        return record_shape(self.size, self.pixels)

    @property
    def record_bytes(self) -> int:
        """Bytes of one record."""
        return int(np.prod(self.record_shape))


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one image. It was used if there is no reason why not."""

    mark: str
    """Tells its content from another without reading it: see `mark`."""
    reason: str = ""
    detail: str = ""
    notes: tuple[str, ...] = ()
    digest: bytes = b""
    """Hash of the content as it was stored."""
    moments: NDArray[np.int64] | None = None
    """Exact sums over its pixels, of used images: see `pixels.moments`."""


def prepare(entry: Entry, options: Options, record: NDArray[np.uint8]) -> Outcome:
    """Write the record of an entry, a flat uint8 buffer, or say why there is none."""
    seen = mark(entry.content)
    try:
        pixels, digest, notes = _pixels(entry, options)
        image = fit(pixels, options.size, options.fit)
    except NotAnImage as error:
        return Outcome(seen, error.reason, str(error))
    except OSError as error:
        return Outcome(seen, "unreadable", error.strerror or str(error))
    except MemoryError:
        return Outcome(seen, "too_much_memory", "not enough memory to decode it")
    write_record(image, options.pixels, record)
    return Outcome(seen, notes=notes, digest=digest, moments=moments(image))


def _pixels(entry: Entry, options: Options) -> tuple[NDArray[np.uint8], bytes, tuple[str, ...]]:
    """The decoded image, the hash of what was stored, and the decoder's notes."""
    if isinstance(entry.content, np.ndarray):
        pixels = np.ascontiguousarray(entry.content)
        return _colored(pixels), _digest(pixels.data), ()
    content = _read(entry.content)
    decoded = decode(
        content,
        upright=options.upright,
        max_pixels=options.max_pixels,
        reduce_to=2 * options.size,  # half a JPEG's detail is still twice what is kept
    )
    wrong_name = ("format_mismatch",) if misnamed(entry.name, decoded.format) else ()
    return decoded.pixels, _digest(content), decoded.notes + wrong_name


def _colored(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H W or H W 3 → H W 3."""
    if pixels.dtype != np.uint8 or pixels.shape[2:] not in ((), (1,), (3,)) or not pixels.size:
        found = f"{pixels.dtype} {pixels.shape}"
        raise NotAnImage("unsupported", f"pixels are uint8 H W or H W 3, not {found}")
    if pixels.shape[2:] == (3,):
        return pixels
    return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)


def _digest(content: bytes | memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def _read(content: Path | Span | bytes) -> bytes:
    if isinstance(content, Path) and not stat.S_ISREG(content.stat().st_mode):
        raise NotAnImage("not_a_file", "a folder, a pipe, a socket or a device")
    if (size := _size(content)) > MAX_BYTES:
        raise NotAnImage("too_large", f"{size} bytes, more than any image file has")
    if isinstance(content, bytes):
        return content
    if isinstance(content, Path):
        return read_regular(content, MAX_BYTES)
    stored = content.read()
    if len(stored) < size:
        raise NotAnImage("truncated", f"the archive ends after {len(stored)} of {size} bytes")
    return stored


def _size(content: Path | Span | bytes) -> int:
    if isinstance(content, Path):
        return content.stat().st_size
    return content.size if isinstance(content, Span) else len(content)


def mark(content: Content) -> str:
    """Size and time of change of a file, or of the archive a slice is in; a CRC of anything else.

    The same as long as the source is the same: a run that goes on after an interruption compares
    the marks of what it has already packed.
    """
    if isinstance(content, bytes):
        return f"{zlib.crc32(content):08x}"
    if isinstance(content, np.ndarray):
        return f"{zlib.crc32(np.ascontiguousarray(content).data):08x}"
    path, where = (content, "") if isinstance(content, Path) else (content.path, str(content))
    try:
        found = os.stat(path)
    except OSError as error:
        return f"{where}{error.strerror}"
    return f"{where}{found.st_size}:{found.st_mtime_ns}"


def read_ahead(content: Content) -> None:
    """Ask the system to start reading a file that will be wanted soon."""
    if isinstance(content, bytes | np.ndarray) or not hasattr(os, "posix_fadvise"):
        return
    span = Span(content, 0, 0) if isinstance(content, Path) else content  # 0: to the end
    with contextlib.suppress(OSError):
        file = open_descriptor(span.path)
        try:
            os.posix_fadvise(file, span.offset, span.size, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(file)
