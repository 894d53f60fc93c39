"""What a path holds, and the errors for paths that hold no source."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.sources.source_files import split_folders, write

from alexnet.sources import Entry, Skipped, open_source


def test_a_remark_mentions_that_there_is_only_one_class(tmp_path):
    assert "only one class" in open_source(write(tmp_path, "cat/1.jpg")).remarks[0]


def test_a_missing_path_says_what_to_give(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist. Give a folder"):
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


def test_a_pipe_is_an_error(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipes and devices are not read"):
        open_source(tmp_path / "pipe")


def test_a_pack_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="is a pack already"):
        open_source(write(tmp_path, "pack.json", "train/labels.npy"))


def test_the_error_for_an_unknown_split_names_the_splits(tmp_path):
    with pytest.raises(ValueError, match=r"has no split 'dev', but only train, val"):
        open_source(split_folders(tmp_path)).entries("dev")


FILE_NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=20
).filter(lambda name: name not in (".", ".."))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=FILE_NAMES)
def test_every_file_is_used_or_reported(tmp_path_factory, name):
    folder = split_folders(tmp_path_factory.mktemp("names"))
    write(folder, f"train/cat/{name}")
    items = list(open_source(folder).entries("train"))
    assert f"train/cat/{name}" in {item.name for item in items}
    assert all(isinstance(item, Entry | Skipped) for item in items)
