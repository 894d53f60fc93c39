"""Archives of folders: read like the folders, never extracted, never trusted."""

import gzip
import io
import pickle
import random
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sources.source_files import content, skipped, tar, tar_folder, used, write

from alexnet.sources import Entry, Skipped, Span, open_source

NAMES = ("train/cat/1.jpg", "train/dog/2.jpg", "val/cat/3.jpg", "val/dog/4.jpg")
FILES = {name: random.Random(name).randbytes(4608) for name in NAMES}


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_an_archive_gives_what_its_folder_gives(tmp_path, ending):
    folder = write(tmp_path / "data", *NAMES, "train/cat/.hidden", "train/cat/deep/" + "x" * 200)
    archive = open_source(tar_folder(folder, tmp_path / f"pets.{ending}"))
    for split in "train", "val":
        expected = {f"data/{name}": c for name, c in used(open_source(folder), split).items()}
        assert used(archive, split) == expected
    assert skipped(archive, "train") == {"data/train/cat/.hidden": "hidden"}
    assert all(
        content(entry) == entry.name.removeprefix("data/").encode()
        for entry in archive.entries("train")
        if isinstance(entry, Entry)
    )


def test_images_in_a_plain_archive_are_places_and_in_a_compressed_one_bytes(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar(FILES))
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tar(FILES)))
    assert isinstance(next(open_source(tmp_path / "a.tar").entries("val")).content, Span)
    assert isinstance(next(open_source(tmp_path / "a.tar.gz").entries("val")).content, bytes)


def test_entries_travel_to_other_processes_in_few_bytes(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar(FILES))
    for entry in open_source(tmp_path / "a.tar").entries("train"):
        assert len(pickle.dumps(entry)) < 500
        assert pickle.loads(pickle.dumps(entry)) == entry


def test_a_hidden_folder_in_an_archive_is_named_once(tmp_path):
    hidden = {f"train/cat/.thumbs/{i}.jpg": b"" for i in range(3)} | {"train/dog/._2.jpg": b""}
    (tmp_path / "a.tar").write_bytes(tar(FILES | hidden))
    items = open_source(tmp_path / "a.tar").entries("train")
    named = [item.name for item in items if isinstance(item, Skipped)]
    assert named == ["train/cat/.thumbs", "train/dog/._2.jpg"]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_are_read_in_each_form(tmp_path, form):
    long = "train/cat/" + "/".join(["folder" * 7] * 4) + "/naïve.jpg"
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
        for name in (long, *NAMES):
            archive.addfile(tarfile.TarInfo(name))
    assert used(open_source(tmp_path / "a.tar"), "train")[long] == "cat"


def test_names_that_are_not_utf8_survive(tmp_path):
    odd = b"train/cat/\xff\xe9.jpg".decode("utf-8", "surrogateescape")
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        for name in (odd, *NAMES):
            archive.addfile(tarfile.TarInfo(name))
    assert odd in used(open_source(tmp_path / "a.tar"), "train")


def hostile() -> bytes:
    """An archive with members that want out, lead elsewhere or are no files."""
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as archive:
        for name in (*NAMES, "../../etc/passwd", "/etc/shadow", "train/cat/../../../x"):
            archive.addfile(tarfile.TarInfo(name))
        for name, kind in {"link": b"2", "hard": b"1", "device": b"3", "pipe": b"6"}.items():
            member = tarfile.TarInfo(f"train/cat/{name}.jpg")
            member.type, member.linkname, member.size = kind, "/etc/passwd", 0
            archive.addfile(member)
    return memory.getvalue()


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_hostile_members_are_named_and_not_read(tmp_path, compress):
    (tmp_path / "a.tar").write_bytes(compress(hostile()))
    source = open_source(tmp_path / "a.tar")
    assert used(source, "train") == {"train/cat/1.jpg": "cat", "train/dog/2.jpg": "dog"}
    assert skipped(source, "train") == {
        "../../etc/passwd": "unsafe_name",
        "/etc/shadow": "unsafe_name",
        "train/cat/../../../x": "unsafe_name",
        "train/cat/link.jpg": "not_a_file",
        "train/cat/hard.jpg": "not_a_file",
        "train/cat/device.jpg": "not_a_file",
        "train/cat/pipe.jpg": "not_a_file",
    }


def header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("size", [1 << 40, 1 << 62])
def test_a_member_of_absurd_size_takes_no_memory(tmp_path, compress, size):
    whole = tar(FILES).rstrip(b"\0")
    whole += bytes(-len(whole) % 512)
    (tmp_path / "a.tar").write_bytes(compress(whole + header("train/cat/huge.jpg", size)))
    found = skipped(open_source(tmp_path / "a.tar"), "train")
    assert found == {"train/cat/huge.jpg": "too_large", "a.tar": "truncated_archive"}


def test_an_archive_that_says_a_negative_size_ends_there(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar(FILES)[: 4 * 5120] + header("train/cat/x", -512))
    assert "a.tar" in skipped(open_source(tmp_path / "a.tar"), "train")


def test_sparse_members_are_named_and_passed(tmp_path):
    sparse = bytearray(header("train/cat/sparse.jpg", 512))
    sparse[156:157] = b"S"
    sparse[148:156] = b"%06o\0 " % (sum(sparse[:148]) + 8 * 32 + sum(sparse[156:]))
    (tmp_path / "a.tar").write_bytes(bytes(sparse) + bytes(512) + tar(FILES))
    source = open_source(tmp_path / "a.tar")
    assert skipped(source, "train") == {"train/cat/sparse.jpg": "not_a_file"}
    assert len(used(source, "train")) == 2


WHOLE = tar(FILES)
END = 4 * (512 + 4608)  # the last member ends here, two empty blocks follow


@pytest.fixture(scope="module")
def cut_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cut")


@settings(max_examples=60, deadline=None)
@given(end=st.integers(512, END - 1), compressed=st.booleans())
def test_an_archive_cut_anywhere_gives_what_is_whole_and_says_so(cut_folder, end, compressed):
    cut = gzip.compress(WHOLE)[: end * 9 // 10] if compressed else WHOLE[:end]
    (cut_folder / "a.tar").write_bytes(cut)
    try:
        source = open_source(cut_folder / "a.tar")
    except ValueError:
        return  # nothing was left of the first image
    assert skipped(source, "train").get("a.tar") == "truncated_archive"
    for split in source.splits:
        for entry in source.entries(split):
            if isinstance(entry, Entry):
                assert content(entry) == FILES[entry.name]


def test_noise_in_an_archive_ends_it_and_is_named(tmp_path):
    noisy = bytearray(WHOLE)
    noisy[5120:5632] = b"noise!!!" * 64
    (tmp_path / "a.tar").write_bytes(noisy)
    source = open_source(tmp_path / "a.tar")
    assert skipped(source, "train")["a.tar"] == "truncated_archive"
    assert list(used(source, "train")) == ["train/cat/1.jpg"]


def test_what_is_no_archive_says_so(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match=r"is not a tar archive"):
        open_source(tmp_path / "a.tar.gz")


def test_the_only_archive_in_a_folder_is_opened(tmp_path):
    top = write(tmp_path / "101_ObjectCategories", "Faces/1.jpg", "ant/2.jpg")
    download = tmp_path / "caltech-101"
    download.mkdir()
    tar_folder(top, download / "101_ObjectCategories.tar.gz")
    (download / "Annotations.tar").write_bytes(tar({"Annotations/Faces_2/a.mat": b""}))
    assert open_source(download).classes == ("Faces", "ant")


def test_a_folder_of_classes_in_an_archive_is_divided_as_the_folder_is(tmp_path):
    folder = write(tmp_path / "pets", *(f"{c}/{i}.jpg" for c in "ab" for i in range(30)))
    archive = open_source(tar_folder(folder, tmp_path / "pets.tar.gz"), val_fraction=0.3)
    plain = used(open_source(folder, val_fraction=0.3), "val")
    assert used(archive, "val") == {f"pets/{name}": c for name, c in plain.items()}


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_of_members_with_one_name_the_last_is_used_as_when_extracted(tmp_path, compress):
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as archive:
        for name in (*NAMES, "train/cat/1.jpg", "./train/cat/1.jpg"):
            member = tarfile.TarInfo(name)
            member.size = archive.offset
            archive.addfile(member, io.BytesIO(bytes(member.size)))
        last = archive.members[-1].size
    (tmp_path / "a.tar").write_bytes(compress(memory.getvalue()))
    items = list(open_source(tmp_path / "a.tar").entries("train"))
    named = [i.name for i in items if isinstance(i, Skipped) and i.reason == "named_twice"]
    assert named == ["train/cat/1.jpg"] * 2
    [entry] = [i for i in items if isinstance(i, Entry) and i.name == "train/cat/1.jpg"]
    assert len(content(entry)) == last
