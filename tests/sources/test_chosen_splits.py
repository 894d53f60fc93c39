"""Validation and test images chosen by groups, or named in lists."""

from collections import defaultdict

import pytest
from tests.sources.source_files import used, write

from alexnet.packing.pack import pack_images
from alexnet.sources import open_source

PEOPLE = [f"{c}/{p}_{i}.jpg" for c in ("cat", "dog") for p in "stuvwxyz" for i in range(5)]


def sides(source, find_group):
    """The splits on which each group is."""
    found = defaultdict(set)
    for split in source.splits:
        for name in used(source, split):
            found[find_group(name)].add(split)
    return found


def write_list(path, names):
    path.write_text("\n".join(names))
    return path


def test_the_same_person_is_never_on_both_sides(tmp_path):
    folder = write(tmp_path / "photos", *PEOPLE)
    for seed in range(20):
        source = open_source(folder, group_by=r"/(.)_", val_fraction=0.25, seed=seed)
        found = sides(source, lambda name: name.split("/")[1][0])
        assert all(len(splits) == 1 for splits in found.values())
        assert len(used(source, "val")) == 20
        assert "2 of 8 groups" in source.remarks[0]
    assert source.division["group_by"] == r"/(.)_"


def test_groups_within_classes_leave_images_of_each_class_for_training(tmp_path):
    folder = write(tmp_path / "photos", *PEOPLE, "fox/a_1.jpg", "fox/a_2.jpg")
    source = open_source(folder, group_by=r"^.*_")
    train, val = (set(used(source, split).values()) for split in ("train", "val"))
    assert (train, val) == ({"cat", "dog", "fox"}, {"cat", "dog"})
    assert any("no group is held out: 'fox'" in remark for remark in source.remarks)


def test_a_column_of_a_list_names_the_groups(tmp_path):
    write(tmp_path, *PEOPLE)
    lines = [f"{name},{name[:3]},{name[4]}" for name in PEOPLE]
    for ending, rows in (("csv", ["path,label,Person", *lines]), ("tsv", None)):
        path = tmp_path / f"list.{ending}"
        text = "\n".join(rows or ["path,label,Person", *lines])
        path.write_text(text if ending == "csv" else text.replace(",", "\t"))
        source = open_source(path, group_by="person", val_fraction=0.25)
        assert len(used(source, "val")) == 20
        assert all(len(x) == 1 for x in sides(source, lambda name: name[4]).values())
    by_pattern = open_source(tmp_path / "list.csv", group_by="/(.)_", val_fraction=0.25)
    assert len(used(by_pattern, "val")) == 20


def test_groups_that_cannot_be_are_errors(tmp_path):
    folder = write(tmp_path / "photos", *PEOPLE)
    for pattern, message in (
        ("(", "no regular expression"),
        ("nobody", "finds no group in any image"),
        (r"\.jpg", "into one group"),
    ):
        with pytest.raises(ValueError, match=message):
            open_source(folder, group_by=pattern)
    divided = write(tmp_path / "divided", "train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg")
    with pytest.raises(ValueError, match="has a val split of its own"):
        open_source(divided, group_by="a")
    with pytest.raises(ValueError, match="splits of its own"):
        open_source("digits", group_by="a")


def test_lists_name_validation_and_test_images(tmp_path):
    folder = write(tmp_path / "photos", *PEOPLE)
    val = write_list(tmp_path / "val.txt", ["cat/s_0.jpg", "./dog/s_1.jpg", "", "# old", "dog/t_2"])
    test = write_list(tmp_path / "test.txt", ["train/cat/u_0.jpg", "dog/u_0.jpg", "gone.jpg"])
    source = open_source(folder, val_list=val, test_list=test)
    assert source.splits == ("train", "val", "test")
    assert set(used(source, "val")) == {"cat/s_0.jpg", "dog/s_1.jpg", "dog/t_2.jpg"}
    assert set(used(source, "test")) == {"cat/u_0.jpg", "dog/u_0.jpg"}
    assert len(used(source, "train")) == len(PEOPLE) - 5
    assert "3 images" in source.remarks[0]
    assert "1 of its names are those of no image: 'gone.jpg'" in source.remarks[1]


def test_without_a_list_of_validation_images_some_of_the_rest_are_held_out(tmp_path):
    folder = write(tmp_path / "photos", *PEOPLE)
    test = write_list(tmp_path / "test.txt", ["cat/u_0.jpg", "dog/u_0.jpg"])
    source = open_source(folder, test_list=test, val_fraction=0.25)
    assert (len(used(source, "test")), len(used(source, "val"))) == (2, 20)
    assert source.division["share"] == 0.25


def test_lists_that_cannot_be_are_errors(tmp_path):
    folder = write(tmp_path / "photos", *PEOPLE, "cat/1.jpg", "dog/1.jpg")
    for names, message in (
        ([], "names no image"),
        (["x.jpg"], r"has 1 name, as 'x.jpg', and none is that of an image"),
        (["1.jpg"], r"stands for 'cat/1.jpg' and for 'dog/1.jpg'"),
    ):
        with pytest.raises(ValueError, match=message):
            open_source(folder, val_list=write_list(tmp_path / "val.txt", names))
    both = write_list(tmp_path / "both.txt", ["cat/1.jpg"])
    with pytest.raises(ValueError, match="for validation and for tests"):
        open_source(folder, val_list=both, test_list=both)
    with pytest.raises(FileNotFoundError, match="list of names"):
        open_source(folder, val_list=tmp_path / "none.txt")
    with pytest.raises(ValueError, match="one or the other"):
        open_source(folder, val_list=both, group_by="x")


def test_a_pack_follows_a_list_that_changes(tmp_path):
    from tests.packing.packing_sources import pixels, png

    for seed, name in enumerate(PEOPLE[:50:3]):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(pixels(seed)))
    names = PEOPLE[:50:3]
    options = {"size": 8, "processes": 1, "val_list": tmp_path / "val.txt"}
    for n in (2, 5):
        write_list(tmp_path / "val.txt", names[:n])
        made = pack_images(tmp_path / "photos", tmp_path / "pack", **options)
        assert sorted(made.splits["val"].names) == sorted(names[:n])


def test_lists_that_other_programs_wrote_are_understood(tmp_path, monkeypatch):
    folder = write(tmp_path / "photos", *PEOPLE, "cat/a, b.jpg")
    monkeypatch.chdir(tmp_path)
    names = ["cat/s_0.jpg", "dog/s_1.jpg", "cat/a, b.jpg"]
    path = tmp_path / "val.txt"
    rows = [f'{number};"{name}";cat' for number, name in enumerate(names)]
    for text in (
        "\r\n".join(names),
        "\n".join(f'"{name}"' for name in names),
        "\n".join(str(folder / name) for name in names),
        "\n".join(f"photos/{name}" for name in names),
        "\n".join("C:\\me\\photos\\" + name.replace("/", "\\") for name in names),
        "path,label\n" + "\n".join(f'"{name}",cat' for name in names),
        "id;File\n".replace("File", "File;label") + "\n".join(rows),
        "\n".join(f"{name}\tcat" for name in names),
        "\n".join([*names, *names]),
    ):
        for encoding in ("utf-8", "utf-8-sig", "utf-16"):
            path.write_bytes(text.encode(encoding))
            source = open_source(folder, val_list=path)
            assert set(used(source, "val")) == set(names), text
            assert source.remarks == (f"Named for validation in {path}: 3 images.",), text


def test_a_list_in_another_folder_may_have_paths_from_there(tmp_path):
    folder = write(tmp_path / "photos", *PEOPLE)
    (tmp_path / "lists").mkdir()
    path = write_list(tmp_path / "lists" / "val.txt", ["../photos/cat/s_0.jpg"])
    assert set(used(open_source(folder, val_list=path), "val")) == {"cat/s_0.jpg"}


def test_a_list_of_which_nothing_is_found_is_told_how_an_image_is_called(tmp_path):
    folder = write(tmp_path / "photos", *PEOPLE)
    path = write_list(tmp_path / "val.txt", ["Cat/S_0.jpg"])
    with pytest.raises(ValueError, match=r"images, as '(cat|dog)/"):
        open_source(folder, val_list=path)
