"""Walking folders on disk: symlinks, pipes, locked and deep folders."""

import os
import socket

import pytest
from tests.sources.source_files import content, skipped, split_folders, used, write

from alexnet.sources import Skipped, open_source


def test_symlinks_are_followed_but_no_folder_is_read_twice(tmp_path):
    elsewhere = write(tmp_path / "elsewhere", "5.jpg")
    data = split_folders(tmp_path / "data")
    (data / "train" / "hen").symlink_to(elsewhere)
    (data / "train" / "cat" / "6.jpg").symlink_to(elsewhere / "5.jpg")
    (data / "train" / "cat" / "loop").symlink_to(data / "train")
    (data / "train" / "cat" / "adog").symlink_to(data / "train" / "dog")
    (data / "train" / "cat" / "gone.jpg").symlink_to("nowhere")
    (data / "train" / "cat" / "self.jpg").symlink_to("self.jpg")
    source = open_source(data)
    assert used(source, "train") == {
        "train/cat/1.jpg": "cat",
        "train/cat/6.jpg": "cat",
        "train/dog/2.jpg": "dog",
        "train/hen/5.jpg": "hen",
    }
    assert skipped(source, "train") == {
        "train/cat/loop": "symlink_loop",
        "train/cat/adog": "symlink_loop",
        "train/cat/gone.jpg": "broken_link",
        "train/cat/self.jpg": "symlink_loop",
    }


@pytest.mark.parametrize("target", [".", "..", "../..", "../../..", "../cat"])
def test_a_symlink_to_a_folder_that_contains_it_is_reported_with_its_target(tmp_path, target):
    data = split_folders(tmp_path / "data")
    (data / "train" / "cat" / "up").symlink_to(target)
    source = open_source(data)
    assert list(used(source, "train")) == ["train/cat/1.jpg", "train/dog/2.jpg"]
    [link] = [item for item in source.entries("train") if isinstance(item, Skipped)]
    assert (link.name, link.reason) == ("train/cat/up", "symlink_loop")
    assert f"leads to {os.path.realpath(data / 'train/cat' / target)}" in link.detail


@pytest.mark.parametrize("where", ["train/cat/more", "train/more", "train/cat/x.jpg"])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_symlink_into_another_split_is_reported_and_not_followed(tmp_path, where, absolute):
    data = split_folders(tmp_path / "data")
    target = data / "val/cat/3.jpg" if where.endswith("jpg") else data / "val/cat"
    path = data / where
    path.symlink_to(target if absolute else os.path.relpath(target, path.parent))
    source = open_source(data)
    assert source.classes == ("cat", "dog")
    assert list(used(source, "train")) == ["train/cat/1.jpg", "train/dog/2.jpg"]
    assert skipped(source, "train") == {where: "other_split"}


def test_a_symlink_elsewhere_that_leads_back_to_an_ancestor_is_not_followed(tmp_path):
    data, elsewhere = split_folders(tmp_path / "data"), write(tmp_path / "elsewhere", "5.jpg")
    (data / "train/cat/more").symlink_to(elsewhere)
    for name, target in {"data": data, "train": data / "train", "val": data / "val"}.items():
        (elsewhere / name).symlink_to(target)
    source = open_source(data)
    assert "train/cat/more/5.jpg" in used(source, "train")
    assert len(used(source, "train")) == 3
    assert skipped(source, "train") == {
        "train/cat/more/data": "symlink_loop",
        "train/cat/more/train": "symlink_loop",
        "train/cat/more/val": "other_split",
    }


def test_a_data_set_made_of_symlinks_is_read(tmp_path):
    pool = write(tmp_path / "data" / "pool", "cats/1.jpg", "cats/2.jpg", "dogs/3.jpg", "dogs/4.jpg")
    other = write(tmp_path / "other", "5.jpg")
    for split, files in ("train", ("cats/1.jpg", "dogs/3.jpg")), ("val", ("cats/2.jpg",)):
        for file in files:
            link = tmp_path / "data" / split / file
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(pool / file)
    (tmp_path / "data" / "train" / "hen").symlink_to(other)
    (tmp_path / "data" / "val" / "dogs").symlink_to(pool / "dogs")
    source = open_source(tmp_path / "data")
    assert list(used(source, "train")) == [
        "train/cats/1.jpg",
        "train/dogs/3.jpg",
        "train/hen/5.jpg",
    ]
    assert list(used(source, "val")) == ["val/cats/2.jpg", "val/dogs/3.jpg", "val/dogs/4.jpg"]


def test_splits_may_be_symlinks_but_not_to_the_same_folder(tmp_path):
    raw = split_folders(tmp_path / "raw")
    for name, target in {"train": "train", "val": "val", "test": "val"}.items():
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).symlink_to(raw / target)
    source = open_source(tmp_path / "data")
    assert list(used(source, "val")) == ["test/cat/3.jpg", "test/dog/4.jpg"]  # the first by name
    (tmp_path / "data" / "test").unlink()
    source = open_source(tmp_path / "data")
    assert list(used(source, "val")) == ["val/cat/3.jpg", "val/dog/4.jpg"]
    (tmp_path / "data" / "val").unlink()
    (tmp_path / "data" / "val").symlink_to(raw / "train" / "cat")
    with pytest.raises(ValueError, match="by which two of its splits share images"):
        open_source(tmp_path / "data")


def test_a_validation_split_that_is_a_symlink_to_the_training_split_is_not_used(tmp_path):
    write(tmp_path, *(f"train/{pet}/{i}.jpg" for pet in ("cat", "dog") for i in range(2)))
    (tmp_path / "val").symlink_to("train")
    source = open_source(tmp_path)
    link = (
        f"Links to folders that are read under another name are not used: 'val → {tmp_path}/train'."
    )
    assert link in source.remarks
    assert not used(source, "train").keys() & used(source, "val").keys()


def test_a_symlink_to_another_class_is_not_a_class(tmp_path):
    data = write(tmp_path, "cat/1.jpg", "dog/2.jpg")
    (data / "kitty").symlink_to("cat")
    (data / "all").symlink_to(".")
    source = open_source(data, val_fraction=0)
    assert source.classes == ("cat", "dog")
    assert list(used(source, "train")) == ["cat/1.jpg", "dog/2.jpg"]
    assert skipped(source, "train") == {"kitty": "symlink_loop", "all": "symlink_loop"}


def test_a_folder_reached_by_a_symlink_is_not_read_again(tmp_path):
    data = split_folders(tmp_path, "train/dog/deep/5.jpg")
    (data / "train" / "cat" / "other").symlink_to(data / "train" / "dog" / "deep")
    source = open_source(data)
    assert "train/cat/other/5.jpg" in used(source, "train")
    assert skipped(source, "train") == {"train/dog/deep": "symlink_loop"}


def test_pipes_and_sockets_are_never_opened(tmp_path, monkeypatch):
    split_folders(tmp_path)
    os.mkfifo(tmp_path / "train" / "cat" / "pipe.jpg")
    monkeypatch.chdir(tmp_path / "train" / "dog")  # the names of sockets must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s.jpg")
        assert skipped(open_source(tmp_path), "train") == {
            "train/cat/pipe.jpg": "not_a_file",
            "train/dog/s.jpg": "not_a_file",
        }


@pytest.mark.parametrize("locked", ["train/cat", "train"])
def test_an_unreadable_folder_is_reported(tmp_path, monkeypatch, locked):
    scandir = os.scandir

    def refuse(path):
        if path == tmp_path / locked:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    source = open_source(write(tmp_path, "train/cat/1.jpg", "train/dog/2.jpg"))
    monkeypatch.setattr(os, "scandir", refuse)
    items = [item for item in source.entries("train") if isinstance(item, Skipped)]
    named = {(item.name, item.reason) for item in items}
    assert (locked, "unreadable") in named


def test_a_folder_deeper_than_pythons_stack_is_read(tmp_path):
    source = open_source(split_folders(tmp_path))
    folder = tmp_path / "train" / "cat"
    for _ in range(1200):
        folder = folder / "d"
        folder.mkdir()
    (folder / "1.jpg").touch()
    assert "train/cat/" + "d/" * 1200 + "1.jpg" in used(source, "train")
    (folder / "1.jpg").unlink()
    os.removedirs(folder)  # what clears temporary folders does use the stack


def test_names_that_are_not_utf8_survive(tmp_path):
    odd = os.fsdecode(b"train/c\xff\xe9t/\xfe\n.jpg")
    source = open_source(split_folders(tmp_path, odd))
    assert os.fsdecode(b"c\xff\xe9t") in source.classes
    [entry] = [e for e in source.entries("train") if e.name == odd]
    assert content(entry) == os.fsencode(odd)
