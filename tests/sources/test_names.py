"""Remarks on class names that are easily confused."""

from tests.sources.source_files import write

from alexnet.sources import open_source


def test_a_remark_mentions_classes_that_differ_only_in_case_or_unicode_form(tmp_path):
    names = ["Cat", "cat", "caf\u00e9", "cafe\u0301"]
    source = open_source(write(tmp_path, *(f"train/{n}/1" for n in names), "val/cat/2"))
    assert set(source.classes) == set(names)
    assert (
        "Classes 'Cat', 'cat' differ only in case or Unicode form; they are kept apart."
        in source.remarks
    )
    assert any("'cafe\\u0301', 'caf\\xe9' differ only in" in remark for remark in source.remarks)


def test_a_remark_mentions_that_numbers_are_sorted_as_text(tmp_path):
    source = open_source(write(tmp_path, "1/a", "2/a", "10/a"))
    assert source.classes == ("1", "10", "2")
    assert any("sorted as text" in remark for remark in source.remarks)


def test_caltechs_background_stays_a_class_and_a_remark_mentions_it(tmp_path):
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
