"""Sources that claim, or grow to, more than they are: memory stays within stated limits."""

import gzip
import json
import lzma
import os
import random
import struct
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from tests.packing.packing_sources import pixels, png
from tests.sources.source_files import skipped, tar, used, write

from alexnet.images.preparation import RecordOptions, prepare, read_ahead
from alexnet.sources import Entry, open_source, repeats, tarball
from alexnet.sources.limits import (
    IN_FLIGHT,
    LARGEST_FILE,
    LARGEST_MEMBER,
    LONGEST_LINE,
    LONGEST_NAME,
    PACKING_MEMORY,
)
from alexnet.sources.reader import open_reader
from alexnet.sources.regular_files import read_regular

PETS = {f"{split}/{pet}/1.jpg": b"x" for split in ("train", "val") for pet in ("cat", "dog")}
MEGABYTE = 1 << 20
"""In kilobytes, which is what memory is measured in."""


def read(path):
    """What a process says that opens a source and reads it whole."""
    program = Path(__file__).with_name("peak_memory.py")
    done = subprocess.run([sys.executable, program, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def header(name, size=0, kind=b"0"):
    """One block, as tarfile writes it; names beyond 100 characters come in a block before."""
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.USTAR_FORMAT)


def extended(records: bytes):
    """A pax header with these records."""
    return header("pax", len(records), b"x") + records + bytes(-len(records) % 512)


def pax(key, value):
    """One record of a pax header: its own length, a key and a value."""
    rest = f" {key}={value}\n"
    length = len(rest)
    while length != len(rest) + len(str(length)):
        length = len(rest) + len(str(length))
    return f"{length}{rest}".encode()


def compressed(path, pieces):
    with gzip.open(path, "wb", compresslevel=1) as file:
        for piece in pieces:
            file.write(piece)
    return path


def test_a_path_of_80_000_parts_is_named_and_takes_no_memory(tmp_path):
    deep = "train/cat/" + "d/" * 80_000 + "1.jpg"
    members = [extended(pax("path", deep)), header("x"), tar(PETS)]
    found = read(compressed(tmp_path / "a.tar.gz", members))
    assert found["reasons"]["unsafe_name"] == 2  # once a split
    assert found["reasons"]["used"] == 4
    assert found["grown"] < 64 * MEGABYTE


def test_the_longest_paths_that_are_read_take_memory_by_their_parts(tmp_path):
    paths = (f"train/cat/{i}/" + "d/" * 2000 + "1.jpg" for i in range(50))
    members = [extended(pax("path", path)) + header("x") for path in paths]
    found = read(compressed(tmp_path / "a.tar.gz", [*members, tar(PETS)]))
    assert found["reasons"]["used"] == 54
    assert found["grown"] < 128 * MEGABYTE


def test_headers_that_only_fill_memory_are_not_kept(tmp_path):
    value = "x" * 900_000
    headers = [extended(pax(f"key{i}", value)) for i in range(150)]
    found = read(compressed(tmp_path / "a.tar.gz", [*headers, tar(PETS)]))
    assert found["reasons"]["used"] == 4
    assert found["grown"] < 48 * MEGABYTE


def test_a_header_of_many_records_is_read_in_time(tmp_path):
    records = b"6 a=b\n" * 170_000 + pax("path", "train/cat/2.jpg")
    (tmp_path / "a.tar").write_bytes(extended(records) + header("x") + tar(PETS))
    assert "train/cat/2.jpg" in used(open_source(tmp_path / "a.tar"), "train")


def test_hidden_folders_without_end_are_not_all_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(tarball, "_REMEMBERED", 3)
    hidden = {f"train/cat/.{i}/{j}": b"" for i in range(5) for j in range(2)}
    (tmp_path / "a.tar").write_bytes(tar(PETS | hidden))
    items = [i.name for i in open_source(tmp_path / "a.tar").entries("train") if "." in i.name]
    named = [name for name in items if not name.endswith("jpg")]
    assert named == [f"train/cat/.{i}" for i in (0, 1, 2, 3, 3, 4, 4)]


def test_an_archive_of_too_many_folders_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(repeats, "MOST_NAMES", 100)
    (tmp_path / "a.tar").write_bytes(tar({f"{i}/{j}.jpg": b"" for i in range(101) for j in (1, 2)}))
    with pytest.raises(ValueError, match=r"a\.tar has too many folders or classes: at most 100"):
        open_source(tmp_path / "a.tar")


def test_an_archive_of_too_many_images_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(repeats, "MOST_IMAGES", 3)
    (tmp_path / "a.tar").write_bytes(tar(PETS))
    with pytest.raises(ValueError, match=r"names more than 3 images: divide it"):
        open_source(tmp_path / "a.tar")


def test_members_of_zeros_are_read_one_at_a_time(tmp_path):
    def members():
        for i in range(12):
            yield header(f"train/cat/zeros{i}.jpg", 16 << 20)
            yield bytes(16 << 20)
        yield tar(PETS)

    found = read(compressed(tmp_path / "a.tar.gz", members()))
    assert found["reasons"]["used"] == 12 + 4
    assert found["grown"] < 96 * MEGABYTE


PACK = """
import json, resource, sys
from alexnet.packing.pack import pack_images
from tests.sources.peak_memory import peak
pack = pack_images(sys.argv[1], sys.argv[2], size=32, processes=2)
decoding = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([pack.metadata["splits"]["train"]["skipped"], peak(), decoding]))
"""


def test_packing_a_bomb_stays_within_the_stated_memory(tmp_path):
    def members():
        for i in range(8):
            yield header(f"train/cat/zeros{i}.jpg", 32 << 20)
            yield bytes(32 << 20)
        deep = pax("path", "train/cat/" + "d/" * 80_000 + "1.jpg")
        yield extended(deep) + header("x")
        images = {name: png(pixels(number)) for number, name in enumerate(PETS)}
        yield tar(images)

    bomb = compressed(tmp_path / "a.tar.gz", members())
    command = [sys.executable, "-c", PACK, bomb, tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    skipped, packing, decoding = json.loads(done.stdout)
    assert skipped == {"not_an_image": 8, "unsafe_name": 1}
    assert packing + IN_FLIGHT + LARGEST_MEMBER < PACKING_MEMORY
    assert decoding < LARGEST_FILE


def xz_that_wants(dictionary: int) -> bytes:
    """An xz file whose header says that its dictionary has 2^(dictionary / 2 + 12) bytes or so."""
    whole = bytearray(lzma.compress(tar(PETS)))
    length = (whole[12] + 1) * 4
    at = whole.index(b"\x21\x01", 12) + 2  # filter LZMA2, one byte of properties
    whole[at] = dictionary
    whole[12 + length - 4 : 12 + length] = struct.pack(
        "<I", zlib.crc32(whole[12 : 12 + length - 4])
    )
    return bytes(whole)


def test_an_xz_file_that_wants_gigabytes_is_refused(tmp_path):
    (tmp_path / "a.tar.xz").write_bytes(xz_that_wants(40))
    found = read(tmp_path / "a.tar.xz")
    assert "is not a tar archive" in found["error"]
    assert found["grown"] < 64 * MEGABYTE
    (tmp_path / "a.tar.xz").write_bytes(xz_that_wants(28))  # 64 MiB, as `xz -9`
    assert read(tmp_path / "a.tar.xz")["reasons"]["used"] == 4


def test_several_xz_streams_and_what_follows_them_are_read_as_by_xz(tmp_path):
    parts = lzma.compress(b"a" * 3_000_000) + bytes(8) + lzma.compress(b"b") + b"junk"
    (tmp_path / "a.xz").write_bytes(parts)
    with open_reader(tmp_path / "a.xz") as reader:
        assert reader.read(4_000_000) == b"a" * 3_000_000 + b"b"


def idx(kind, *sizes):
    return struct.pack(f">{1 + len(sizes)}I", kind, *sizes)


def mnist(folder, images, labels):
    folder.mkdir(exist_ok=True)
    compressed(folder / "train-images-idx3-ubyte.gz", images)
    compressed(folder / "train-labels-idx1-ubyte.gz", labels)
    return folder


def test_labels_that_claim_four_billion_are_refused(tmp_path):
    zeros = [bytes(1 << 20)] * 200
    images = [idx(0x803, 1, 28, 28), bytes(784)]
    found = read(mnist(tmp_path / "m", images, [idx(0x801, 0xFFFFFFFF), *zeros]))
    assert "says that it has 4,294,967,295 bytes of labels: at most 67,108,864" in found["error"]
    assert found["grown"] < 32 * MEGABYTE


def test_images_that_claim_gigabytes_are_refused(tmp_path):
    images = [idx(0x803, 1, 60_000, 60_000), bytes(1 << 20)]
    found = read(mnist(tmp_path / "m", images, [idx(0x801, 1), b"\0"]))
    assert "each of its images has 3,600,000,000 bytes" in found["error"]
    name = "smallnorb-5x46789-training"
    folder = tmp_path / "norb"
    folder.mkdir()
    cat = struct.pack("<5I", 0x1E3D4C54, 1, 0xFFFFFFFF, 1, 1) + bytes(400)
    (folder / f"{name}-cat.mat").write_bytes(cat)
    for side, error in (60_000, "each of its images has"), (96, "17,179,869,180 bytes of labels"):
        dat = struct.pack("<6I", 0x1E3D4C55, 4, 1, 2, side, side) + bytes(2 * 96 * 96)
        (folder / f"{name}-dat.mat").write_bytes(dat)
        assert error in read(folder)["error"]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_line_without_end_is_named_and_passed(tmp_path, ending):
    write(tmp_path, "1.jpg", "2.jpg")
    good = {"csv": "{},{}\n", "jsonl": '["{}", "{}"]\n'}[ending]
    with open(tmp_path / f"list.{ending}", "w") as file:
        file.write(good.format("1.jpg", "cat"))
        for _ in range(60):
            file.write("y" * LONGEST_LINE)
        file.write("\n" + good.format("2.jpg", "dog"))
    found = read(tmp_path / f"list.{ending}")
    assert found["grown"] < 40 * MEGABYTE
    source = open_source(tmp_path / f"list.{ending}", val_fraction=0)
    assert used(source, "train") == {"1.jpg": "cat", "2.jpg": "dog"}
    assert skipped(source, "train") == {"line 2": "bad_line"}


def test_names_longer_than_any_files_are_named(tmp_path):
    write(tmp_path, "1.jpg")
    long = "x" * (LONGEST_NAME + 1)
    (tmp_path / "list.csv").write_text(f"1.jpg,cat\n{long},cat\n1.jpg,{long}\n")
    source = open_source(tmp_path / "list.csv", val_fraction=0)
    assert skipped(source, "train") == {"line 2": "bad_line", "line 3": "bad_line"}


def test_a_list_of_too_many_classes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(repeats, "MOST_CHARACTERS", 1000)
    (tmp_path / "list.csv").write_text("".join(f"{i}.jpg,{i:09}\n" for i in range(200)))
    with pytest.raises(ValueError, match="too many folders or classes"):
        open_source(tmp_path / "list.csv")


def test_a_folder_of_too_many_names_is_named_and_not_listed(tmp_path, monkeypatch):
    from alexnet.sources import directory

    write(tmp_path, *(f"train/{c}/{i}.jpg" for c in "ab" for i in range(3)), "train/a/in/x.jpg")
    write(tmp_path, *(f"train/a/deep/{i}.jpg" for i in range(20)))
    source = open_source(tmp_path)
    monkeypatch.setattr(directory, "MOST_LISTED", 25)  # a folder counts as five files
    assert skipped(source, "train") == {"train/a/deep": "too_many_names"}
    assert len(used(source, "train")) + len(used(source, "val")) == 7


def test_a_pipe_in_the_place_of_a_file_is_refused_when_it_is_opened(tmp_path):
    folder = write(tmp_path / "data", "train/cat/1.jpg", "train/dog/2.jpg")
    entries = list(open_source(folder, val_fraction=0).entries("train"))
    assert all(isinstance(entry, Entry) for entry in entries)
    (folder / "train/cat/1.jpg").unlink()
    os.mkfifo(folder / "train/cat/1.jpg")
    with pytest.raises(OSError, match=r"1\.jpg is a pipe, not a regular file"):
        open_reader(entries[0].content)
    read_ahead(entries[0].content)
    outcome = prepare(entries[0], RecordOptions(8), np.empty(192, np.uint8))
    assert outcome.reason == "not_a_file"


def test_a_file_that_grows_beyond_the_limit_is_refused_at_it(tmp_path):
    (tmp_path / "x").write_bytes(bytes(100))
    assert len(read_regular(tmp_path / "x", 100)) == 100
    with pytest.raises(OSError, match="has more than 99 bytes"):
        read_regular(tmp_path / "x", 99)
    if os.path.exists("/proc/self/status"):  # says that it is empty
        assert read_regular("/proc/self/status", 1 << 24)
    with pytest.raises(OSError, match="is a device, not a regular file"):
        read_regular("/dev/zero", 1 << 20)
    with pytest.raises(OSError, match="is a folder, not a regular file"):
        read_regular(tmp_path, 1 << 20)


def test_random_damage_to_compressed_archives_never_ends_otherwise(tmp_path):
    chance = random.Random(0)
    for number in range(150):
        whole = bytearray(xz_that_wants(16) if number % 2 else gzip.compress(tar(PETS)))
        for _ in range(3):
            whole[chance.randrange(len(whole))] = chance.randrange(256)
        (tmp_path / "a.tar.gz").write_bytes(whole)
        try:
            source = open_source(tmp_path / "a.tar.gz")
        except ValueError:
            continue
        assert any(list(source.entries(split)) for split in source.splits)
