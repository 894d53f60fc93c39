"""Folders of classes on disk, with all that people and systems leave in them."""

import os
import socket
import tracemalloc
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.sources.source_files import content, skipped, used, write

from alexnet.sources import Entry, Skipped, open_source
from alexnet.sources.holdout import HoldOut

PETS = ("train/cat/1.jpg", "train/dog/2.jpg", "val/cat/3.jpg", "val/dog/4.jpg")


def split_folders(folder, *more):
    return write(folder, *PETS, *more)


def test_the_folders_in_train_are_the_classes(tmp_path):
    source = open_source(split_folders(tmp_path))
    assert (source.kind, source.classes) == ("folder", ("cat", "dog"))
    assert source.splits == ("train", "val")
    assert used(source, "train") == {"train/cat/1.jpg": "cat", "train/dog/2.jpg": "dog"}
    assert used(source, "val") == {"val/cat/3.jpg": "cat", "val/dog/4.jpg": "dog"}
    assert source.wordnet_ids is None
    assert not source.remarks


@pytest.mark.parametrize("name", ["valid", "Validation", "test"])
def test_validation_folders_go_by_other_names_too(tmp_path, name):
    source = open_source(write(tmp_path, "Train/a/1", "Train/b/2", f"{name}/a/3", f"{name}/b/4"))
    assert source.splits == ("train", "val")
    assert used(source, "val") == {f"{name}/a/3": "a", f"{name}/b/4": "b"}


def test_a_test_split_without_classes_is_unlabeled(tmp_path):
    source = open_source(split_folders(tmp_path, "test/5.jpg"))
    assert source.splits == ("train", "val", "test")
    assert used(source, "test") == {"test/5.jpg": "?"}
    assert skipped(source, "test") == {}


def test_two_folders_for_one_split_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"several folders for val: 'val', 'valid'. Keep one"):
        open_source(split_folders(tmp_path, "valid/cat/1.jpg"))


def test_folders_with_wordnet_ids_for_names_keep_them(tmp_path):
    names = "train/n01440764/a", "train/n02102040/b", "val/n01440764/c"
    source = open_source(write(tmp_path, *names))
    assert source.wordnet_ids == source.classes == ("n01440764", "n02102040")


def test_wrapping_folders_are_passed_through(tmp_path):
    split_folders(tmp_path / "imagenette2" / "inner")
    assert used(open_source(tmp_path), "val")["imagenette2/inner/val/cat/3.jpg"] == "cat"


def test_a_train_among_planes_and_cars_is_a_class(tmp_path):
    source = open_source(write(tmp_path, "train/1.jpg", "plane/2.jpg", "car/3.jpg"))
    assert source.classes == ("car", "plane", "train")


def test_files_deep_inside_a_class_belong_to_it(tmp_path):
    source = open_source(split_folders(tmp_path, "train/cat/2019/may/5.jpg"))
    assert used(source, "train")["train/cat/2019/may/5.jpg"] == "cat"


def test_a_class_that_train_lacks_is_not_used_but_named(tmp_path):
    source = open_source(split_folders(tmp_path, "val/cow/5.jpg", "train/hen/6.jpg"))
    assert skipped(source, "val") == {"val/cow/5.jpg": "unknown_class", "val/hen": "empty_class"}
    assert source.remarks == (
        "In val but not in train, so not used: 'cow'.",
        "In train but not in val: 'hen'.",
    )


def test_an_empty_class_stays_a_class_and_is_named(tmp_path):
    (split_folders(tmp_path) / "train" / "empty").mkdir()
    source = open_source(tmp_path)
    assert source.classes == ("cat", "dog", "empty")
    assert skipped(source, "train") == {"train/empty": "empty_class"}


def test_hidden_names_and_descriptions_are_named_and_not_used(tmp_path):
    hidden = ["train/.ipynb_checkpoints/x.jpg", "train/cat/.DS_Store", "train/dog/Thumbs.db"]
    hidden += ["train/__MACOSX/cat/1.jpg", "train/cat/._1.jpg", "train/desktop.ini"]
    source = open_source(split_folders(tmp_path, ".git/config", "train/cat/boxes.xml", *hidden))
    assert source.classes == ("cat", "dog")
    assert skipped(source, "train") == {
        "train/.ipynb_checkpoints": "hidden",
        "train/__MACOSX": "hidden",
        "train/desktop.ini": "hidden",
        "train/cat/.DS_Store": "hidden",
        "train/cat/._1.jpg": "hidden",
        "train/dog/Thumbs.db": "hidden",
        "train/cat/boxes.xml": "not_an_image",
    }
    assert source.remarks == ("Hidden names are not used: '.git'.",)


def test_images_outside_the_classes_are_named(tmp_path):
    assert skipped(open_source(split_folders(tmp_path, "train/0.jpg")), "train") == {
        "train/0.jpg": "no_class"
    }


def test_validation_images_without_classes_are_remarked_upon(tmp_path):
    source = open_source(write(tmp_path, "train/a/1", "train/b/2", "val/3.jpg"))
    assert source.remarks == ("The images in val are in no class folders, so they are not used.",)
    assert skipped(source, "val") == {"val/3.jpg": "no_class"}


def test_folders_beside_the_splits_are_remarked_upon(tmp_path):
    assert open_source(split_folders(tmp_path, "boxes/1.xml")).remarks == (
        "Folders next to the splits are not used: 'boxes'.",
    )


def test_links_are_followed_but_into_no_folder_twice(tmp_path):
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
def test_a_link_to_what_it_lies_in_is_named_with_where_it_leads(tmp_path, target):
    data = split_folders(tmp_path / "data")
    (data / "train" / "cat" / "up").symlink_to(target)
    source = open_source(data)
    assert list(used(source, "train")) == ["train/cat/1.jpg", "train/dog/2.jpg"]
    [link] = [item for item in source.entries("train") if isinstance(item, Skipped)]
    assert (link.name, link.reason) == ("train/cat/up", "symlink_loop")
    assert f"leads to {os.path.realpath(data / 'train/cat' / target)}" in link.detail


@pytest.mark.parametrize("where", ["train/cat/more", "train/more", "train/cat/x.jpg"])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_link_into_another_split_is_named_and_not_followed(tmp_path, where, absolute):
    data = split_folders(tmp_path / "data")
    target = data / "val/cat/3.jpg" if where.endswith("jpg") else data / "val/cat"
    path = data / where
    path.symlink_to(target if absolute else os.path.relpath(target, path.parent))
    source = open_source(data)
    assert source.classes == ("cat", "dog")
    assert list(used(source, "train")) == ["train/cat/1.jpg", "train/dog/2.jpg"]
    assert skipped(source, "train") == {where: "other_split"}


def test_an_ancestor_reached_by_a_folder_elsewhere_is_not_followed(tmp_path):
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


def test_a_data_set_assembled_of_links_is_read(tmp_path):
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


def test_splits_may_be_links_but_not_to_the_same_folder(tmp_path):
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


def test_a_validation_split_that_is_a_link_to_the_training_split_is_not_used(tmp_path):
    write(tmp_path, *(f"train/{pet}/{i}.jpg" for pet in ("cat", "dog") for i in range(2)))
    (tmp_path / "val").symlink_to("train")
    source = open_source(tmp_path)
    link = (
        f"Links to folders that are read under another name are not used: 'val → {tmp_path}/train'."
    )
    assert link in source.remarks
    assert not used(source, "train").keys() & used(source, "val").keys()


def test_a_class_that_is_a_link_to_another_class_is_none(tmp_path):
    data = write(tmp_path, "cat/1.jpg", "dog/2.jpg")
    (data / "kitty").symlink_to("cat")
    (data / "all").symlink_to(".")
    source = open_source(data, val_fraction=0)
    assert source.classes == ("cat", "dog")
    assert list(used(source, "train")) == ["cat/1.jpg", "dog/2.jpg"]
    assert skipped(source, "train") == {"kitty": "symlink_loop", "all": "symlink_loop"}


def test_a_folder_that_a_link_has_led_to_is_not_read_again(tmp_path):
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
def test_a_locked_folder_is_named(tmp_path, monkeypatch, locked):
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


def test_classes_that_differ_only_in_case_or_unicode_form_are_remarked_upon(tmp_path):
    names = ["Cat", "cat", "caf\u00e9", "cafe\u0301"]
    source = open_source(write(tmp_path, *(f"train/{n}/1" for n in names), "val/cat/2"))
    assert set(source.classes) == set(names)
    assert (
        "Classes 'Cat', 'cat' differ only in case or Unicode form; they are kept apart."
        in source.remarks
    )
    assert any("'cafe\\u0301', 'caf\\xe9' differ only in" in remark for remark in source.remarks)


def test_numbers_as_class_names_are_sorted_as_text_and_remarked_upon(tmp_path):
    source = open_source(write(tmp_path, "1/a", "2/a", "10/a"))
    assert source.classes == ("1", "10", "2")
    assert any("sorted as text" in remark for remark in source.remarks)


def test_caltechs_leftovers_stay_a_class_and_are_remarked_upon(tmp_path):
    top = tmp_path / "101_ObjectCategories"
    write(top, "BACKGROUND_Google/image_0001.jpg", "Faces/image_0001.jpg")
    write(tmp_path / "Annotations", "Faces_2/annotation_0001.mat", "Motorbikes_16/a.mat")
    source = open_source(tmp_path)
    assert source.classes == ("BACKGROUND_Google", "Faces")
    assert any("holds images of no class" in remark for remark in source.remarks)


def test_caltech_256_keeps_its_numbered_names(tmp_path):
    top = tmp_path / "256_ObjectCategories"
    write(top, "001.ak47/001_0001.jpg", "002.american-flag/002_0001.jpg")
    assert open_source(top).classes == ("001.ak47", "002.american-flag")


def many(folder, classes="ab", images=200):
    return write(folder, *(f"{c}/{i}.jpg" for c in classes for i in range(images)))


def counts_of(source, split):
    return Counter(used(source, split).values())


def test_the_same_share_of_every_class_is_held_out(tmp_path):
    source = open_source(many(tmp_path), val_fraction=0.25)
    assert counts_of(source, "val") == {"a": 50, "b": 50}
    assert counts_of(source, "train") == {"a": 150, "b": 150}
    assert set(used(source, "val")) != set(
        used(open_source(tmp_path, val_fraction=0.25, seed=1), "val")
    )


def test_new_images_and_classes_move_hardly_any_image(tmp_path):
    few = set(used(open_source(many(tmp_path / "few"), val_fraction=0.25), "val"))
    more = many(tmp_path / "more", images=220, classes="abc")
    now = set(used(open_source(more, val_fraction=0.25), "val"))
    assert len(few - now) <= 10
    assert len(now & few) >= 90


def test_every_class_of_two_images_or_more_keeps_one_back_and_one_to_train_on(tmp_path):
    counts = {"a": 1, "b": 2, "c": 3, "d": 10, "e": 500}
    names = [f"{c}/{i}.jpg" for c, images in counts.items() for i in range(images)]
    folder = write(tmp_path, *names)
    (folder / "nothing").mkdir()
    source = open_source(folder)
    assert counts_of(source, "val") == {"b": 1, "c": 1, "d": 1, "e": 50}
    assert counts_of(source, "train") == {"a": 1, "b": 1, "c": 2, "d": 9, "e": 450}
    assert source.remarks[0].startswith("There is no validation split: 53 of 516 images are held")
    assert source.remarks[1].endswith("no image of it is held out: 'a'.")
    assert (skipped(source, "train"), skipped(source, "val")) == ({"nothing": "empty_class"}, {})
    nearly_all = open_source(folder, val_fraction=0.999)
    assert counts_of(nearly_all, "train") == {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}
    assert counts_of(open_source(folder, val_fraction=1e-9), "val") == dict.fromkeys("bcde", 1)


def test_ten_classes_of_ten_images_hold_one_of_each_out(tmp_path):
    source = open_source(many(tmp_path, classes="abcdefghij", images=10))
    assert counts_of(source, "val") == dict.fromkeys("abcdefghij", 1)
    assert skipped(source, "val") == {}


def test_where_every_class_has_one_image_nothing_is_held_out(tmp_path):
    source = open_source(write(tmp_path, "a/1.jpg", "b/1.jpg"))
    assert source.splits == ("train",)
    assert source.division is None
    assert "no class has a second image to hold out" in source.remarks[0]


def test_a_class_may_be_called_train(tmp_path):
    source = open_source(write(tmp_path, *(f"{c}/{i}" for c in ("train", "car") for i in range(4))))
    assert source.classes == ("car", "train")
    assert counts_of(source, "val") == {"car": 1, "train": 1}


def test_files_outside_classes_are_named_once(tmp_path):
    source = open_source(many(write(tmp_path, "stray.jpg", "other.jpg"), images=5))
    assert skipped(source, "train") == dict.fromkeys(("stray.jpg", "other.jpg"), "no_class")
    assert skipped(source, "val") == {}


def test_the_two_parts_of_a_divided_folder_make_the_whole(tmp_path):
    source = open_source(many(tmp_path))
    train, val = used(source, "train"), used(source, "val")
    assert not train.keys() & val.keys()
    assert len(train) + len(val) == 400
    assert "40 of 400 images are held out, 10 % of each class" in source.remarks[0]


def test_images_that_are_measured_are_not_divided(tmp_path):
    source = open_source(many(tmp_path / "flat", images=5), evaluation_split="val")
    assert source.splits == ("val",)
    assert counts_of(source, "val") == {"a": 5, "b": 5}
    assert source.remarks == ("It has no splits: all its images are evaluated.",)
    split = open_source(split_folders(tmp_path / "split"), evaluation_split="val")
    assert split.splits == ("train", "val")
    only_train = open_source(
        write(tmp_path / "t", "train/a/1", "train/b/1"), evaluation_split="val"
    )
    assert only_train.splits == ("train",)
    tested = write(tmp_path / "tested", "train/a/1", "train/b/1", "test/a/1")
    assert open_source(tested, evaluation_split="val").splits == ("train", "val")
    assert open_source(tested, evaluation_split="test").splits == ("train", "test")


def test_nothing_is_held_out_where_nothing_is_asked_for(tmp_path):
    source = open_source(many(tmp_path, images=20), val_fraction=0.0)
    assert source.splits == ("train",)
    assert len(used(source, "train")) == 40


@given(order=st.permutations(range(40)), repeated=st.lists(st.integers(0, 39), max_size=20))
def test_the_division_is_the_same_on_every_machine_and_in_every_order(order, repeated):
    division = HoldOut(0.1, seed=7).divide(("cat", f"{i}.jpg") for i in [*order, *repeated])
    chosen = [i for i in range(40) if division.find_split("cat", f"{i}.jpg") == "val"]
    assert chosen == [3, 11, 33, 35]
    assert division.held_out == 4


def test_eight_bytes_an_image_are_kept_to_choose():
    tracemalloc.start()
    HoldOut().divide(("cat", f"{i}") for i in range(30_000))
    assert tracemalloc.get_traced_memory()[1] < 30_000 * 40
    tracemalloc.stop()


def test_a_fraction_beyond_one_is_refused():
    with pytest.raises(ValueError, match="must be at least 0 and below 1"):
        open_source("digits", val_fraction=1.5)


def test_one_class_alone_is_remarked_upon(tmp_path):
    assert "only one class" in open_source(write(tmp_path, "cat/1.jpg")).remarks[0]


def test_a_missing_path_says_what_to_give(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing at .*nowhere. Give a folder"):
        open_source(tmp_path / "nowhere")


def test_an_empty_folder_says_what_was_looked_for(tmp_path):
    with pytest.raises(ValueError, match=r"is empty. Looked for:\n.*train/CLASS"):
        open_source(tmp_path)


def test_images_without_classes_say_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match=r"holds '1.jpg', '2.jpg' but no folders"):
        open_source(write(tmp_path, "1.jpg", "2.jpg"))


def test_split_folders_without_classes_say_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match="no class folders inside"):
        open_source(write(tmp_path, "train/1.jpg", "val/2.jpg"))


def test_a_pipe_is_no_source(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipes and devices are not read"):
        open_source(tmp_path / "pipe")


def test_a_pack_is_no_source(tmp_path):
    with pytest.raises(ValueError, match="is a pack already"):
        open_source(write(tmp_path, "pack.json", "train/labels.npy"))


def test_an_unknown_split_names_those_there_are(tmp_path):
    with pytest.raises(ValueError, match=r"has no split 'dev', but only train, val"):
        open_source(split_folders(tmp_path)).entries("dev")


FILE_NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=20
).filter(lambda name: name not in (".", ".."))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=FILE_NAMES)
def test_every_file_is_used_or_named(tmp_path_factory, name):
    folder = split_folders(tmp_path_factory.mktemp("names"))
    write(folder, f"train/cat/{name}")
    items = list(open_source(folder).entries("train"))
    assert f"train/cat/{name}" in {item.name for item in items}
    assert all(isinstance(item, Entry | Skipped) for item in items)
