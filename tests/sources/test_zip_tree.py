"""Labeled images in a zip archive: found, read and packed as from the folder it was made of."""

import json
import os
import stat
import struct
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from tests.packing.packing_sources import pixels, png

from alexnet.packing.pack import pack
from alexnet.packs.verification import verify
from alexnet.sources.entry import Entry, Skipped
from alexnet.sources.limits import LARGEST_MEMBER
from alexnet.sources.recognition import open_source


def image(seed):
    return png(pixels(seed))


def make_zip(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def list_items(source):
    items = [item for split in source.splits for item in source.entries(split)]
    entries = [item for item in items if isinstance(item, Entry)]
    return entries, {item.name: item.reason for item in items if isinstance(item, Skipped)}


PHOTOS = {f"photos/{c}/{i}.png": image(i + ord(c)) for c in "ab" for i in range(6)}


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2], ids=str
)
def test_an_archive_packs_as_the_folder_it_was_made_of(tmp_path, method):
    archive = make_zip(tmp_path / "x.zip", PHOTOS, method)
    for name, content in PHOTOS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    packs = [
        pack(open_source(source), tmp_path / f"{number}.pack", size=8, processes=1)
        for number, source in enumerate((archive, tmp_path / "photos"))
    ]
    assert packs[0].classes == packs[1].classes == ("a", "b")
    assert len({made.checksum for made in packs}) == 1
    verify(packs[0])
    assert pack(open_source(archive), tmp_path / "0.pack", size=8).folder == tmp_path / "0.pack"


def test_a_folder_with_one_archive_in_it_is_read_as_the_archive(tmp_path):
    (tmp_path / "downloads").mkdir()
    make_zip(tmp_path / "downloads" / "photos.zip", PHOTOS)
    assert open_source(tmp_path / "downloads").classes == ("a", "b")


def test_names_written_by_other_systems_are_read(tmp_path):
    path = make_zip(tmp_path / "x.zip", {"Küche/1.png": b"", "Äpfel/1.png": b""})
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<H", 1 << 11), struct.pack("<H", 0)))
    assert open_source(path).classes == ("Küche", "Äpfel")  # as macOS: UTF-8, and does not say so
    windows = make_zip(tmp_path / "w.zip", {"a\\1.png": b"", "b\\1.png": b""})
    assert open_source(windows).classes == ("a", "b")
    shift_jis = make_zip(tmp_path / "j.zip", {"aaaa/1.png": b"", "b/1.png": b""})
    shift_jis.write_bytes(shift_jis.read_bytes().replace(b"aaaa", "猫犬".encode("shift-jis")))
    classes = open_source(shift_jis).classes
    assert len(classes) == 2
    assert "b" in classes


def test_every_hostile_member_is_listed_with_its_reason_and_nothing_is_extracted(tmp_path):
    link = zipfile.ZipInfo("a/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = make_zip(
        tmp_path / "x.zip",
        {
            **{f"{c}/{i}.png": image(i) for c in "ab" for i in range(3)},
            "../../escape.png": image(1),
            "/absolute.png": image(1),
            "a/../../b.png": image(1),
            link: b"/etc/passwd",
            "a/encrypted.png": image(4),
            "a/bomb.png": b"\0" * 100_000,
            "a/liar.png": b"\0" * 100_000,
            "a/wrong.png": image(5),
            "a/inner.zip": b"PK",
            "b/inner.tar": b"",
            "b/clip.mov": b"no image",
            "__MACOSX/a/._1.png": b"",
            "a/notes.txt": b"",
        },
    )
    content = bytearray(path.read_bytes())

    def find(name):
        return content.rfind(name.encode()) - 46  # in the list of members

    content[find("a/encrypted.png") + 8] |= 1
    struct.pack_into("<I", content, find("a/bomb.png") + 24, LARGEST_MEMBER + 1)
    struct.pack_into("<I", content, find("a/liar.png") + 24, 10)
    content[find("a/wrong.png") + 16] ^= 1  # its CRC-32
    path.write_bytes(content)
    before = set(tmp_path.iterdir()), set(Path.cwd().iterdir())
    made = pack(open_source(path, val_fraction=0), tmp_path / "pack", size=8, processes=1)
    lines = [json.loads(x) for x in (made.folder / "skipped.jsonl").read_text().splitlines()]
    reasons = {line["path"]: line["reason"] for line in lines}
    assert reasons == {
        "../../escape.png": "unsafe_name",
        "/absolute.png": "unsafe_name",
        "a/../../b.png": "unsafe_name",
        "a/link.png": "not_a_file",
        "a/encrypted.png": "encrypted",
        "a/bomb.png": "too_large",
        "a/liar.png": "unreadable",
        "a/wrong.png": "unreadable",
        "a/inner.zip": "archive_inside",
        "b/inner.tar": "archive_inside",
        "b/clip.mov": "not_an_image",
        "__MACOSX": "hidden",
        "a/notes.txt": "not_an_image",
    }
    assert len(made.splits["train"]) == 6
    assert (set(tmp_path.iterdir()) - {made.path}, set(Path.cwd().iterdir())) == before
    assert not (tmp_path.parent.parent / "escape.png").exists()
    verify(made)


def test_what_is_no_archive_is_an_error_that_says_what_to_do(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"<html>404</html>")
    with pytest.raises(ValueError, match=r"cannot be read as a zip archive.*extract it"):
        open_source(tmp_path / "x.zip")
    whole = make_zip(tmp_path / "y.zip", PHOTOS).read_bytes()
    (tmp_path / "y.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cannot be read as a zip archive"):
        open_source(tmp_path / "y.zip")


def test_any_damage_costs_some_images_at_most(tmp_path):
    whole = make_zip(tmp_path / "x.zip", PHOTOS).read_bytes()
    path, told = tmp_path / "y.zip", Counter()
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            entries, reasons = list_items(open_source(path))
        except (ValueError, FileNotFoundError):
            told["error"] += 1
            continue
        told.update(reasons.values())
        for entry in entries:
            try:
                told["read"] += len(entry.content.read()) == entry.content.size
            except OSError:
                told["damaged"] += 1
    assert told["read"] > 1000
    assert told["damaged"]


def test_a_changed_archive_is_updated_and_only_new_images_are_decoded(tmp_path):
    path, said = make_zip(tmp_path / "x.zip", PHOTOS), []
    pack(open_source(path), tmp_path / "pack", size=8, processes=1)
    make_zip(path, {"photos/a/new.png": image(500), **PHOTOS})
    os.utime(path, (1, 1))
    pack(open_source(path), tmp_path / "pack", size=8, processes=1, say=said.append)
    assert said[-1] == "Updated: 12 images kept as before, 1 file decoded."
