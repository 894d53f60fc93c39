"""JPEG files: the usual kinds by simplejpeg, the others by Pillow."""

import io

import numpy as np
import pytest
from PIL import Image
from tests.images.encoded_images import encoded, picture

from alexnet.images.decoded import UnusableImage
from alexnet.images.decoding import decode
from alexnet.images.jpeg import is_usual


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpeg_is_decoded_as_pillow_does(options):
    content = encoded(picture(), "JPEG", **options)
    expected = np.asarray(Image.open(io.BytesIO(content)))
    assert np.abs(decode(content).pixels.astype(int) - expected).max() <= 1


def test_gray_jpeg_has_three_equal_colors():
    pixels = decode(encoded(picture()[..., 0], "JPEG")).pixels
    assert pixels.shape == (60, 80, 3)
    assert (pixels == pixels[..., :1]).all()


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
def test_a_lossless_jpeg_is_decoded_with_and_without_a_reduced_size(reduce_to):
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
def test_only_well_formed_usual_jpegs_get_to_simplejpeg(content, usual):
    assert is_usual(content) == usual


@pytest.mark.parametrize("frame", [0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF])
def test_a_hierarchical_jpeg_is_rejected_as_such(frame):
    content = encoded(picture(), "JPEG").replace(b"\xff\xc0", bytes((0xFF, frame)))
    with pytest.raises(UnusableImage, match="hierarchical"):
        decode(content)


@pytest.mark.parametrize(
    ("reduce_to", "shape"),
    [(None, (600, 800)), (301, (600, 800)), (300, (300, 400)), (64, (75, 100))],
)
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_is_large_enough(reduce_to, shape):
    content = encoded(np.tile(picture(), (10, 10, 1)), "JPEG")
    assert decode(content, reduce_to=reduce_to).pixels.shape[:2] == shape
