"""One image to one record: read its bytes, decode them, resize the image, write the record.

Packing and prediction call `prepare` with the same options (through `decoder_group` or
`decoder_pool`), so both give a network the same pixels. A bad image raises no exception: the
PreparationResult has the reason why no record was written.
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

from alexnet.images.decoded import UnusableImage
from alexnet.images.decoding import decode, has_wrong_extension
from alexnet.images.memory import MAX_PIXELS
from alexnet.images.records import Format, moments, record_shape, write_record
from alexnet.images.resizing import Fit, fit
from alexnet.sources.entry import Entry, Span
from alexnet.sources.limits import LARGEST_FILE
from alexnet.sources.regular_files import open_descriptor, read_regular

MAX_BYTES = LARGEST_FILE
"""Larger files are not used (`too_large`): they cannot be images and would only use up memory."""
DIGEST_BYTES = 8
Content = Path | Span | bytes | NDArray[np.uint8]
"""What an Entry holds: a file, a part of an archive, encoded bytes, or pixels."""


@dataclass(frozen=True)
class RecordOptions:
    """All settings that affect the bytes of a record."""

    size: int
    """Width and height of the record in pixels."""
    fit: Fit = "crop"
    """How an image becomes a square: see `resizing.fit`."""
    pixels: Format = "rgb"
    """The format of the record: see `records`."""
    upright: bool = False
    """Whether images are turned as their EXIF orientation says."""
    max_pixels: int = MAX_PIXELS
    """Larger images are not used: see `decoding.decode`."""

    @property
    def record_shape(self) -> tuple[int, ...]:
        """Shape of one record."""
        return record_shape(self.size, self.pixels)

    @property
    def record_bytes(self) -> int:
        """Bytes of one record."""
        return int(np.prod(self.record_shape))


@dataclass(frozen=True, eq=False)
class PreparationResult:
    """The result of preparing one image. If `reason` is empty, its record was written."""

    fingerprint: str
    """Changes if the content does: see `compute_fingerprint`."""
    reason: str = ""
    """Why there is no record: a word as in `UnusableImage.reason`; "unreadable" if the file could
    not be read; "decoder_crashed" or "decoder_hung" from `decoder_process`."""
    detail: str = ""
    """The reason as a sentence."""
    notes: tuple[str, ...] = ()
    """What was unusual: see `Decoded.notes`; "format_mismatch" for a wrong extension."""
    digest: bytes = b""
    """Hash of the content as it was stored, DIGEST_BYTES long; of an image that was used."""
    moments: NDArray[np.int64] | None = None
    """Exact sums over the pixels of an image that was used: see `records.moments`."""
    size: int = 0
    """Bytes of its content."""


def prepare(entry: Entry, options: RecordOptions, record: NDArray[np.uint8]) -> PreparationResult:
    """Write the record of an entry into `record`, a flat uint8 buffer, or say why there is none."""
    fingerprint = compute_fingerprint(entry.content)
    try:
        pixels, digest, notes, size = _load_pixels(entry, options)
        image = fit(pixels, options.size, options.fit)
    except UnusableImage as error:
        return PreparationResult(fingerprint, error.reason, str(error))
    except OSError as error:
        return PreparationResult(fingerprint, "unreadable", error.strerror or str(error))
    except MemoryError:
        return PreparationResult(fingerprint, "too_much_memory", "not enough memory to decode it")
    write_record(image, options.pixels, record)
    return PreparationResult(
        fingerprint, notes=notes, digest=digest, moments=moments(image), size=size
    )


def _load_pixels(
    entry: Entry, options: RecordOptions
) -> tuple[NDArray[np.uint8], bytes, tuple[str, ...], int]:
    """The decoded image (H, W, 3); the hash, the notes and the bytes of its stored content."""
    if isinstance(entry.content, np.ndarray):
        pixels = np.ascontiguousarray(entry.content)
        return _with_three_colors(pixels), _compute_digest(pixels.data), (), pixels.nbytes
    content = _read(entry.content)
    decoded = decode(
        content,
        upright=options.upright,
        max_pixels=options.max_pixels,
        reduce_to=2 * options.size,  # a reduced JPEG keeps twice the detail that the record needs
    )
    wrong_name = ("format_mismatch",) if has_wrong_extension(entry.name, decoded.format) else ()
    notes = decoded.notes + wrong_name
    return decoded.pixels, _compute_digest(content), notes, len(content)


def _with_three_colors(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels of shape (H, W), (H, W, 1) or (H, W, 3) as (H, W, 3)."""
    if pixels.dtype != np.uint8 or pixels.shape[2:] not in ((), (1,), (3,)) or not pixels.size:
        found = f"{pixels.dtype} {pixels.shape}"
        raise UnusableImage(
            "unsupported", f"pixels are {found}, but must be uint8 (H, W) or (H, W, 3)"
        )
    if pixels.shape[2:] == (3,):
        return pixels
    return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)


def _compute_digest(content: bytes | memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def _read(content: Path | Span | bytes) -> bytes:
    """The encoded bytes. Raises UnusableImage or OSError; never blocks on a pipe or a device."""
    if isinstance(content, Path) and not stat.S_ISREG(content.stat().st_mode):
        raise UnusableImage("not_a_file", "a folder, a pipe, a socket or a device")
    if (size := _count_bytes(content)) > MAX_BYTES:
        raise UnusableImage("too_large", f"{size} bytes, more than any image file has")
    if isinstance(content, bytes):
        return content
    if isinstance(content, Path):
        return read_regular(content, MAX_BYTES)
    stored = content.read()
    if len(stored) < size:
        raise UnusableImage("truncated", f"the archive ends after {len(stored)} of {size} bytes")
    return stored


def _count_bytes(content: Path | Span | bytes) -> int:
    if isinstance(content, Path):
        return content.stat().st_size
    return content.size if isinstance(content, Span) else len(content)


def compute_fingerprint(content: Content) -> str:
    """A short text that stays the same as long as the content does.

    It is the size and modification time of a file (for a Span, its position and those of its
    archive), or the CRC-32 of bytes or pixels. A packing that resumes compares the fingerprints of
    the images that it has already packed, without reading them again.
    """
    if isinstance(content, bytes):
        return f"{zlib.crc32(content):08x}"
    if isinstance(content, np.ndarray):
        return f"{zlib.crc32(np.ascontiguousarray(content).data):08x}"
    path, position = (content, "") if isinstance(content, Path) else (content.path, str(content))
    try:
        status = os.stat(path)
    except OSError as error:
        return f"{position}{error.strerror}"
    return f"{position}{status.st_size}:{status.st_mtime_ns}"


def read_ahead(content: Content) -> None:
    """Ask the operating system to start reading a file that will be needed soon.

    Does nothing for bytes and pixels, on systems without posix_fadvise, and for unreadable files.
    """
    if isinstance(content, bytes | np.ndarray) or not hasattr(os, "posix_fadvise"):
        return
    span = Span(content, 0, 0) if isinstance(content, Path) else content  # size 0: to the end
    with contextlib.suppress(OSError):
        file = open_descriptor(span.path)
        try:
            os.posix_fadvise(file, span.offset, span.size, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(file)
