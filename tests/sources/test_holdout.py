"""Validation images that are held out of each class."""

import tracemalloc
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sources.source_files import skipped, split_folders, used, write

from alexnet.sources import open_source
from alexnet.sources.holdout import HoldOut


def many(folder, classes="ab", images=200):
    return write(folder, *(f"{c}/{i}.jpg" for c in classes for i in range(images)))


def counts_of(source, split):
    return Counter(used(source, split).values())


def test_the_same_fraction_of_every_class_is_held_out(tmp_path):
    source = open_source(many(tmp_path), val_fraction=0.25)
    assert counts_of(source, "val") == {"a": 50, "b": 50}
    assert counts_of(source, "train") == {"a": 150, "b": 150}
    assert set(used(source, "val")) != set(
        used(open_source(tmp_path, val_fraction=0.25, seed=1), "val")
    )


def test_new_images_and_classes_change_the_split_of_hardly_any_image(tmp_path):
    few = set(used(open_source(many(tmp_path / "few"), val_fraction=0.25), "val"))
    more = many(tmp_path / "more", images=220, classes="abc")
    now = set(used(open_source(more, val_fraction=0.25), "val"))
    assert len(few - now) <= 10
    assert len(now & few) >= 90


def test_a_class_of_two_or_more_images_has_one_for_validation_and_one_for_training(tmp_path):
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


def test_one_of_ten_images_of_each_class_is_held_out(tmp_path):
    source = open_source(many(tmp_path, classes="abcdefghij", images=10))
    assert counts_of(source, "val") == dict.fromkeys("abcdefghij", 1)
    assert skipped(source, "val") == {}


def test_nothing_is_held_out_of_classes_of_one_image(tmp_path):
    source = open_source(write(tmp_path, "a/1.jpg", "b/1.jpg"))
    assert source.splits == ("train",)
    assert source.division is None
    assert "no class has a second image to hold out" in source.remarks[0]


def test_a_class_may_be_called_train(tmp_path):
    source = open_source(write(tmp_path, *(f"{c}/{i}" for c in ("train", "car") for i in range(4))))
    assert source.classes == ("car", "train")
    assert counts_of(source, "val") == {"car": 1, "train": 1}


def test_files_outside_classes_are_reported_once(tmp_path):
    source = open_source(many(write(tmp_path, "stray.jpg", "other.jpg"), images=5))
    assert skipped(source, "train") == dict.fromkeys(("stray.jpg", "other.jpg"), "no_class")
    assert skipped(source, "val") == {}


def test_training_and_held_out_images_together_are_all_images(tmp_path):
    source = open_source(many(tmp_path))
    train, val = used(source, "train"), used(source, "val")
    assert not train.keys() & val.keys()
    assert len(train) + len(val) == 400
    assert "40 of 400 images are held out, 10 % of each class" in source.remarks[0]


def test_nothing_is_held_out_of_images_that_are_only_evaluated(tmp_path):
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


def test_nothing_is_held_out_for_a_fraction_of_zero(tmp_path):
    source = open_source(many(tmp_path, images=20), val_fraction=0.0)
    assert source.splits == ("train",)
    assert len(used(source, "train")) == 40


@given(order=st.permutations(range(40)), repeated=st.lists(st.integers(0, 39), max_size=20))
def test_the_held_out_images_are_the_same_on_every_machine_and_in_every_order(order, repeated):
    division = HoldOut(0.1, seed=7).divide(("cat", f"{i}.jpg") for i in [*order, *repeated])
    chosen = [i for i in range(40) if division.find_split("cat", f"{i}.jpg") == "val"]
    assert chosen == [3, 11, 33, 35]
    assert division.held_out == 4


def test_choosing_takes_eight_bytes_per_image():
    tracemalloc.start()
    HoldOut().divide(("cat", f"{i}") for i in range(30_000))
    assert tracemalloc.get_traced_memory()[1] < 30_000 * 40
    tracemalloc.stop()


def test_a_fraction_of_one_or_more_is_an_error():
    with pytest.raises(ValueError, match="must be at least 0 and below 1"):
        open_source("digits", val_fraction=1.5)
