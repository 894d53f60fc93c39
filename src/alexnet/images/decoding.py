"""From the encoded bytes of an image to uint8 RGB pixels, or to an error with the reason.

The format is recognized by the bytes, never by the name. JPEGs of the usual kinds are decoded by
simplejpeg (`jpeg`); everything else, and files that simplejpeg rejects, by Pillow (`pillow`) with a
list of allowed formats. Truncated images are rejected, not filled with gray. Color profiles are
ignored.

`preparation` calls `decode` in a separate process, because hostile bytes may crash a decoder.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from alexnet.images.decoded import Decoded, UnusableImage
from alexnet.images.jpeg import JPEG_MAGIC, decode_jpeg
from alexnet.images.memory import MAX_PIXELS
from alexnet.images.orientation import turn_upright
from alexnet.images.pillow import decode_with_pillow, read_jpeg_orientation

_FORMATS_OF_EXTENSIONS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), ("JPEG", "MPO")),
    **dict.fromkeys((".tif", ".tiff"), ("TIFF",)),
    **dict.fromkeys((".jp2", ".j2k", ".jpx"), ("JPEG2000",)),
    **dict.fromkeys((".heic", ".heif", ".hif"), ("HEIF",)),
    **{f".{name.lower()}": (name,) for name in ("PNG", "GIF", "BMP", "WEBP", "AVIF")},
}


def decode(
    content: bytes,
    *,
    upright: bool = False,
    max_pixels: int = MAX_PIXELS,
    reduce_to: int | None = None,
) -> Decoded:
    """Decode one image.

    Parameters
    ----------
    content
        The encoded bytes, of any of `pillow.FORMATS`.
    upright
        Whether to turn the image as its EXIF orientation says.
    max_pixels
        Images with more pixels, or that would take more than `memory.BYTES_PER_PIXEL` times as many
        bytes to decode, are rejected before memory is allocated.
    reduce_to
        Decode a JPEG at 1/2, 1/4 or 1/8 of its size, as long as its shorter side keeps at least
        this many pixels. This is several times faster.

    Raises UnusableImage, with a `reason`, for bytes that are not a usable image.
    """
    if not content:
        raise UnusableImage("empty", "the file has no bytes")
    is_jpeg = content.startswith(JPEG_MAGIC)
    decoded = decode_jpeg(content, max_pixels, reduce_to) if is_jpeg else None
    if decoded is None:
        return decode_with_pillow(content, max_pixels, upright)
    return turn_upright(decoded, read_jpeg_orientation(content)) if upright else decoded


def has_wrong_extension(name: str, format: str) -> bool:
    """Whether the extension of a file name stands for another format than the bytes have.

    `format` is Pillow's name, as in `Decoded.format`. False for unknown extensions and for none.
    """
    extension = PurePosixPath(name).suffix.lower()
    return format not in _FORMATS_OF_EXTENSIONS.get(extension, (format,))
