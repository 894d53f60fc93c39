"""JPEG files of the usual kinds, decoded by simplejpeg (libjpeg-turbo), at full or reduced size.

Only well-formed baseline, extended sequential and progressive files are passed to simplejpeg: its
decoder writes outside its memory when it reduces a lossless JPEG. Other kinds, CMYK files and all
files that simplejpeg rejects are left to `pillow`. `decoding` calls this module.

A JPEG is a sequence of segments. Each begins with a marker, FF and one more byte (here `kind`), and
most have a length:

    FF D8 │ FF E0 length … │ FF DB length … │ FF C0 length bits … │ … │ FF DA … scan … │ FF D9
    start   application      quantization     frame header              start of scan    end
"""

from __future__ import annotations

import simplejpeg

from alexnet.images.decoded import Decoded, UnusableImage
from alexnet.images.memory import check_memory, check_pixels

JPEG_MAGIC = b"\xff\xd8\xff"

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Kinds of the markers that begin a frame header (SOF0 to SOF15)."""
_USUAL_FRAMES = frozenset((0xC0, 0xC1, 0xC2))
"""Baseline, extended sequential and progressive, with Huffman codes."""
_HIERARCHICAL_FRAMES = frozenset((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF))
_WITHOUT_LENGTH = frozenset((0x00, 0x01, *range(0xD0, 0xDA)))
"""Kinds of the markers without a length: stuffed zeros, restarts, start and end of the image."""
_SCAN = 0xDA
_REDUCTIONS = 8, 4, 2
"""The scales 1/8, 1/4 and 1/2 are fast in libjpeg: it leaves out coefficients."""
_MEMORY_PER_PIXEL = 9
"""Bytes that simplejpeg takes per pixel; measured."""


def decode_jpeg(content: bytes, max_pixels: int, reduce_to: int | None) -> Decoded | None:
    """Decode with simplejpeg.

    Returns None for CMYK and YCCK files and for files that simplejpeg rejects, so that the caller
    tries Pillow. With `reduce_to`, the image is decoded at 1/2, 1/4 or 1/8 of its size, as long as
    its shorter side keeps at least that many pixels.

    Raises UnusableImage for a truncated or unsupported file, and for one beyond the limits.
    """
    if not is_usual(content):
        return None
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(content)
        check_pixels(width, height, max_pixels)
        if colors in ("CMYK", "YCCK"):
            return None
        needed = _MEMORY_PER_PIXEL * width * height
        check_memory(f"a {width}×{height} JPEG", needed, content, max_pixels)
        min_height, min_width = _reduced_size(height, width, reduce_to)
        pixels = simplejpeg.decode_jpeg(content, min_height=min_height, min_width=min_width)
    except UnusableImage:
        raise
    except (ValueError, LookupError) as error:  # LookupError: unknown subsampling, or no header
        if "Premature end" in str(error):
            raise UnusableImage("truncated", str(error)) from None
        return None
    return Decoded(pixels, "JPEG")


def is_usual(content: bytes) -> bool:
    """Whether simplejpeg may decode it: a usual kind of frame with 8 bits, after valid segments.

    Raises UnusableImage (unsupported) for what no decoder here can read: hierarchical JPEGs, and
    samples of other than 8 bits (from a lossless JPEG of 2 to 7 bits, Pillow would make a nearly
    black image).
    """
    frame = _first_frame(content)
    if frame is None:
        return False
    kind, bits = frame
    if kind in _HIERARCHICAL_FRAMES:
        raise UnusableImage("unsupported", "a hierarchical JPEG; save it as a baseline one")
    if bits != 8:
        raise UnusableImage("unsupported", f"a JPEG with {bits} bits per sample, not 8")
    return kind in _USUAL_FRAMES


def _first_frame(content: bytes) -> tuple[int, int] | None:
    """The kind of a JPEG's first frame, and its bits per sample.

    None unless every segment before it is as the standard says. What decoders make of stray bytes
    between segments, or of a second start, differs from one decoder to the next.
    """
    at = 2
    while at + 4 < len(content) and content[at] == 0xFF:
        kind, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4])
        if kind == 0xFF:  # a fill byte: any number of them may precede a marker
            at += 1
        elif kind in _FRAMES:
            return kind, content[at + 4]
        elif kind in _WITHOUT_LENGTH or kind == _SCAN or length < 2:
            return None
        else:
            at += 2 + length
    return None


def _reduced_size(height: int, width: int, reduce_to: int | None) -> tuple[int, int]:
    """The smallest height and width to decode at; (0, 0) for full size."""
    for factor in _REDUCTIONS if reduce_to else ():
        if min(height, width) // factor >= (reduce_to or 0):
            return -(-height // factor), -(-width // factor)
    return 0, 0
