"""HEIF photographs: advice without the decoder, and pixels with it, in a decoding process."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from tests.packing.packing_sources import pixels, png

from alexnet.images import heif
from alexnet.images.decoded import UnusableImage
from alexnet.images.decoding import decode
from alexnet.packing.pack import pack
from alexnet.packs.summary import summarize_pack
from alexnet.sources.recognition import open_source

HEADER = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf"


def test_without_the_decoder_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(heif, "find_spec", lambda name: None)
    with pytest.raises(UnusableImage, match=r"pip install 'alexnet\[heic\]'") as error:
        decode(HEADER)
    assert error.value.reason == heif.NEEDED


def write_folder(folder, heic):
    for name in "ab":
        (folder / name).mkdir(parents=True)
        for number in range(3):
            (folder / name / f"{number}.png").write_bytes(png(pixels(number + ord(name))))
    for number in range(3):
        (folder / "a" / f"IMG_{number}.heic").write_bytes(heic)
    for name in ("clip.MOV", "clip.mp4", "photo.CR2"):
        (folder / "b" / name).write_bytes(b"no image at all")
    return folder


@pytest.mark.skipif(heif.can_read_heif(), reason="pillow-heif is installed")
def test_files_that_were_not_used_are_counted_by_kind_with_advice(tmp_path):
    made = pack(open_source(write_folder(tmp_path / "photos", HEADER)), tmp_path / "p", size=8)
    text = summarize_pack(made)
    assert "3 HEIF photographs (.heic) were not used: pip install 'alexnet[heic]'" in text
    assert "2 videos (.mov, .mp4) were not used: save frames" in text
    assert "1 raw photograph (.cr2) was not used: export" in text
    (made.folder / "skipped.jsonl").write_text("no JSON")
    assert "videos" not in summarize_pack(made)


pillow_heif = pytest.mark.skipif(not heif.can_read_heif(), reason="pillow-heif is not installed")


def encode(array, **options):
    from pillow_heif import from_pillow

    memory = io.BytesIO()
    image = from_pillow(Image.fromarray(array))
    image.save(memory, quality=-1, chroma=444, matrix_coefficients=0, **options)
    return memory.getvalue()


@pillow_heif
def test_a_photograph_is_decoded_and_turned_as_the_file_says():
    array = pixels(1, 40, 60)
    decoded = decode(encode(array), upright=True)
    assert decoded.format == "HEIF"
    assert np.abs(decoded.pixels.astype(int) - array).max() <= 2
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode(encode(array, exif=exif.tobytes()), upright=True).pixels
    assert np.abs(turned.astype(int) - np.rot90(array, -1)).max() <= 2


@pillow_heif
def test_more_bits_transparency_gray_and_several_images_are_read():
    from pillow_heif import from_bytes, from_pillow

    def check(image, wanted, **options):
        memory = io.BytesIO()
        image.save(memory, quality=-1, chroma=444, matrix_coefficients=0, **options)
        assert np.array_equal(decode(memory.getvalue(), upright=True).pixels, wanted)

    array, other = pixels(1, 40, 60), pixels(2, 30, 30)
    wide = (array.astype(np.uint16) * 257).tobytes()
    check(from_bytes("RGB;16", (60, 40), wide), array)
    opaque = np.dstack([array, np.full((40, 60), 255, np.uint8)])
    check(from_pillow(Image.fromarray(opaque)), array)
    two = from_pillow(Image.fromarray(array))
    two.add_from_pillow(Image.fromarray(other))
    check(two, array)
    check(two, other, primary_index=1)
    gray = np.repeat(array[..., :1], 3, axis=2)
    check(from_pillow(Image.fromarray(gray)), gray)


@pillow_heif
def test_limits_and_damage_are_reasons():
    content = encode(pixels(1, 40, 60))
    with pytest.raises(UnusableImage) as error:
        decode(content, max_pixels=100)
    assert error.value.reason == "too_many_pixels"
    for end in (40, 300, len(content) - 50):
        with pytest.raises(UnusableImage):
            decode(content[:end])


@pillow_heif
def test_photographs_are_packed_once_the_decoder_is_there(tmp_path, monkeypatch):
    source = open_source(write_folder(tmp_path / "photos", encode(pixels(1, 40, 60))))
    monkeypatch.setattr("alexnet.packing.resume.can_read_heif", lambda: False)
    made = pack(source, tmp_path / "p", size=8)
    assert len(made.splits["train"]) + len(made.splits["val"]) == 9
    metadata = json.loads((tmp_path / "p" / "pack.json").read_text())
    metadata["splits"]["train"]["skipped"][heif.NEEDED] = 3
    del metadata["metadata_sha256"]
    (tmp_path / "p" / "pack.json").write_text(json.dumps(metadata))
    assert pack(source, tmp_path / "p", size=8).folder == tmp_path / "p"
    monkeypatch.undo()
    assert pack(source, tmp_path / "p", size=8).folder == tmp_path / "p" / "version-2"
