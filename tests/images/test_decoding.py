"""Decoding: every kind of image, or a reason why not."""

import tarfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.images.encoded_images import close, encoded, picture, verdict

from alexnet.images.decoded import UnusableImage
from alexnet.images.decoding import decode, has_wrong_extension
from alexnet.images.heif import can_read_heif

AWKWARD = Path(__file__).parents[3] / "shared" / "data" / "awkward_images.tar"


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM", "TGA", "QOI", "SGI", "PCX"])
def test_lossless_formats_are_decoded_exactly(format):
    decoded = decode(encoded(picture(), format))
    assert decoded.format == format
    assert np.array_equal(decoded.pixels, picture())


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF", "JPEG2000"])
def test_lossy_formats_are_decoded_closely(format):
    decoded = decode(encoded(picture(), format, quality=95))
    assert (decoded.format, decoded.notes) == (format, ())
    assert close(decoded.pixels, picture(), 4)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_of_several_frames_is_decoded_and_noted(format):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue", "green")]
    decoded = decode(
        encoded(frames[0], format, save_all=True, append_images=frames[1:], lossless=True)
    )
    assert "first_frame" in decoded.notes
    assert close(decoded.pixels, (255, 0, 0), 2)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<html><body>404</body></html>", "not_an_image"),
        (b"\xff\xd8\xff", "unsupported"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not_an_image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "broken" if can_read_heif() else "needs_heic"),
        (encoded(picture())[:-1], "truncated"),
        (encoded(picture(), "BMP")[:-1], "truncated"),
    ],
)
def test_bytes_that_are_not_an_image_are_rejected_with_a_reason(content, reason):
    with pytest.raises(UnusableImage) as caught:
        decode(content)
    assert caught.value.reason == reason


JPEG, PROGRESSIVE = (encoded(picture(), "JPEG", progressive=p) for p in (False, True))


PNG = encoded(picture())


@given(st.sampled_from([JPEG, PROGRESSIVE, PNG]), st.floats(0, 1, exclude_max=True))
@settings(max_examples=200, deadline=None)
def test_an_image_truncated_at_any_byte_is_rejected(content, where):
    with pytest.raises(UnusableImage):
        decode(content[: int(where * len(content))])


@given(st.sampled_from([JPEG, PROGRESSIVE, PNG, encoded(picture(), "GIF")]), st.data())
@settings(max_examples=100, deadline=None)
def test_damaged_bytes_are_decoded_or_rejected(content, data):
    broken = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    assert verdict(bytes(broken))


def test_a_wrong_extension_is_detected():
    assert has_wrong_extension("n02105855_2933.JPEG", "PNG")
    assert not has_wrong_extension("a.JPG", "JPEG")
    assert not has_wrong_extension("a.jpg", "MPO")
    assert not has_wrong_extension("no ending", "PNG")


def test_threads_decode_at_once_without_warnings():
    content = encoded(Image.new("P", (9, 9)), transparency=b"\0\1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with ThreadPoolExecutor(4) as threads:
            assert len(list(threads.map(decode, [content] * 100))) == 100
        with pytest.raises(UserWarning, match="seen"):
            warnings.warn("seen", stacklevel=1)  # the caller's filters are as they were


@pytest.mark.skipif(not AWKWARD.exists(), reason=f"there are no awkward images at {AWKWARD}")
def test_awkward_files_are_decoded_or_rejected():
    with tarfile.open(AWKWARD) as archive:
        verdicts = {m.name: verdict(archive.extractfile(m).read()) for m in archive if m.isreg()}
    assert len(verdicts) >= 257
    assert sum(verdict == "decoded" for verdict in verdicts.values()) >= 150
