"""Images decoded by Pillow: every allowed format, and the JPEGs that simplejpeg does not take.

HEIF is one of them if pillow-heif is installed (`heif`).

`decode_with_pillow` decodes bytes (called by `decoding`), `read_pillow_image` takes an image that a
user of the Python API has opened with Pillow (called by `predict`). All exceptions that hostile
bytes cause in Pillow are converted to UnusableImage.
"""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from alexnet.images.decoded import Decoded, UnusableImage
from alexnet.images.heif import is_heif, open_heif
from alexnet.images.jpeg import JPEG_MAGIC
from alexnet.images.memory import check_icon, check_memory, check_pixels, estimate_memory
from alexnet.images.modes import convert_to_rgb
from alexnet.images.orientation import STORED_UPRIGHT, needs_turning, read_orientation

FORMATS = (
    *("AVIF", "BMP", "DDS", "DIB", "GIF", "ICNS", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM"),
    *("PSD", "QOI", "SGI", "TGA", "TIFF", "WEBP"),
)
"""The formats that Pillow may open, without PostScript, metafiles and scientific containers."""

_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"
_PNG_END = b"IEND\xae\x42\x60\x82"
_MAGIC = {
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"RIFF": "WebP",
    b"\xff\xd8": "JPEG",
}
"""First bytes of common formats, for error messages."""


class _WarningsSuppressed:
    """No Python warnings while any thread is inside: Pillow warns about every oddity of a file.

    `warnings.catch_warnings` alone would restore the filters of another thread, so the threads are
    counted: the first one in suppresses, the last one out restores.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._n_inside == 0:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")
            self._n_inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                self._caught.__exit__(None, None, None)


_warnings_suppressed = _WarningsSuppressed()


def decode_with_pillow(content: bytes, max_pixels: int, upright: bool) -> Decoded:
    """Decode with Pillow; raises UnusableImage. The arguments are those of `decoding.decode`."""
    check_icon(content, max_pixels)
    with _warnings_suppressed, _errors_as_unusable():
        try:
            image = _open(content)
        except UnidentifiedImageError:
            raise _describe_unidentified(content) from None
        with image:
            return _decode_opened(image, content, max_pixels, upright)


def _open(content: bytes) -> Image.Image:
    """Open an image of any format that is read. Raises UnidentifiedImageError for others."""
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        if not is_heif(content):
            raise
    return open_heif(content)


def read_pillow_image(image: Image.Image, *, upright: bool = False) -> NDArray[np.uint8]:
    """The pixels of an image that Pillow has opened or created, as uint8 (H, W, 3).

    They are converted by the same rules as those of `decode`. Raises UnusableImage if the image was
    opened lazily and its file turns out to be damaged.
    """
    with _warnings_suppressed, _errors_as_unusable():
        return convert_to_rgb(image, read_orientation(image) if upright else STORED_UPRIGHT)[0]


def read_jpeg_orientation(content: bytes) -> int:
    """The EXIF orientation of an encoded JPEG; 1 if it has none or Pillow cannot open it."""
    try:
        with _warnings_suppressed, Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            return read_orientation(image)
    except Exception:  # noqa: BLE001 - simplejpeg has decoded it: broken EXIF must not cost the image
        return STORED_UPRIGHT


@contextlib.contextmanager
def _errors_as_unusable() -> Iterator[None]:
    """Turn whatever Pillow raises into UnusableImage."""
    try:
        yield
    except UnusableImage:
        raise
    except Image.DecompressionBombError as error:
        raise UnusableImage("too_many_pixels", str(error)) from None
    except MemoryError:
        raise UnusableImage("too_much_memory", "not enough memory to decode it") from None
    except Exception as error:  # noqa: BLE001 - hostile bytes make Pillow raise anything at all
        is_truncated = "truncated" in str(error).lower()
        detail = f"{type(error).__name__}: {error}"
        raise UnusableImage("truncated" if is_truncated else "broken", detail) from None


def _describe_unidentified(content: bytes) -> UnusableImage:
    """The error for bytes that Pillow recognizes as no allowed format."""
    if is_heif(content):
        return UnusableImage("broken", "it begins like HEIF but cannot be read")
    if content.startswith(JPEG_MAGIC):
        return UnusableImage("unsupported", "a JPEG of a kind that is not read, or a broken one")
    for magic in _MAGIC:
        if content.startswith(magic):
            return UnusableImage("broken", f"it begins like {_MAGIC[magic]} but cannot be read")
    start = content[:16].decode("ascii", "backslashreplace")
    return UnusableImage("not_an_image", f"no known image format begins with {start!r}")


def _decode_opened(image: Image.Image, content: bytes, max_pixels: int, upright: bool) -> Decoded:
    """Decode an image that Pillow has opened, after its header has passed the limits."""
    width, height = image.size
    check_pixels(width, height, max_pixels)
    description = f"a {width}×{height} {image.format} of mode {image.mode}"
    check_memory(description, estimate_memory(image), content, max_pixels)
    _check_complete(image.format or "", content)
    notes = ["first_frame"] if getattr(image, "is_animated", False) else []
    if image.format in ("JPEG", "MPO") and image.mode != "CMYK":
        notes.append("lenient")
    image.load()
    orientation = read_orientation(image) if upright else STORED_UPRIGHT
    pixels, conversion_notes = convert_to_rgb(image, orientation)
    rotated = ("rotated",) if needs_turning(orientation) else ()
    return Decoded(pixels, image.format or "", (*notes, *conversion_notes, *rotated))


def _check_complete(format: str, content: bytes) -> None:
    """Reject truncated files that Pillow would accept.

    These are a PNG without an IEND chunk, and a JPEG whose last scan has no end-of-image marker.
    """
    if format == "PNG" and _PNG_END not in content:
        raise UnusableImage("truncated", "the PNG has no IEND chunk")
    if format == "JPEG" and content.find(_JPEG_END, content.rfind(_JPEG_SCAN)) < 0:
        raise UnusableImage("truncated", "the last scan of the JPEG has no end")
