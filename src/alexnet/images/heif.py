"""HEIF photographs, as phones take them (.heic), decoded by pillow-heif if that is installed.

It is an extra of the package: pip install 'alexnet[heic]'. `pillow` calls `open_heif` for bytes
that no format of Pillow fits, in a decoding process with limits on time and memory, like all other
formats. libheif's own limits stay on. It turns images upright as the file says (the properties irot
and imir); the EXIF orientation, which the standard says to ignore, is ignored.
"""

from __future__ import annotations

import functools
import io
from importlib import import_module
from importlib.util import find_spec

from PIL import Image

from alexnet.images.decoded import UnusableImage

NEEDED = "needs_heic"
"""The reason why a HEIF photograph is not used where pillow-heif is not installed."""
ADVICE = "pip install 'alexnet[heic]'"
_BRANDS = frozenset(
    (*(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), b"mif1", b"msf1")
)
"""Brands of the standard (ISO/IEC 23008-12): the codec HEVC, and images of any codec."""


def is_heif(content: bytes) -> bool:
    """Whether bytes begin as a HEIF file does."""
    return content[4:8] == b"ftyp" and content[8:12] in _BRANDS


def can_read_heif() -> bool:
    """Whether pillow-heif is installed. It is not imported."""
    return find_spec("pillow_heif") is not None


def open_heif(content: bytes) -> Image.Image:
    """Open a HEIF photograph with Pillow; nothing is decoded yet.

    Raises UnusableImage if pillow-heif is not installed, UnidentifiedImageError if it cannot read
    the file.
    """
    if not can_read_heif():
        raise UnusableImage(NEEDED, f"a HEIF photograph: {ADVICE}, or convert it to JPEG")
    _register()
    return Image.open(io.BytesIO(content), formats=["HEIF"])


@functools.cache
def _register() -> None:
    """Teach Pillow the format. Thumbnails and depth maps in the file are left alone."""
    import_module("pillow_heif").register_heif_opener(
        thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
    )
