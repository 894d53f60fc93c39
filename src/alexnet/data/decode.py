"""From encoded bytes to uint8 RGB pixels, or a plain reason why not; and pixels to a PNG.

The bytes decide what an image is, never its name. JPEG goes through simplejpeg; everything else,
and what simplejpeg refuses, through Pillow with a list of allowed formats. A truncated image is
not an image. Color profiles are ignored.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from alexnet.data.pixels import fit

__all__ = ["FORMATS", "MAX_PIXELS", "Decoded", "NotAnImage", "decode", "fit", "misnamed"]
__all__ += ["pillow_pixels", "write_png"]

FORMATS = (
    *("AVIF", "BMP", "DDS", "DIB", "GIF", "ICNS", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM"),
    *("PSD", "QOI", "SGI", "TGA", "TIFF", "WEBP"),
)
"""What Pillow may open. PostScript, metafiles and scientific containers are not pictures."""
MAX_PIXELS = 178_956_970
"""Pillow's own limit; lower ones can be asked for, and for JPEG also higher ones."""

JPEG_START = b"\xff\xd8\xff"
JPEG_SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"
PNG_END = b"IEND\xae\x42\x60\x82"
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Second bytes of the markers that begin a frame's header."""
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
MAGIC = {
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"RIFF": "WebP",
    b"\xff\xd8": "JPEG",
}
SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), ("JPEG", "MPO")),
    **dict.fromkeys((".tif", ".tiff"), ("TIFF",)),
    **dict.fromkeys((".jp2", ".j2k", ".jpx"), ("JPEG2000",)),
    **{f".{name.lower()}": (name,) for name in ("PNG", "GIF", "BMP", "WEBP", "AVIF")},
}
ORIENTATION = 0x0112
WHITE = (255, 255, 255, 255)


class NotAnImage(ValueError):  # noqa: N818 - it says what the bytes are
    """These bytes are not a usable image.

    `reason` is one of empty, not_an_image, truncated, broken, too_many_pixels, unsupported.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason

    def __reduce__(self) -> tuple[type[NotAnImage], tuple[str, str]]:
        return NotAnImage, (self.reason, str(self))


@dataclass(frozen=True, eq=False)
class Decoded:
    """An image as it was stored: its pixels and what was peculiar about it."""

    pixels: NDArray[np.uint8]
    """H W 3."""
    format: str
    """As Pillow names it: JPEG, PNG, …"""
    notes: tuple[str, ...] = ()
    """Any of cmyk, first_frame, 16bit, float, transparent, lenient, rotated."""


def decode(
    content: bytes,
    *,
    upright: bool = False,
    max_pixels: int = MAX_PIXELS,
    reduce_to: int | None = None,
) -> Decoded:
    """Decode one image; raises NotAnImage.

    `upright` turns it as its EXIF orientation says. `reduce_to` lets a JPEG come out at 1/2, 1/4 or
    1/8 of its size as long as its shorter side stays at least that many pixels.
    """
    if not content:
        raise NotAnImage("empty", "the file has no bytes")
    decoded = _jpeg(content, max_pixels, reduce_to) if content.startswith(JPEG_START) else None
    if decoded is None:
        return _by_pillow(content, max_pixels, upright)
    return _turned(decoded, _orientation_of(content)) if upright else decoded


def pillow_pixels(image: Image.Image, *, upright: bool = False) -> NDArray[np.uint8]:
    """The pixels of an image that Pillow has opened or made, as uint8 H W 3, by the same rules."""
    with MUTED:
        orientation = _orientation(image) if upright else 1
        return _turned(Decoded(_rgb(image)[0], image.format or ""), orientation).pixels


def write_png(
    path: Path, pixels: NDArray[np.uint8], captions: Iterable[tuple[int, int, str]] = ()
) -> None:
    """Write H W 3 as a PNG file, with black captions (x, y of the left top corner, text) on it."""
    image = Image.fromarray(pixels)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(12)
    for x, y, text in captions:
        draw.text((x, y), text, fill=(0, 0, 0), font=font)
    image.save(path, "PNG")


def misnamed(name: str, format: str) -> bool:
    """Whether the name's ending promises another format than the bytes have."""
    return format not in SUFFIXES.get(PurePosixPath(name).suffix.lower(), (format,))


def _jpeg(content: bytes, max_pixels: int, reduce_to: int | None) -> Decoded | None:
    """Decode by simplejpeg; None where Pillow should try: inks, and whatever it calls corrupt."""
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(content)
        _check_pixels(width, height, max_pixels)
        if colors in ("CMYK", "YCCK"):
            return None
        _check_precision(content)
        least = _reduced(height, width, reduce_to)
        pixels = simplejpeg.decode_jpeg(content, min_height=least[0], min_width=least[1])
    except NotAnImage:
        raise
    except (ValueError, LookupError) as error:  # LookupError: unknown subsampling, or no header
        if "Premature end" in str(error):
            raise NotAnImage("truncated", str(error)) from None
        return None
    return Decoded(pixels, "JPEG")


def _check_precision(content: bytes) -> None:
    """Refuse samples of 2 to 7 bits (lossless JPEG), which would come out nearly black."""
    at = 2
    while content[at] == 0xFF and content[at + 1] not in FRAMES:
        at += 2 + int.from_bytes(content[at + 2 : at + 4])
    if content[at] == 0xFF and content[at + 4] != 8:
        raise NotAnImage("unsupported", f"a JPEG with {content[at + 4]} bits a sample, not 8")


def _reduced(height: int, width: int, reduce_to: int | None) -> tuple[int, int]:
    """The least height and width to decode at; 0 0 for all of it. Only halvings are fast."""
    for factor in (8, 4, 2) if reduce_to else ():
        if min(height, width) // factor >= (reduce_to or 0):
            return -(-height // factor), -(-width // factor)
    return 0, 0


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise NotAnImage(
            "too_many_pixels", f"{width}×{height} pixels, more than the limit of {max_pixels}"
        )


def _by_pillow(content: bytes, max_pixels: int, upright: bool) -> Decoded:
    try:
        with MUTED, Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return _read(image, content, max_pixels, upright)
    except NotAnImage:
        raise
    except UnidentifiedImageError:
        raise _unidentified(content) from None
    except Image.DecompressionBombError as error:
        raise NotAnImage("too_many_pixels", str(error)) from None
    except MemoryError:
        raise NotAnImage("too_many_pixels", "not enough memory to decode it") from None
    except Exception as error:  # noqa: BLE001 - hostile bytes make Pillow raise anything at all
        cut = "truncated" in str(error).lower()
        detail = f"{type(error).__name__}: {error}"
        raise NotAnImage("truncated" if cut else "broken", detail) from None


def _unidentified(content: bytes) -> NotAnImage:
    if content[4:8] == b"ftyp" and content[8:12] in HEIF_BRANDS:
        return NotAnImage("unsupported", "a HEIF photograph; convert it to JPEG or PNG")
    if content.startswith(JPEG_START):
        return NotAnImage("unsupported", "a JPEG of a kind that is not read, or a broken one")
    for magic in MAGIC:
        if content.startswith(magic):
            return NotAnImage("broken", f"it begins like {MAGIC[magic]} but cannot be read")
    start = content[:16].decode("ascii", "backslashreplace")
    return NotAnImage("not_an_image", f"no known image format begins with {start!r}")


def _read(image: Image.Image, content: bytes, max_pixels: int, upright: bool) -> Decoded:
    _check_pixels(*image.size, max_pixels)
    _check_ending(image.format or "", content)
    notes = ["first_frame"] if getattr(image, "is_animated", False) else []
    if image.format in ("JPEG", "MPO") and image.mode != "CMYK":
        notes.append("lenient")
    image.load()
    pixels, more = _rgb(image)
    decoded = Decoded(pixels, image.format or "", (*notes, *more))
    return _turned(decoded, _orientation(image)) if upright else decoded


def _check_ending(format: str, content: bytes) -> None:
    """Refuse what Pillow accepts cut off: a PNG without its last chunk, a scan without its end."""
    if format == "PNG" and PNG_END not in content:
        raise NotAnImage("truncated", "the PNG has no IEND chunk")
    if format == "JPEG" and content.find(JPEG_END, content.rfind(JPEG_SCAN)) < 0:
        raise NotAnImage("truncated", "the last scan of the JPEG has no end")


def _rgb(image: Image.Image) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Any of Pillow's modes as H W 3, and what had to be done."""
    if image.mode.startswith("I"):
        return _gray(_sixteen_bits(image)), ("16bit",)
    if image.mode == "F":
        return _gray(_floats(image)), ("float",)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image)
        return np.array(image.convert("RGB")), ("transparent",)
    notes = ("cmyk",) if image.mode == "CMYK" else ()
    return np.array(image.convert("RGB")), notes


def _gray(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(values[:, :, None], 3, axis=2)


def _sixteen_bits(image: Image.Image) -> NDArray[np.uint8]:
    """The high bytes of 16-bit gray (mode I;16 and relatives, and I, which also holds 16 bits).

    Pillow's own conversion clips everything above 255 to white.
    """
    values = np.asarray(image).astype(np.int64)
    gray = (np.clip(values, 0, None) >> (8 if values.max() < 1 << 16 else 24)).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        gray[values == transparent] = 255
    return gray


def _floats(image: Image.Image) -> NDArray[np.uint8]:
    """Floats of unknown range as gray: 0 to 1, else to 255, to 65,535, or to their maximum."""
    values = np.nan_to_num(np.asarray(image), nan=0.0, posinf=0.0, neginf=0.0).astype(np.float64)
    top = float(values.max())
    white = next((white for white in (1.0, 255.0, 65535.0) if top <= white), top)
    return np.clip(np.rint(values * (255 / white)), 0, 255).astype(np.uint8)


def _orientation_of(content: bytes) -> int:
    try:
        with MUTED, Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            return _orientation(image)
    except Exception:  # noqa: BLE001 - the pixels are fine: broken EXIF costs nobody an image
        return 1


def _orientation(image: Image.Image) -> int:
    """EXIF's 1 to 8; 1 where it is missing or broken."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - as above
        return 1


def _turned(decoded: Decoded, orientation: int) -> Decoded:
    """Undo an EXIF orientation: 2 to 4 are mirrored or upside down, 5 to 8 also transposed."""
    if not 2 <= orientation <= 8:
        return decoded
    pixels = decoded.pixels
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return Decoded(np.ascontiguousarray(pixels), decoded.format, (*decoded.notes, "rotated"))


class _Muted:
    """No warnings while any thread is inside: Pillow has one for each oddity of a file.

    `warnings.catch_warnings` alone would restore another thread's filters.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._caught.__exit__(None, None, None)


MUTED = _Muted()
