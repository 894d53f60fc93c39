"""Limits on pixels and memory, checked before an image is decoded."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.images.encoded_images import encoded, picture

from alexnet.images.decoded import UnusableImage
from alexnet.images.decoding import decode
from alexnet.images.memory import estimate_memory

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
def test_formats_that_take_more_memory_per_pixel_are_rejected_at_fewer_pixels(format):
    with pytest.raises(
        UnusableImage, match=rf"a 80×60 {format} .* --max-pixels raises it"
    ) as caught:
        decode(encoded(picture(), format), max_pixels=60 * 80)
    assert caught.value.reason == "too_much_memory"
    decode(encoded(picture(), format), max_pixels=3 * 60 * 80)


def test_a_tile_larger_than_its_image_counts_toward_the_memory():
    image = Image.open(io.BytesIO(encoded(picture(), "TIFF", compression="tiff_lzw")))
    image.tag_v2[322] = image.tag_v2[323] = 60_000
    assert estimate_memory(image) > 60_000**2


def test_the_images_inside_an_icon_count_toward_the_limits():
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
