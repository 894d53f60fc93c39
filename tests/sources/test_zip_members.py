"""Zip archives: what is read from them, and what hostile ones are refused for."""

import contextlib
import io
import os
import struct
import zipfile

import pytest

from alexnet.sources import zip_members
from alexnet.sources.entry import Skipped
from alexnet.sources.limits import LARGEST_MEMBER
from alexnet.sources.zip_members import UnusableMember, ZipArchive, ZipMember, read_member


def make_zip(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def walk(path):
    """The names of the files, and the reasons of the others by name."""
    with ZipArchive(path) as archive:
        items = list(archive.walk())
    files = [item.name for item in items if isinstance(item, ZipMember)]
    return files, {item.name: item.reason for item in items if isinstance(item, Skipped)}


def test_members_are_read_in_the_order_of_the_archive(tmp_path):
    content = {"b/2.png": b"two", "a/1.png": b"one" * 1000}
    path = make_zip(tmp_path / "x.zip", content.items())
    with ZipArchive(path) as archive:
        found = {member.name: archive.read(member) for member in archive.walk()}
        assert found == content
        assert list(found) == list(content)
        assert read_member(next(iter(archive.walk()))) == b"two"


def test_names_that_lead_out_are_refused_and_hidden_ones_reported_once(tmp_path):
    names = [
        "../up.png", "/root.png", "a/../../x.png", "..\\windows.png", "n" * 5000,
        "__MACOSX/._1.png", "__MACOSX/._2.png", "notes.txt", "inner.zip", "folder\\1.png",
    ]  # fmt: skip
    files, reasons = walk(make_zip(tmp_path / "x.zip", [(name, b"x") for name in names]))
    assert files == ["folder/1.png"]
    assert list(reasons.values()).count("unsafe_name") == 5
    assert reasons["__MACOSX"] == "hidden"
    assert (reasons["notes.txt"], reasons["inner.zip"]) == ("not_an_image", "archive_inside")


def test_a_member_without_a_name_is_refused(tmp_path):
    path = make_zip(tmp_path / "x.zip", [("a", b"1"), ("2.png", b"2")])
    content = path.read_bytes().replace(b"a", b"\0")  # a name ends at its first null character
    path.write_bytes(content)
    assert walk(path) == (["2.png"], {"": "unsafe_name"})


def test_a_name_that_occurs_twice_counts_once(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = make_zip(tmp_path / "x.zip", [("1.png", b"old"), ("1.png", b"new")])
    with ZipArchive(path) as archive:
        first, last = archive.walk()
        assert (first.reason, archive.read(last)) == ("named_twice", b"new")


def test_links_encrypted_members_and_unknown_methods_are_refused(tmp_path):
    link = zipfile.ZipInfo("link.png")
    link.external_attr = 0o120777 << 16
    path = make_zip(tmp_path / "x.zip", [(link, "/etc/passwd"), ("1.png", b"1"), ("2.png", b"2")])
    content = bytearray(path.read_bytes())
    entries = [i for i in range(len(content)) if content[i : i + 4] == b"PK\1\2"]
    assert len(entries) == 3
    content[entries[1] + 8] |= 1  # encrypted
    content[entries[2] + 10] = 97  # WavPack
    path.write_bytes(content)
    files, reasons = walk(path)
    assert not files
    assert reasons == {
        "link.png": "not_a_file", "1.png": "encrypted", "2.png": "unsupported",
    }  # fmt: skip


def test_a_bomb_is_refused_by_its_size_and_is_not_believed_if_it_claims_less(tmp_path):
    path = make_zip(tmp_path / "x.zip", [("bomb.png", b"\0" * 100_000)])
    content = bytearray(path.read_bytes())
    entry = content.find(b"PK\1\2")
    for claim, reason in ((LARGEST_MEMBER + 1, "too_large"), (10, None)):
        struct.pack_into("<I", content, entry + 24, claim)
        path.write_bytes(content)
        _, reasons = walk(path)
        assert reasons == ({"bomb.png": reason} if reason else {})
    with ZipArchive(path) as archive, pytest.raises(UnusableMember):
        archive.read(next(archive.walk()))


def test_members_that_share_bytes_are_refused(tmp_path):
    path = make_zip(tmp_path / "x.zip", [("1.png", os.urandom(1000)), ("2.png", b"2")])
    content = bytearray(path.read_bytes())
    second = content.rfind(b"PK\1\2")
    struct.pack_into("<I", content, second + 42, 0)  # its data are those of the first
    path.write_bytes(content)
    assert walk(path) == ([], {"1.png": "overlap", "2.png": "overlap"})


def test_a_long_list_of_members_and_a_file_that_is_no_archive_are_errors(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "x.zip", [(f"{i}.png", b"") for i in range(50)])
    monkeypatch.setattr(zip_members, "LARGEST_DIRECTORY", 1000)
    with pytest.raises(OSError, match="list of members"):
        ZipArchive(path)
    path.write_bytes(b"no archive")
    with pytest.raises(OSError, match="no zip archive"):
        ZipArchive(path)


def test_every_damage_of_a_byte_is_an_error_of_that_member_or_archive(tmp_path):
    whole = make_zip(tmp_path / "x.zip", [("a/1.png", b"abc" * 30), ("2.png", b"xyz")]).read_bytes()
    path = tmp_path / "y.zip"
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        with contextlib.suppress(OSError), ZipArchive(path) as archive:
            for member in archive.walk():
                if isinstance(member, ZipMember):
                    with contextlib.suppress(UnusableMember):
                        archive.read(member)
    assert zipfile.ZipFile(io.BytesIO(whole)).testzip() is None
