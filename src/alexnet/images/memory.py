"""Limits on what decoding may take: numbers of pixels, and bytes of memory.

A file of a few kilobytes can claim to be an image of gigabytes (a decompression bomb). So the
memory that decoding will need is estimated from the header and compared with the limit before any
of it is allocated. `jpeg` and `pillow` call this module.
"""

from __future__ import annotations

import re
import struct

from PIL import Image

from alexnet.images.decoded import UnusableImage

MAX_PIXELS = 178_956_970
"""The number of pixels above which Pillow raises DecompressionBombError. A caller's `max_pixels`
can be lower; for JPEGs that simplejpeg decodes it can also be higher."""
BYTES_PER_PIXEL = 12
"""Decoding may take this many bytes of memory for each of `max_pixels`: enough for every ordinary
8-bit image of that many pixels, but not for every format."""

_STORED_BYTES = {"1": 1, "L": 1, "P": 1, **dict.fromkeys(("I;16", "I;16B", "I;16L", "I;16N"), 2)}
"""Bytes per pixel in Pillow's memory, by mode; 4 in all other modes."""
_TILE_WIDTH, _TILE_ROWS, _STRIP_ROWS, _BITS, _SAMPLES = 322, 323, 278, 258, 277
"""Tags of TIFF: TileWidth, TileLength, RowsPerStrip, BitsPerSample, SamplesPerPixel."""
_ICON_MAGIC = b"\0\0\1\0", b"icns"
_HEADER_INSIDE_ICON = re.compile(rb"(?:IHDR|ihdr)(.{8})", re.DOTALL)
"""The header of a PNG or JPEG 2000 image inside an icon file, followed by its two sides."""
_ICON_BYTES_PER_PIXEL = 28
"""Measured, for the images inside an icon file."""


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raise UnusableImage (too_many_pixels) if an image has more than `max_pixels` pixels."""
    if width * height > max_pixels:
        raise UnusableImage(
            "too_many_pixels", f"{width}×{height} pixels, more than the limit of {max_pixels}"
        )


def check_memory(description: str, needed: int, content: bytes, max_pixels: int) -> None:
    """Raise UnusableImage (too_much_memory) if decoding would take more than the limit.

    `needed` bytes, plus the encoded file itself, must not exceed BYTES_PER_PIXEL * `max_pixels`.
    `description` names the image in the message.
    """
    needed, limit = needed + len(content), BYTES_PER_PIXEL * max_pixels
    if needed > limit:
        raise UnusableImage(
            "too_much_memory",
            f"decoding {description} takes {needed / 1e6:,.0f} MB, more than the limit of "
            f"{limit / 1e6:,.0f} MB, {BYTES_PER_PIXEL} bytes for each of {max_pixels:,} pixels: "
            "--max-pixels raises it",
        )


def check_icon(content: bytes, max_pixels: int) -> None:
    """Raise UnusableImage if `content` is an icon file with too large an image inside.

    This has to happen before Pillow opens the file, because opening an icon already decodes it.
    """
    if not content.startswith(_ICON_MAGIC):
        return
    for match in re.finditer(_HEADER_INSIDE_ICON, content):
        height, width = struct.unpack(">II", match[1])
        check_pixels(width, height, max_pixels)
        description = f"an icon with an image of {width * height:,} pixels"
        check_memory(description, _ICON_BYTES_PER_PIXEL * width * height, content, max_pixels)


def estimate_memory(image: Image.Image) -> int:
    """Estimate from its header how many bytes it takes to decode an image that Pillow has opened.

    The sum of three parts: the pixels as Pillow stores them; the larger of what the decoder holds
    in the meantime and the three bytes per pixel of the RGB result; one tile of a TIFF. The factors
    of the decoders were measured.
    """
    bands = len(image.getbands())
    decoder = {"JPEG": 2 * bands, "MPO": 2 * bands, "JPEG2000": 6 * bands, "WEBP": 12, "AVIF": 16}
    decoder["HEIF"] = 12
    meanwhile = max(3, decoder.get(image.format or "", 0))
    pixels = image.width * image.height
    return pixels * (_STORED_BYTES.get(image.mode, 4) + meanwhile) + _tile_bytes(image)


def _tile_bytes(image: Image.Image) -> int:
    """Bytes of one tile or strip of a compressed TIFF, which can be larger than the image."""
    if "libtiff" not in (tile[0] for tile in getattr(image, "tile", ())):
        return 0
    tags = getattr(image, "tag_v2", {})
    width = _as_number(tags.get(_TILE_WIDTH, image.width))
    strip_rows = min(_as_number(tags.get(_STRIP_ROWS, 0)), image.height)
    rows = _as_number(tags.get(_TILE_ROWS, strip_rows))
    bits, samples = (_as_number(tags.get(tag, 1)) for tag in (_BITS, _SAMPLES))
    return width * rows * -(-bits // 8) * samples


def _as_number(value: object) -> int:
    """The value of a TIFF tag, which may be one number or one number per color; 0 if neither."""
    if isinstance(value, tuple):
        value = max((x for x in value if isinstance(x, int)), default=0)
    return max(0, value) if isinstance(value, int) else 0
