"""Folders of classes on disk, with everything that people and systems leave in them."""

import pytest
from tests.sources.source_files import skipped, split_folders, used, write

from alexnet.sources import open_source


def test_the_folders_in_train_are_the_classes(tmp_path):
    source = open_source(split_folders(tmp_path))
    assert (source.kind, source.classes) == ("folder", ("cat", "dog"))
    assert source.splits == ("train", "val")
    assert used(source, "train") == {"train/cat/1.jpg": "cat", "train/dog/2.jpg": "dog"}
    assert used(source, "val") == {"val/cat/3.jpg": "cat", "val/dog/4.jpg": "dog"}
    assert source.wordnet_ids is None
    assert not source.remarks


@pytest.mark.parametrize("name", ["valid", "Validation", "test"])
def test_validation_folders_may_have_other_names(tmp_path, name):
    source = open_source(write(tmp_path, "Train/a/1", "Train/b/2", f"{name}/a/3", f"{name}/b/4"))
    assert source.splits == ("train", "val")
    assert used(source, "val") == {f"{name}/a/3": "a", f"{name}/b/4": "b"}


def test_a_test_split_without_classes_is_unlabeled(tmp_path):
    source = open_source(split_folders(tmp_path, "test/5.jpg"))
    assert source.splits == ("train", "val", "test")
    assert used(source, "test") == {"test/5.jpg": "?"}
    assert skipped(source, "test") == {}


def test_two_folders_for_one_split_are_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"several folders for val: 'val', 'valid'. Keep one"):
        open_source(split_folders(tmp_path, "valid/cat/1.jpg"))


def test_folders_named_by_wordnet_ids_keep_the_ids(tmp_path):
    names = "train/n01440764/a", "train/n02102040/b", "val/n01440764/c"
    source = open_source(write(tmp_path, *names))
    assert source.wordnet_ids == source.classes == ("n01440764", "n02102040")


def test_folders_that_only_hold_the_data_set_are_passed_through(tmp_path):
    split_folders(tmp_path / "imagenette2" / "inner")
    assert used(open_source(tmp_path), "val")["imagenette2/inner/val/cat/3.jpg"] == "cat"


def test_a_folder_train_next_to_other_classes_is_a_class(tmp_path):
    source = open_source(write(tmp_path, "train/1.jpg", "plane/2.jpg", "car/3.jpg"))
    assert source.classes == ("car", "plane", "train")


def test_files_deep_inside_a_class_belong_to_it(tmp_path):
    source = open_source(split_folders(tmp_path, "train/cat/2019/may/5.jpg"))
    assert used(source, "train")["train/cat/2019/may/5.jpg"] == "cat"


def test_a_class_that_train_lacks_is_reported_and_not_used(tmp_path):
    source = open_source(split_folders(tmp_path, "val/cow/5.jpg", "train/hen/6.jpg"))
    assert skipped(source, "val") == {"val/cow/5.jpg": "unknown_class", "val/hen": "empty_class"}
    assert source.remarks == (
        "In val but not in train, so not used: 'cow'.",
        "In train but not in val: 'hen'.",
    )


def test_an_empty_class_stays_a_class_and_is_reported(tmp_path):
    (split_folders(tmp_path) / "train" / "empty").mkdir()
    source = open_source(tmp_path)
    assert source.classes == ("cat", "dog", "empty")
    assert skipped(source, "train") == {"train/empty": "empty_class"}


def test_hidden_names_and_annotations_are_reported_and_not_used(tmp_path):
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


def test_images_outside_the_classes_are_reported(tmp_path):
    assert skipped(open_source(split_folders(tmp_path, "train/0.jpg")), "train") == {
        "train/0.jpg": "no_class"
    }


def test_a_remark_mentions_validation_images_without_classes(tmp_path):
    source = open_source(write(tmp_path, "train/a/1", "train/b/2", "val/3.jpg"))
    assert source.remarks == ("The images in val are in no class folders, so they are not used.",)
    assert skipped(source, "val") == {"val/3.jpg": "no_class"}


def test_a_remark_mentions_folders_next_to_the_splits(tmp_path):
    assert open_source(split_folders(tmp_path, "boxes/1.xml")).remarks == (
        "Folders next to the splits are not used: 'boxes'.",
    )
