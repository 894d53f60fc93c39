"""Decoding: every kind of image, or a reason."""

import io
import struct
import subprocess
import sys
import tarfile
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alexnet.images.decoded import UnusableImage
from alexnet.images.decoding import decode, has_wrong_extension
from alexnet.images.jpeg import is_usual
from alexnet.images.memory import estimate_memory
from alexnet.images.pillow import read_pillow_image

AWKWARD = Path(__file__).parents[3] / "shared" / "data" / "awkward_images.tar"


def picture(height=60, width=80) -> np.ndarray:
    """A smooth picture, so that lossy formats keep it."""
    y, x = np.mgrid[:height, :width]
    return np.stack([3 * x, 4 * y, 255 - 3 * x], -1).clip(0, 255).astype(np.uint8)


def encoded(image, format="PNG", **options) -> bytes:
    """The bytes of a picture or of a Pillow image in some format."""
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    memory = io.BytesIO()
    image.save(memory, format, **options)
    return memory.getvalue()


def verdict(content) -> str:
    """What decoding comes to: "decoded", or the reason why not."""
    try:
        return decode(content) and "decoded"
    except UnusableImage as error:
        return error.reason


def close(pixels, expected, levels):
    """Whether two pictures differ by no more than so many levels on average."""
    return np.abs(pixels.astype(int) - expected).mean() <= levels


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM", "TGA", "QOI", "SGI", "PCX"])
def test_lossless_formats_come_out_as_they_went_in(format):
    decoded = decode(encoded(picture(), format))
    assert decoded.format == format
    assert np.array_equal(decoded.pixels, picture())


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF", "JPEG2000"])
def test_lossy_formats_come_out_close(format):
    decoded = decode(encoded(picture(), format, quality=95))
    assert (decoded.format, decoded.notes) == (format, ())
    assert close(decoded.pixels, picture(), 4)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpeg_is_decoded_as_pillow_does(options):
    content = encoded(picture(), "JPEG", **options)
    expected = np.asarray(Image.open(io.BytesIO(content)))
    assert np.abs(decode(content).pixels.astype(int) - expected).max() <= 1


def test_gray_jpeg_has_three_equal_colors():
    pixels = decode(encoded(picture()[..., 0], "JPEG")).pixels
    assert pixels.shape == (60, 80, 3)
    assert (pixels == pixels[..., :1]).all()


def test_cmyk_jpeg_is_converted_and_noted():
    image = Image.fromarray(picture()).convert("CMYK")
    decoded = decode(encoded(image, "JPEG", quality=98))
    assert decoded.notes == ("cmyk",)
    assert close(decoded.pixels, picture(), 3)


def test_transparency_is_laid_over_white():
    clear = np.dstack([picture(), np.zeros((60, 80), np.uint8)])
    decoded = decode(encoded(clear))
    assert decoded.notes == ("transparent",)
    assert (decoded.pixels == 255).all()


@pytest.mark.parametrize("mode", ["LA", "P"])
def test_other_transparent_modes_too(mode):
    image = Image.new("RGBA", (4, 4), (10, 10, 10, 0)).convert(mode)
    if mode == "P":
        image = Image.new("P", (4, 4), 0)
        image.info["transparency"] = 0
    assert (decode(encoded(image)).pixels == 255).all()


def test_one_bit_becomes_black_and_white():
    bits = Image.fromarray(picture()[..., 0] > 100).convert("1")
    assert set(np.unique(decode(encoded(bits)).pixels)) == {0, 255}


RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)


@pytest.mark.parametrize(
    ("format", "pixels"),
    [
        ("PNG", RAMP),
        ("TIFF", RAMP),
        ("TIFF", RAMP.astype(">u2")),
        ("TIFF", RAMP.astype(np.int32)),
        ("TIFF", RAMP.astype(np.float32)),
        ("TIFF", (RAMP / 65535).astype(np.float32)),
    ],
)
def test_sixteen_bits_keep_all_256_levels(format, pixels):
    gray = decode(encoded(pixels, format)).pixels[..., 0]
    assert np.array_equal(np.unique(gray), np.arange(256))
    assert (np.diff(gray.reshape(-1).astype(int)) >= 0).all()


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_taken_and_noted(format):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue", "green")]
    decoded = decode(
        encoded(frames[0], format, save_all=True, append_images=frames[1:], lossless=True)
    )
    assert "first_frame" in decoded.notes
    assert close(decoded.pixels, (255, 0, 0), 2)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_orientation_is_applied_only_when_asked(orientation, format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(picture(), format, exif=exif)
    upright = np.asarray(Image.open(io.BytesIO(content)))
    for method in {
        2: ["FLIP_LEFT_RIGHT"],
        3: ["ROTATE_180"],
        4: ["FLIP_TOP_BOTTOM"],
        5: ["TRANSPOSE"],
        6: ["ROTATE_270"],
        7: ["TRANSVERSE"],
        8: ["ROTATE_90"],
    }.get(orientation, []):
        upright = np.asarray(Image.fromarray(upright).transpose(Image.Transpose[method]))
    assert decode(content).pixels.shape == (60, 80, 3)
    assert close(decode(content, upright=True).pixels, upright, 1)


def test_broken_exif_costs_nobody_an_image():
    content = encoded(picture(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(40))
    assert decode(content, upright=True).pixels.shape == (60, 80, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<html><body>404</body></html>", "not_an_image"),
        (b"\xff\xd8\xff", "unsupported"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not_an_image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "unsupported"),
        (encoded(picture())[:-1], "truncated"),
        (encoded(picture(), "BMP")[:-1], "truncated"),
    ],
)
def test_what_is_not_an_image_has_a_reason(content, reason):
    with pytest.raises(UnusableImage) as caught:
        decode(content)
    assert caught.value.reason == reason


JPEG, PROGRESSIVE = (encoded(picture(), "JPEG", progressive=p) for p in (False, True))
PNG = encoded(picture())


@given(st.sampled_from([JPEG, PROGRESSIVE, PNG]), st.floats(0, 1, exclude_max=True))
@settings(max_examples=200, deadline=None)
def test_an_image_cut_at_any_byte_is_not_an_image(content, where):
    with pytest.raises(UnusableImage):
        decode(content[: int(where * len(content))])


@given(st.sampled_from([JPEG, PROGRESSIVE, PNG, encoded(picture(), "GIF")]), st.data())
@settings(max_examples=100, deadline=None)
def test_damaged_bytes_are_decoded_or_refused(content, data):
    broken = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    assert verdict(bytes(broken))


def segment(marker: int, body: bytes) -> bytes:
    """A segment of a JPEG: its marker, its length and what is in it."""
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2) + body


def lossless_jpeg(pixels) -> bytes:
    """H W 3 as a lossless JPEG of 8 bits: each sample less its left neighbor, Huffman coded."""
    height, width, _ = pixels.shape
    samples = pixels.astype(int)
    before = np.roll(samples, 1, axis=1)
    before[1:, 0], before[0, 0] = samples[:-1, 0], 128
    bits = ""
    for step in (samples - before).reshape(-1).tolist():
        size = abs(step).bit_length()
        bits += f"{size:04b}"  # ten codes of four bits: a size each
        bits += f"{step if step > 0 else step + (1 << size) - 1:0{size}b}" if size else ""
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8).replace(b"\xff", b"\xff\0")
    frame = (
        bytes((8,)) + height.to_bytes(2) + width.to_bytes(2) + bytes.fromhex("03011100021100031100")
    )
    table = bytes((0, 0, 0, 0, 10, *[0] * 12, *range(10)))
    start = b"\xff\xd8" + segment(0xC3, frame) + segment(0xC4, table)
    return start + segment(0xDA, bytes.fromhex("03010002000300010000")) + scan + b"\xff\xd9"


@pytest.mark.parametrize("reduce_to", [None, 8])
def test_a_lossless_jpeg_is_decoded_however_small_it_may_come_out(reduce_to):
    content = lossless_jpeg(picture())
    assert np.array_equal(decode(content, reduce_to=reduce_to).pixels, picture())


USUAL = segment(0xC0, b"\x08\0\x10\0\x10\x01\x01\x11\0")


@pytest.mark.parametrize(
    ("content", "usual"),
    [
        (b"\xff\xd8" + USUAL, True),
        (b"\xff\xd8\xff\xff\xff" + USUAL, True),
        (b"\xff\xd8" + segment(0xE1, b"\xff\xc3" * 20) + USUAL, True),
        (b"\xff\xd8" + USUAL.replace(b"\xc0", b"\xc1"), True),
        (b"\xff\xd8" + USUAL.replace(b"\xc0", b"\xc2"), True),
        (b"\xff\xd8" + USUAL.replace(b"\xc0", b"\xc3"), False),
        (b"\xff\xd8" + USUAL.replace(b"\xc0", b"\xc9"), False),
        (b"\xff\xd8\xff\xd8" + USUAL, False),
        (b"\xff\xd8\0\0" + USUAL, False),
        (b"\xff\xd8\xff\xe1\0\1" + USUAL, False),
        (b"\xff\xd8" + segment(0xDA, b"\1\1\0\0\0\0") + USUAL, False),
        (b"\xff\xd8\xff\xe1\xff\xff" + USUAL, False),
        (b"\xff\xd8\xff", False),
    ],
)
def test_only_usual_jpegs_in_good_order_are_for_the_fast_decoder(content, usual):
    assert is_usual(content) == usual


@pytest.mark.parametrize("frame", [0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF])
def test_a_hierarchical_jpeg_is_refused_by_its_name(frame):
    content = JPEG.replace(b"\xff\xc0", bytes((0xFF, frame)))
    with pytest.raises(UnusableImage, match="hierarchical"):
        decode(content)


PEAK = """
import sys
from PIL import Image
from alexnet.images.decoding import decode
from alexnet.images.memory import estimate_memory
import io

def peak():
    status = open("/proc/self/status").read()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])

content = open(sys.argv[1], "rb").read()
decode(open(sys.argv[2], "rb").read(), upright=True)  # what is loaded once
before = peak()
decode(content, upright=True)
print(peak() - before, estimate_memory(Image.open(io.BytesIO(content))))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read in /proc")
@pytest.mark.parametrize(
    ("format", "mode", "options"),
    [
        ("JPEG", "RGB", {"progressive": True, "subsampling": 0}),
        ("JPEG", "CMYK", {"progressive": True}),
        ("PNG", "RGBA", {}),
        ("PNG", "I;16", {}),
        ("TIFF", "F", {"compression": "tiff_lzw"}),
        ("TIFF", "RGB", {"compression": "tiff_adobe_deflate"}),
        ("WEBP", "RGBA", {}),
        ("AVIF", "RGB", {"speed": 10}),
        ("JPEG2000", "RGB", {}),
        ("GIF", "P", {}),
    ],
)
def test_decoding_takes_no_more_memory_than_was_estimated(format, mode, options, tmp_path):
    side = 1500
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, edge in (("large", side), ("small", 64)):
        image = Image.fromarray(picture(edge, edge)).convert("L" if mode[0] in "IF" else mode)
        image = image.convert("I;16" if mode == "I;16" else mode)
        image.save(tmp_path / name, format, exif=exif, **options)
    words = [sys.executable, "-c", PEAK, tmp_path / "large", tmp_path / "small"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    taken, estimated = map(int, done.stdout.split())
    assert taken < estimated + 3e6


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "TIFF"])
def test_an_ordinary_image_at_the_pixel_limit_is_read(format):
    decode(encoded(picture(), format), max_pixels=60 * 80)


@pytest.mark.parametrize("format", ["WEBP", "AVIF", "JPEG2000"])
def test_what_takes_more_memory_a_pixel_is_refused_at_fewer_pixels(format):
    with pytest.raises(
        UnusableImage, match=rf"a 80×60 {format} .* --max-pixels raises it"
    ) as caught:
        decode(encoded(picture(), format), max_pixels=60 * 80)
    assert caught.value.reason == "too_much_memory"
    decode(encoded(picture(), format), max_pixels=3 * 60 * 80)


def test_a_tile_larger_than_its_image_is_refused():
    image = Image.open(io.BytesIO(encoded(picture(), "TIFF", compression="tiff_lzw")))
    image.tag_v2[322] = image.tag_v2[323] = 60_000
    assert estimate_memory(image) > 60_000**2


def test_an_icon_is_as_large_as_what_is_inside():
    large = encoded(np.zeros((900, 900, 3), np.uint8))
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(large), 22)
    icon = struct.pack("<HHH", 0, 1, 1) + entry + large
    with pytest.raises(UnusableImage, match="900×900 pixels, more than the limit"):
        decode(icon, max_pixels=300_000)
    with pytest.raises(UnusableImage, match="an icon with an image of 810,000 pixels takes 23 MB"):
        decode(icon, max_pixels=900_000)


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_the_pixel_limit_is_checked_before_decoding(format):
    content = bytearray(encoded(picture(), format))
    if format == "PNG":  # the header claims 60,000 × 60,000
        content[16:24] = (60000).to_bytes(4) * 2
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    else:
        at = content.index(b"\xff\xc0") + 5
        content[at : at + 4] = (60000).to_bytes(2) * 2
    with pytest.raises(UnusableImage, match="limit"):
        decode(bytes(content))
    with pytest.raises(UnusableImage, match="more than the limit of 4799"):
        decode(encoded(picture(), format), max_pixels=60 * 80 - 1)


@pytest.mark.parametrize(
    ("reduce_to", "shape"),
    [(None, (600, 800)), (301, (600, 800)), (300, (300, 400)), (64, (75, 100))],
)
def test_a_jpeg_shrinks_by_halves_as_long_as_it_may(reduce_to, shape):
    content = encoded(np.tile(picture(), (10, 10, 1)), "JPEG")
    assert decode(content, reduce_to=reduce_to).pixels.shape[:2] == shape


def test_names_that_promise_another_format_are_seen():
    assert has_wrong_extension("n02105855_2933.JPEG", "PNG")
    assert not has_wrong_extension("a.JPG", "JPEG")
    assert not has_wrong_extension("a.jpg", "MPO")
    assert not has_wrong_extension("no ending", "PNG")


def test_images_of_pillow_follow_the_same_rules():
    image = Image.fromarray(RAMP)
    assert np.array_equal(np.unique(read_pillow_image(image)), np.arange(256))


def test_threads_decode_at_once_without_letting_warnings_out():
    content = encoded(Image.new("P", (9, 9)), transparency=b"\0\1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with ThreadPoolExecutor(4) as threads:
            assert len(list(threads.map(decode, [content] * 100))) == 100
        with pytest.raises(UserWarning, match="seen"):
            warnings.warn("seen", stacklevel=1)  # the caller's filters are as they were


@pytest.mark.skipif(not AWKWARD.exists(), reason=f"there are no awkward images at {AWKWARD}")
def test_awkward_files_are_decoded_or_refused():
    with tarfile.open(AWKWARD) as archive:
        verdicts = {m.name: verdict(archive.extractfile(m).read()) for m in archive if m.isreg()}
    assert len(verdicts) >= 257
    assert sum(verdict == "decoded" for verdict in verdicts.values()) >= 150
