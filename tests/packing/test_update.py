"""A pack is brought up to date: only what changed is decoded again, whatever happens on the way."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.packing.packing_sources import contents, pixels, png

from alexnet.images.decoder_group import DecoderGroup
from alexnet.packing.pack import pack
from alexnet.packing.resume import OtherPack
from alexnet.packs.pack import open_pack
from alexnet.packs.verification import verify
from alexnet.sources.entry import Entry
from alexnet.sources.recognition import open_source

ROOT = Path(__file__).parents[2]
OPTIONS = {"size": 8, "processes": 1, "shard_images": 7}


def write(path, seed, height=12, width=10):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(pixels(seed, height, width)))
    os.utime(path, ns=(seed * 10**9, seed * 10**9))


@pytest.fixture
def photos(tmp_path):
    """Two classes of 20 images, one of them no image, one turned by its EXIF orientation."""
    folder = tmp_path / "photos"
    for number in range(40):
        write(folder / "ab"[number % 2] / f"{number:02}.png", number + 1)
    (folder / "a" / "04.png").write_bytes(b"no image")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels(7, 12, 10)).save(folder / "b" / "turned.jpg", exif=exif)
    return folder


@pytest.fixture
def decoded(monkeypatch):
    """The names of the images that are decoded."""
    names, prepare = [], DecoderGroup.prepare

    def spy(group, items):
        def note():
            for item in items:
                if isinstance(item, Entry):
                    names.append(item.name)
                yield item

        return prepare(group, note())

    monkeypatch.setattr(DecoderGroup, "prepare", spy)
    return names


def make(photos, out, **options):
    return pack(open_source(photos), out, **{**OPTIONS, **options})


def files_of(made):
    """Every file of the version of a pack that is valid now."""
    return {
        name: content
        for name, content in contents(made.folder).items()
        if name != "pack.json" and not name.startswith(".")
    }


def assert_as_packed_anew(made, photos, tmp_path, **options):
    """An updated pack has the same bytes as one that is made from the beginning."""
    fresh = make(photos, tmp_path / "fresh", **options)
    assert files_of(made) == files_of(fresh)
    for key in fresh.metadata.keys() - {"folder", "version", "metadata_sha256"}:
        assert made.metadata[key] == fresh.metadata[key], key
    verify(made)
    shutil.rmtree(tmp_path / "fresh")


def change(photos):
    """Add, change, delete, rename and move images, and add a class before all others."""
    write(photos / "b" / "new.png", 101)
    write(photos / "a" / "10.png", 102, 30, 20)
    (photos / "b" / "11.png").unlink()
    (photos / "b" / "13.png").rename(photos / "b" / "zz.png")
    (photos / "a" / "12.png").rename(photos / "b" / "12.png")
    write(photos / "_" / "1.png", 103)
    write(photos / "_" / "2.png", 104)


@pytest.mark.parametrize("pixel_format", ["rgb", "yuv420"])
def test_only_what_changed_is_decoded_and_the_bytes_are_those_of_a_new_pack(
    photos, tmp_path, decoded, pixel_format
):
    out, said = tmp_path / "pack", []
    make(photos, out, pixels=pixel_format)
    decoded.clear()
    change(photos)
    made = make(photos, out, pixels=pixel_format, say=said.append)
    assert sorted(decoded) == ["_/1.png", "_/2.png", "a/04.png", "a/10.png", "b/new.png"]
    assert made.classes == ("_", "a", "b")
    assert "has changed since" in said[0]
    assert "38 images" in said[-1]
    assert_as_packed_anew(made, photos, tmp_path, pixels=pixel_format)


def test_an_unchanged_source_is_not_packed_again(photos, tmp_path, decoded):
    out = tmp_path / "pack"
    first = make(photos, out)
    decoded.clear()
    before = contents(out)
    assert make(photos, out).checksum == first.checksum
    assert (decoded, contents(out)) == ([], before)


def test_a_file_that_was_only_touched_is_not_decoded(photos, tmp_path, decoded):
    out = tmp_path / "pack"
    first = make(photos, out)
    decoded.clear()
    os.utime(photos / "b" / "01.png", ns=(5, 5))
    assert make(photos, out).checksum == first.checksum
    assert decoded == ["a/04.png"]


def test_an_update_can_be_undone_and_repeated_without_leaving_anything(photos, tmp_path):
    out = tmp_path / "pack"
    first = make(photos, out).checksum
    for _ in range(3):
        write(photos / "b" / "new.png", 101)
        assert make(photos, out).checksum != first
        (photos / "b" / "new.png").unlink()
        made = make(photos, out)
        assert made.checksum == first
        assert [path.name for path in out.iterdir() if path.is_dir()] == [made.folder.name]
        folder = made.folder
        del made
    made = open_pack(out)
    assert made.folder == folder
    assert sorted(path.name for path in out.iterdir()) == ["pack.json", made.folder.name]


def test_a_pack_that_is_open_stays_readable_while_it_is_updated(photos, tmp_path):
    out = tmp_path / "pack"
    first = make(photos, out)
    write(photos / "b" / "new.png", 101)
    second = make(photos, out)
    assert first.checksum != second.checksum
    n_before, n_after = (len(made.splits["train"].names) for made in (first, second))
    assert n_after == n_before + 1
    assert len(first.splits["train"].gather(range(n_before))) == n_before
    del first, second
    made = make(photos, out)
    assert sorted(path.name for path in out.iterdir()) == ["pack.json", made.folder.name]


class PowerCut(Exception):  # noqa: N818 - it is no error of the program
    """Ends a packing early."""


def interrupt(photos, out, after, **options):
    """Pack until so many items are done."""

    def stop(at):
        if at.done >= after:
            raise PowerCut

    with pytest.raises(PowerCut):
        make(photos, out, progress=stop, **options)


@pytest.fixture
def every_report(monkeypatch):
    """Progress is reported after every item."""
    monkeypatch.setattr("alexnet.packing.progress.SECONDS_BETWEEN", 0)


@pytest.mark.usefixtures("every_report")
def test_an_interrupted_update_continues_and_the_old_pack_stays_valid(photos, tmp_path, decoded):
    out = tmp_path / "pack"
    first = make(photos, out)
    for number in range(20):
        write(photos / "b" / f"new{number:02}.png", 101 + number)
    interrupt(photos, out, 50)
    assert open_pack(out).checksum == first.checksum
    del first
    decoded.clear()
    made = make(photos, out)
    assert 0 < len(decoded) < 20
    assert_as_packed_anew(made, photos, tmp_path)


@pytest.mark.usefixtures("every_report")
def test_images_may_change_between_interruptions(photos, tmp_path, decoded):
    out = tmp_path / "pack"
    interrupt(photos, out, 30)
    write(photos / "a" / "0new.png", 200)
    interrupt(photos, out, 35)
    (photos / "a" / "00.png").unlink()
    decoded.clear()
    made = make(photos, out)
    assert len(decoded) < 25
    assert_as_packed_anew(made, photos, tmp_path)
    assert sorted(path.name for path in out.iterdir()) == ["pack.json", made.folder.name]


def test_an_update_killed_at_any_moment_ends_as_one_that_was_not(photos, tmp_path):
    out = tmp_path / "pack"
    make(photos, out)
    change(photos)
    code = (
        "import os, sys; from alexnet.packing import loop, progress, pack, versions;"
        "from alexnet import files; from alexnet.sources.recognition import open_source;"
        "progress.SECONDS_BETWEEN = 0; n = [int(sys.argv[3])]\n"
        "def count(event, _):\n"
        "    if event in ('open', 'os.rename', 'os.remove', 'shutil.rmtree', 'os.mkdir'):\n"
        "        if sys.argv[2] in str(_[0]):\n"
        "            n[0] -= 1\n"
        "            if not n[0]: os._exit(9)\n"
        "sys.addaudithook(count)\n"
        "pack.pack(open_source(sys.argv[1]), sys.argv[2], size=8, processes=1, shard_images=7)"
    )
    kills = 0
    for moment in range(4, 400, 9):
        command = [sys.executable, "-c", code, str(photos), str(out), str(moment)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert ended.returncode in (0, 9), ended.stderr
        verify(open_pack(out))
        kills += ended.returncode == 9
        if not ended.returncode:
            break
    assert kills
    made = make(photos, out)
    assert_as_packed_anew(made, photos, tmp_path)
    assert sorted(path.name for path in out.iterdir()) == ["pack.json", made.folder.name]


def test_a_damaged_shard_is_decoded_again_and_not_copied(photos, tmp_path, decoded):
    out = tmp_path / "pack"
    made = make(photos, out)
    shard = made.folder / "train" / made.splits["train"].files[0]
    damaged = bytearray(shard.read_bytes())
    damaged[-1] ^= 1
    shard.write_bytes(damaged)
    write(photos / "b" / "new.png", 101)
    decoded.clear()
    made = make(photos, out)
    assert 7 < len(decoded) < 20
    assert_as_packed_anew(made, photos, tmp_path)


def test_a_pack_of_an_earlier_version_is_updated_by_decoding_all_of_it(photos, tmp_path, decoded):
    out = tmp_path / "pack"
    make(photos, out)
    metadata = json.loads((out / "pack.json").read_text())
    for split in metadata["splits"].values():
        del split["origins_crc32"]
    del metadata["metadata_sha256"]
    (out / "pack.json").write_text(json.dumps(metadata))
    for path in out.glob("*/origins.npy"):
        path.unlink()
    decoded.clear()
    make(photos, out)
    assert decoded == []
    write(photos / "b" / "new.png", 101)
    made = make(photos, out)
    assert len(decoded) == 42
    assert_as_packed_anew(made, photos, tmp_path)


def test_a_validation_folder_that_was_added_replaces_the_held_out_images(photos, tmp_path, decoded):
    out = tmp_path / "pack"
    make(photos, out)
    (photos / "train").mkdir()
    for name in "ab":
        (photos / name).rename(photos / "train" / name)
        (photos / "val" / name).mkdir(parents=True)
    (photos / "train/a/00.png").rename(photos / "val/a/00.png")
    write(photos / "val/b/x.png", 300)
    decoded.clear()
    made = make(photos, out)
    assert sorted(decoded) == ["train/a/04.png", "val/b/x.png"]
    assert made.metadata["division"] is None
    assert_as_packed_anew(made, photos, tmp_path)


def test_other_options_and_other_images_are_refused_and_nothing_is_touched(photos, tmp_path):
    out = tmp_path / "pack"
    make(photos, out)
    before = contents(out)
    other = tmp_path / "other"
    shutil.copytree(photos, other)
    with pytest.raises(OtherPack, match=r"size 8, not 4") as error:
        make(photos, out, size=4)
    assert "delete" not in str(error.value)
    with pytest.raises(OtherPack, match="other"):
        make(other, out)
    with pytest.raises(OtherPack, match="seed"):
        pack(open_source(photos, seed=3), out, **OPTIONS)
    assert contents(out) == before


def test_the_images_of_a_changed_archive_are_reused(photos, tmp_path, decoded):
    out, archive = tmp_path / "pack", tmp_path / "photos.tar"
    subprocess.run(["tar", "cf", archive, "-C", photos, "."], check=True)
    make(archive, out)
    decoded.clear()
    make(archive, out)
    assert decoded == []
    write(photos / "b" / "new.png", 101)
    subprocess.run(["tar", "cf", archive, "-C", photos, "."], check=True)
    made = make(archive, out)
    assert sorted(name.removeprefix("./") for name in decoded) == ["a/04.png", "b/new.png"]
    assert_as_packed_anew(made, archive, tmp_path)


def test_origins_are_checked_when_a_pack_is_verified(photos, tmp_path):
    made = make(photos, tmp_path / "pack")
    path = made.folder / "train" / "origins.npy"
    origins = np.load(path)
    assert origins.dtype == np.uint64
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"origins\.npy"):
        verify(made)


def test_an_update_killed_before_its_first_file_leaves_no_number_out(photos, tmp_path):
    out = tmp_path / "pack"
    make(photos, out)
    write(photos / "b" / "new.png", 101)
    (out / "version-2").mkdir()
    (out / "version-2" / ".packing.json.partial").touch()
    made = make(photos, out)
    assert made.folder == out / "version-2"
    assert sorted(path.name for path in out.iterdir()) == ["pack.json", "version-2"]
