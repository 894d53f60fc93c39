"""Lists of images in CSV and JSONL files, in the forms that people write."""

import json
import os

import pytest
from tests.sources.source_files import skipped, used, write

from alexnet.sources import Skipped, open_source

IMAGES = ("images/1.jpg", "images/2.jpg", "images/3.jpg", "images/4.jpg")
SPLITS = "path,label,split\nimages/1.jpg,cat,train\nimages/2.jpg,dog,train\nimages/3.jpg,cat,val\n"


def listed(folder, text, name="list.csv"):
    write(folder, *IMAGES)
    (folder / name).write_bytes(text.encode())
    return folder / name


@pytest.mark.parametrize(
    "text",
    [
        SPLITS,
        SPLITS.replace("path,label,split", "\ufeffFilename, Class ,Subset"),
        SPLITS.replace("path,label,split\n", ""),
        SPLITS.replace(",", ";").replace("\n", "\r\n"),
        SPLITS.replace(",", "\t"),
        SPLITS.replace("val", "Validation").replace("cat", '"cat"'),
        "index,split,label,path\n0,train,cat,images/1.jpg\n\n1,train,dog,images/2.jpg\n"
        "2,val,cat,images/3.jpg\n",
    ],
)
def test_a_table_is_read_whatever_its_columns_are_called(tmp_path, text):
    source = open_source(listed(tmp_path, text))
    assert (source.kind, source.classes, source.splits) == (
        "list",
        ("cat", "dog"),
        ("train", "val"),
    )
    assert used(source, "train") == {"images/1.jpg": "cat", "images/2.jpg": "dog"}
    assert used(source, "val") == {"images/3.jpg": "cat"}


@pytest.mark.parametrize(
    "rows",
    [
        [{"path": IMAGES[0], "label": 1}, {"path": IMAGES[1], "label": 0, "width": 5}],
        [{"file_name": IMAGES[0], "category": "1"}, {"file_name": IMAGES[1], "category": "0"}],
        [[IMAGES[0], 1], [IMAGES[1], 0]],
    ],
)
def test_json_lines_are_read_as_objects_and_as_lists(tmp_path, rows):
    text = "\n".join(json.dumps(row) for row in rows) + "\n\n"
    source = open_source(listed(tmp_path, text, "list.jsonl"), val_fraction=0)
    assert used(source, "train") == {"images/1.jpg": "1", "images/2.jpg": "0"}


def test_absolute_paths_and_paths_to_elsewhere_are_the_lists_own_affair(tmp_path):
    listed(tmp_path, "")
    inner = tmp_path / "lists" / "a.csv"
    inner.parent.mkdir()
    inner.write_text(f"{tmp_path}/images/1.jpg,cat\n../images/2.jpg,dog\n")
    names = used(open_source(inner, val_fraction=0), "train")
    assert list(names) == [f"{tmp_path}/images/1.jpg".lstrip("/"), "../images/2.jpg"]


def test_a_list_without_splits_is_divided(tmp_path):
    names = [f"{i}.jpg" for i in range(300)]
    write(tmp_path, *names)
    (tmp_path / "list.csv").write_text("".join(f"{name},cat\n" for name in names))
    source = open_source(tmp_path / "list.csv", val_fraction=0.2, seed=3)
    train, val = used(source, "train"), used(source, "val")
    assert len(val) == 60
    assert train.keys() | val.keys() == set(names)
    assert "60 of 300 images are held out, 20 % of each class" in source.remarks[0]
    assert "seed 3" in source.remarks[0]


def test_the_order_of_the_lines_and_lines_that_cannot_be_used_divide_nothing_else(tmp_path):
    names = [f"{c}{i}.jpg" for c in "ab" for i in range(20)]
    write(tmp_path, *names)
    lines = [f"{name},{name[0]}" for name in names]
    useless = ["gone.jpg,c", "a0.jpg,b", "a0.jpg,c", "b1.jpg,", ",a"]
    (tmp_path / "one.csv").write_text("\n".join(lines))
    (tmp_path / "two.csv").write_text("\n".join([*reversed(lines), *useless, "c1.jpg,c"]))
    one, two = (open_source(tmp_path / name, val_fraction=0.2) for name in ("one.csv", "two.csv"))
    assert used(one, "val") == used(two, "val")
    assert sorted(used(one, "val").values()) == ["a"] * 4 + ["b"] * 4
    assert skipped(two, "train").keys() >= {"gone.jpg", "a0.jpg", "line 45"}


def test_a_list_without_splits_is_measured_whole(tmp_path):
    text = "images/1.jpg,cat\nimages/2.jpg,dog\n,cat\n"
    source = open_source(listed(tmp_path, text), evaluation_split="val")
    assert (source.splits, source.division) == (("val",), None)
    assert used(source, "val") == {"images/1.jpg": "cat", "images/2.jpg": "dog"}
    assert skipped(source, "val") == {"line 3": "bad_line"}
    listed(tmp_path, SPLITS, "split.csv")
    assert open_source(tmp_path / "split.csv", evaluation_split="val").splits == ("train", "val")
    listed(tmp_path, SPLITS.replace("val", "test"), "tested.csv")
    assert open_source(tmp_path / "tested.csv", evaluation_split="val").splits == ("train", "val")
    assert open_source(tmp_path / "tested.csv", evaluation_split="test").splits == ("train", "test")


def test_a_labeled_test_split_is_measured_where_there_is_no_other(tmp_path):
    path = listed(tmp_path, SPLITS.replace("val", "test") + "images/4.jpg,cat,train\n")
    assert open_source(path).splits == ("train", "val")
    assert open_source(path, val_fraction=0.5).splits == ("train", "val", "test")


def test_a_test_split_may_be_unlabeled(tmp_path):
    source = open_source(listed(tmp_path, SPLITS + "images/4.jpg,,test\n"))
    assert source.splits == ("train", "val", "test")
    assert used(source, "test") == {"images/4.jpg": "?"}


def test_what_cannot_be_used_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    bad = "gone.jpg,cat,train\npipe.jpg,cat,train\nimages/2.jpg,cat,train\n,cat,train\n"
    source = open_source(listed(tmp_path, SPLITS + bad + "images/4.jpg,,train\n"))
    assert skipped(source, "train") == {
        "gone.jpg": "missing",
        "pipe.jpg": "not_a_file",
        "images/2.jpg": "listed_twice",
        "line 8": "bad_line",
        "images/4.jpg": "unlabeled",
    }
    assert source.remarks[-1] == "Files listed more than once: 1."


def test_a_file_in_two_splits_belongs_to_the_first_line(tmp_path):
    source = open_source(listed(tmp_path, SPLITS + "images/1.jpg,cat,val\n"))
    assert skipped(source, "val") == {"images/1.jpg": "listed_twice"}


def test_a_class_that_train_lacks_is_reported_and_not_used(tmp_path):
    source = open_source(listed(tmp_path, SPLITS + "images/4.jpg,cow,val\n"))
    assert skipped(source, "val") == {"images/4.jpg": "unknown_class"}
    assert "In val but not in train, so not used: 'cow'." in source.remarks
    assert "In train but not in val: 'dog'." in source.remarks


def test_lines_that_are_no_json_are_named(tmp_path):
    text = '{"path": "images/1.jpg", "label": "cat"}\n{"path": \n7\n' + "[" * 5000
    source = open_source(listed(tmp_path, text, "list.jsonl"), val_fraction=0)
    assert skipped(source, "train") == dict.fromkeys(("line 2", "line 3", "line 4"), "bad_line")


def test_names_that_are_not_utf8_survive(tmp_path):
    odd = os.fsdecode(b"\xff\xe9.jpg")
    write(tmp_path, odd)
    (tmp_path / "list.csv").write_bytes(os.fsencode(f"{odd},cat\n"))
    assert used(open_source(tmp_path / "list.csv", val_fraction=0), "train") == {odd: "cat"}


def test_an_unknown_split_says_where_it_stands(tmp_path):
    with pytest.raises(
        ValueError, match=r"line 5, names the split 'fold3': write train, val or test"
    ):
        open_source(listed(tmp_path, SPLITS + "images/4.jpg,cat,fold3\n"))


def test_columns_without_labels_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has the columns path, width: name"):
        open_source(listed(tmp_path, "path,width\nimages/1.jpg,5\n"))


@pytest.mark.parametrize("text", ["", "path,label\n", "images/1.jpg\n"])
def test_a_list_without_classes_says_what_to_write(tmp_path, text):
    with pytest.raises(ValueError, match="names no class for any image: write a path and a label"):
        open_source(listed(tmp_path, text))


def test_a_quote_that_is_not_closed_costs_its_own_line_only(tmp_path):
    text = 'path,label\nimages/1.jpg,cat\n"images/2.jpg,cat\nimages/3.jpg,dog\nimages/4.jpg,dog\n'
    source = open_source(listed(tmp_path, text), val_fraction=0)
    assert list(used(source, "train")) == ["images/1.jpg", "images/3.jpg", "images/4.jpg"]
    [item] = [i for i in source.entries("train") if isinstance(i, Skipped)]
    assert (item.name, item.reason) == ("line 3", "bad_line")
    assert item.detail == "opens a quote that is not closed"


@pytest.mark.parametrize("follows", ['"images/3.jpg",dog\n', "images/3.jpg,dog\n" * 9000, ""])
def test_an_open_quote_is_found_whatever_follows(tmp_path, follows):
    source = open_source(listed(tmp_path, 'images/1.jpg,cat\n"images/2.jpg,cat\n' + follows))
    named = [i for s in source.splits for i in source.entries(s) if isinstance(i, Skipped)]
    assert [i.name for i in named if i.reason == "bad_line"] == ["line 2"]
    assert ("dog" in source.classes) == bool(follows)


def test_cells_of_several_lines_and_stray_quotes_are_read(tmp_path):
    text = 'path,text,label\nimages/1.jpg,"one\ntwo ""2""\n",cat\nimages/2.jpg,5" long,cat\n'
    source = open_source(listed(tmp_path, text + '"images/3".jpg,x,cat\n'), val_fraction=0)
    assert list(used(source, "train")) == ["images/1.jpg", "images/2.jpg", "images/3.jpg"]


def test_paths_that_are_no_text_are_read_as_any_other(tmp_path):
    lines = [json.dumps({"path": name, "label": "cat"}) for name in ("a\ud800.png", "b.png")]
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    source = open_source(tmp_path / "list.jsonl", val_fraction=0.5)
    assert len([item for split in source.splits for item in source.entries(split)]) == 2
