"""From encoded bytes to uint8 RGB pixels, or a plain reason why not; and pixels to a PNG.

The bytes decide what an image is, never its name. JPEG of the usual kinds goes through simplejpeg;
everything else, and what simplejpeg refuses, through Pillow with a list of allowed formats. A
truncated image is not an image. Color profiles are ignored. The memory that decoding will need is
estimated from the header and held against a limit before it is taken.
"""

from __future__ import annotations

import contextlib
import io
import re
import struct
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from alexnet.images.records import fit

__all__ = ["FORMATS", "MAX_PIXELS", "Decoded", "NotAnImage", "decode", "fit", "misnamed"]
__all__ += ["pillow_pixels", "write_png"]

FORMATS = (
    *("AVIF", "BMP", "DDS", "DIB", "GIF", "ICNS", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM"),
    *("PSD", "QOI", "SGI", "TGA", "TIFF", "WEBP"),
)
"""What Pillow may open. PostScript, metafiles and scientific containers are not pictures."""
MAX_PIXELS = 178_956_970
"""Pillow's own limit; lower ones can be asked for, and for JPEG also higher ones."""
BYTES_A_PIXEL = 12
"""Decoding may take this many bytes of memory for each pixel of the limit: enough for every
ordinary 8-bit image of that many pixels, not for every format."""

JPEG_START = b"\xff\xd8\xff"
JPEG_SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"
PNG_END = b"IEND\xae\x42\x60\x82"
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Second bytes of the markers that begin a frame's header."""
USUAL_FRAMES = frozenset((0xC0, 0xC1, 0xC2))
"""Baseline, extended sequential and progressive, with Huffman codes: all that simplejpeg may see.
Its decoder writes outside its memory when it reduces a lossless JPEG."""
HIERARCHICAL = frozenset((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF))
WITHOUT_LENGTH = frozenset((0x00, 0x01, *range(0xD0, 0xDA)))
"""Second bytes of what has no length after it: stuffed zeros, restarts, beginning and end."""
SCAN = 0xDA
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
STORED = {"1": 1, "L": 1, "P": 1, **dict.fromkeys(("I;16", "I;16B", "I;16L", "I;16N"), 2)}
"""Bytes a pixel in Pillow's memory, by mode; of all others 4."""
TILE_WIDTH, TILE_ROWS, STRIP_ROWS, BITS, SAMPLES = 322, 323, 278, 258, 277
"""Numbers of TIFF's tags."""
ICONS = b"\0\0\1\0", b"icns"
INNER_HEADER = re.compile(rb"(?:IHDR|ihdr)(.{8})", re.DOTALL)
"""Of the PNG and JPEG 2000 images that an icon file holds, with their two sides."""
Conversion = Callable[[Image.Image], NDArray[np.uint8]]
STRIP_PIXELS = 1 << 16
"""Pixels that are converted at a time: copies of a whole image would take gigabytes."""


class NotAnImage(ValueError):  # noqa: N818 - it says what the bytes are
    """These bytes are not a usable image.

    `reason` is one of empty, not_an_image, truncated, broken, too_many_pixels, too_much_memory,
    unsupported.
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
    """The pixels of an image that Pillow has opened or made, as uint8 H W 3, by the same rules.

    Raises NotAnImage for one that was opened and cannot be read.
    """
    with MUTED, _reasons():
        return _rgb(image, _orientation(image) if upright else 1)[0]


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
    if not _is_usual(content):
        return None
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(content)
        _check_pixels(width, height, max_pixels)
        if colors in ("CMYK", "YCCK"):
            return None
        _check_memory(f"a {width}×{height} JPEG", 9 * width * height, content, max_pixels)
        least = _reduced(height, width, reduce_to)
        pixels = simplejpeg.decode_jpeg(content, min_height=least[0], min_width=least[1])
    except NotAnImage:
        raise
    except (ValueError, LookupError) as error:  # LookupError: unknown subsampling, or no header
        if "Premature end" in str(error):
            raise NotAnImage("truncated", str(error)) from None
        return None
    return Decoded(pixels, "JPEG")


def _is_usual(content: bytes) -> bool:
    """Whether simplejpeg may decode it: 8 bits, a usual kind of frame, orderly segments before it.

    Raises NotAnImage for what nobody here decodes. Samples of 2 to 7 bits (lossless JPEG) would
    come out nearly black.
    """
    frame = _first_frame(content)
    if frame is None:
        return False
    kind, bits = frame
    if kind in HIERARCHICAL:
        raise NotAnImage("unsupported", "a hierarchical JPEG; save it as a baseline one")
    if bits != 8:
        raise NotAnImage("unsupported", f"a JPEG with {bits} bits a sample, not 8")
    return kind in USUAL_FRAMES


def _first_frame(content: bytes) -> tuple[int, int] | None:
    """The second byte of the marker of a JPEG's first frame, and its bits a sample.

    None unless every segment before it is as the standard says: what decoders read out of bytes
    between segments, or after a second beginning, is not for us to guess.
    """
    at = 2
    while at + 4 < len(content) and content[at] == 0xFF:
        kind, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4])
        if kind == 0xFF:  # any number of these may come before a marker
            at += 1
        elif kind in FRAMES:
            return kind, content[at + 4]
        elif kind in WITHOUT_LENGTH or kind == SCAN or length < 2:
            return None
        else:
            at += 2 + length
    return None


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


def _check_memory(what: str, needed: int, content: bytes, max_pixels: int) -> None:
    """Refuse what would take more memory than the limit, of which the file itself is a part."""
    needed, limit = needed + len(content), BYTES_A_PIXEL * max_pixels
    if needed > limit:
        raise NotAnImage(
            "too_much_memory",
            f"decoding {what} takes {needed / 1e6:,.0f} MB, more than the limit of "
            f"{limit / 1e6:,.0f} MB, {BYTES_A_PIXEL} bytes for each of {max_pixels:,} pixels: "
            "--max-pixels raises it",
        )


def _by_pillow(content: bytes, max_pixels: int, upright: bool) -> Decoded:
    _check_icon(content, max_pixels)
    with MUTED, _reasons():
        try:
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        except UnidentifiedImageError:
            raise _unidentified(content) from None
        with image:
            return _read(image, content, max_pixels, upright)


@contextlib.contextmanager
def _reasons() -> Iterator[None]:
    """What Pillow raises, as NotAnImage."""
    try:
        yield
    except NotAnImage:
        raise
    except Image.DecompressionBombError as error:
        raise NotAnImage("too_many_pixels", str(error)) from None
    except MemoryError:
        raise NotAnImage("too_much_memory", "not enough memory to decode it") from None
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
    width, height = image.size
    _check_pixels(width, height, max_pixels)
    what = f"a {width}×{height} {image.format} of mode {image.mode}"
    _check_memory(what, memory_needed(image), content, max_pixels)
    _check_ending(image.format or "", content)
    notes = ["first_frame"] if getattr(image, "is_animated", False) else []
    if image.format in ("JPEG", "MPO") and image.mode != "CMYK":
        notes.append("lenient")
    image.load()
    orientation = _orientation(image) if upright else 1
    pixels, more = _rgb(image, orientation)
    turned = ("rotated",) if 2 <= orientation <= 8 else ()
    return Decoded(pixels, image.format or "", (*notes, *more, *turned))


def memory_needed(image: Image.Image) -> int:
    """About how many bytes decoding takes of an image that Pillow has opened, by its header.

    Its pixels as Pillow stores them, beside whichever is larger: what the decoder holds meanwhile,
    or the three bytes a pixel that are made of them. The factors are measured.
    """
    bands = len(image.getbands())
    decoder = {"JPEG": 2 * bands, "MPO": 2 * bands, "JPEG2000": 6 * bands, "WEBP": 12, "AVIF": 16}
    meanwhile = max(3, decoder.get(image.format or "", 0))
    pixels = image.width * image.height
    return pixels * (STORED.get(image.mode, 4) + meanwhile) + _tile_bytes(image)


def _tile_bytes(image: Image.Image) -> int:
    """Bytes of one tile or strip of a compressed TIFF, which can be larger than the image."""
    if "libtiff" not in (tile[0] for tile in getattr(image, "tile", ())):
        return 0
    tags = getattr(image, "tag_v2", {})
    width = _number(tags.get(TILE_WIDTH, image.width))
    rows = _number(tags.get(TILE_ROWS, min(_number(tags.get(STRIP_ROWS, 0)), image.height)))
    bits, samples = (_number(tags.get(tag, 1)) for tag in (BITS, SAMPLES))
    return width * rows * -(-bits // 8) * samples


def _number(value: object) -> int:
    """The value of a TIFF's tag that should be one number, or as many equal ones."""
    if isinstance(value, tuple):
        value = max((x for x in value if isinstance(x, int)), default=0)
    return max(0, value) if isinstance(value, int) else 0


def _check_icon(content: bytes, max_pixels: int) -> None:
    """Refuse an icon file with too large an image in it: Pillow decodes as soon as it opens one."""
    if not content.startswith(ICONS):
        return
    for found in re.finditer(INNER_HEADER, content):
        height, width = struct.unpack(">II", found[1])
        _check_pixels(width, height, max_pixels)
        what = f"an icon with an image of {width * height:,} pixels"
        _check_memory(what, 28 * width * height, content, max_pixels)


def _check_ending(format: str, content: bytes) -> None:
    """Refuse what Pillow accepts cut off: a PNG without its last chunk, a scan without its end."""
    if format == "PNG" and PNG_END not in content:
        raise NotAnImage("truncated", "the PNG has no IEND chunk")
    if format == "JPEG" and content.find(JPEG_END, content.rfind(JPEG_SCAN)) < 0:
        raise NotAnImage("truncated", "the last scan of the JPEG has no end")


def _rgb(image: Image.Image, orientation: int) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Any of Pillow's modes as H W 3, turned, and what had to be done.

    It is converted by strips, so that no copy of all of it is made but the one that is returned.
    """
    image.load()
    width, height = image.size
    shape = (width, height, 3) if 5 <= orientation <= 8 else (height, width, 3)
    pixels = np.empty(shape, np.uint8)
    rows, convert, notes = _as_stored(pixels, orientation), *_conversion(image)
    for top, strip in _strips(image):
        rows[top : top + strip.height] = convert(strip)
    return pixels, notes


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """A few rows at a time, each with the number of its first row."""
    width, height = image.size
    at_once = max(1, STRIP_PIXELS // max(1, width))
    for top in range(0, height, at_once):
        yield top, image.crop((0, top, width, min(top + at_once, height)))


def _conversion(image: Image.Image) -> tuple[Conversion, tuple[str, ...]]:
    """What turns a strip of an image of this mode into H W 3 or H W 1, and the notes of it."""
    if image.mode.startswith("I"):
        return _sixteen_bits(image), ("16bit",)
    if image.mode == "F":
        return _floats(image), ("float",)
    if image.has_transparency_data:
        return _over_white, ("transparent",)
    return _plain, ("cmyk",) if image.mode == "CMYK" else ()


def _plain(strip: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(strip.convert("RGB"))


def _over_white(strip: Image.Image) -> NDArray[np.uint8]:
    strip = strip.convert("RGBA")
    return _plain(Image.alpha_composite(Image.new("RGBA", strip.size, WHITE), strip))


def _sixteen_bits(image: Image.Image) -> Conversion:
    """The high bytes of 16-bit gray (mode I;16 and relatives, and I, which also holds 16 bits).

    Pillow's own conversion clips everything above 255 to white.
    """
    top = max(int(np.asarray(strip).max()) for _, strip in _strips(image))
    transparent = image.info.get("transparency")

    def convert(strip: Image.Image) -> NDArray[np.uint8]:
        values = np.asarray(strip).astype(np.int64)
        gray = (np.clip(values, 0, None) >> (8 if top < 1 << 16 else 24)).astype(np.uint8)
        if isinstance(transparent, int):
            gray[values == transparent] = 255
        return gray[:, :, None]

    return convert


def _floats(image: Image.Image) -> Conversion:
    """Floats of unknown range as gray: 0 to 1, else to 255, to 65,535, or to their maximum."""

    def finite(strip: Image.Image) -> NDArray[np.float64]:
        return np.nan_to_num(np.asarray(strip), posinf=0.0, neginf=0.0).astype(np.float64)

    top = max(float(finite(strip).max()) for _, strip in _strips(image))
    white = next((white for white in (1.0, 255.0, 65535.0) if top <= white), top)

    def convert(strip: Image.Image) -> NDArray[np.uint8]:
        gray = np.clip(np.rint(finite(strip) * (255 / white)), 0, 255)
        return gray.astype(np.uint8)[:, :, None]

    return convert


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
    height, width = decoded.pixels.shape[:2]
    pixels = np.empty((width, height, 3) if orientation >= 5 else (height, width, 3), np.uint8)
    _as_stored(pixels, orientation)[:] = decoded.pixels
    return Decoded(pixels, decoded.format, (*decoded.notes, "rotated"))


def _as_stored(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A view of an upright image that has rows and columns where the file has them."""
    if orientation in (2, 3, 6, 7):
        upright = upright[:, ::-1]
    if orientation in (3, 4, 7, 8):
        upright = upright[::-1]
    return upright.transpose(1, 0, 2) if 5 <= orientation <= 8 else upright


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
