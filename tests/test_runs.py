"""The folder of a run: locked while it is trained in, left as it was by a training that failed."""

import json
import os
import shutil

import pytest

from alexnet.files import LOCK, lock_folder
from alexnet.runs import (
    RunFolder,
    check_folder,
    check_free,
    describe_pack,
    find_checkpoint_to_resume,
    read_environment,
    read_pack_description,
)


class TrainingError(Exception):
    """A training fails."""


def fail_in(run, *names, used=False):
    """Begin a training in a folder, write these files, and fail."""
    with RunFolder(run) as folder:
        for name in names:
            (run / name).parent.mkdir(exist_ok=True)
            (run / name).touch()
        folder.used = used
        raise TrainingError


def test_a_folder_is_made_and_locked_and_stays_without_its_lock(tmp_path):
    run = tmp_path / "runs" / "run"
    with RunFolder(run):
        assert os.listdir(run) == [LOCK]
        with pytest.raises(BlockingIOError, match="another process is training in"):
            RunFolder(run).__enter__()
        (run / "log.jsonl").touch()
    assert os.listdir(run) == ["log.jsonl"]


def test_a_training_that_fails_before_its_first_step_leaves_no_folder(tmp_path):
    with pytest.raises(TrainingError):
        fail_in(tmp_path / "runs" / "run", "recipe.json", "tensorboard/events")
    assert os.listdir(tmp_path) == []


def test_a_training_that_fails_leaves_what_was_in_the_folder_before(tmp_path):
    (tmp_path / "recipe.json").touch()
    with pytest.raises(TrainingError):
        fail_in(tmp_path, "recipe.json", "log.jsonl")
    assert os.listdir(tmp_path) == ["recipe.json"]


def test_a_training_that_fails_leaves_what_others_have_put_in_its_folder(tmp_path):
    with pytest.raises(TrainingError):
        fail_in(tmp_path / "run", "recipe.json", "notes.txt")
    assert os.listdir(tmp_path / "run") == ["notes.txt"]


def test_a_training_that_fails_after_a_step_keeps_its_files(tmp_path):
    with pytest.raises(TrainingError):
        fail_in(tmp_path / "run", "recipe.json", used=True)
    assert os.listdir(tmp_path / "run") == ["recipe.json"]


def test_a_folder_of_a_run_may_be_trained_in_and_any_other_may_not(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    with pytest.raises(FileExistsError, match=r"is inside .* a folder of images"):
        check_folder(images / "run", images)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="is a file"):
        check_folder(tmp_path / "file", images)
    run = tmp_path / "run"
    check_folder(run, images)
    run.mkdir()
    (run / ".hidden").touch()
    check_folder(run, images)
    (run / "cat.jpg").touch()
    with pytest.raises(FileExistsError, match=r"holds no run \(there is 'cat.jpg'\)"):
        check_folder(run, images)
    (run / "log.jsonl").touch()
    check_folder(run, images)
    check_free(run)
    (run / "last.safetensors").touch()
    with pytest.raises(FileExistsError, match="already holds a training"):
        check_free(run)


def test_a_folder_that_is_locked_may_be_a_run_that_has_written_nothing_yet(tmp_path):
    with lock_folder(tmp_path, "training"):
        (tmp_path / "unknown").touch()
        check_folder(tmp_path, tmp_path / "images")


def test_the_last_checkpoint_is_resumed_before_the_best(tmp_path):
    assert find_checkpoint_to_resume(tmp_path / "missing") is None
    assert find_checkpoint_to_resume(tmp_path) is None
    (tmp_path / "log.jsonl").touch()
    assert find_checkpoint_to_resume(tmp_path) is None
    for name in ("best", "last"):
        (tmp_path / f"{name}.safetensors").touch()
        assert find_checkpoint_to_resume(tmp_path) == tmp_path / f"{name}.safetensors"
    best = tmp_path / "best.safetensors"
    assert find_checkpoint_to_resume(best) == best
    with pytest.raises(FileNotFoundError, match="there is no checkpoint file"):
        find_checkpoint_to_resume(tmp_path / "other.safetensors")


@pytest.mark.parametrize("content", [None, b"{", b"[1]", b"\xff\xfe", b'"text"'])
def test_a_missing_or_damaged_environment_is_empty(tmp_path, content):
    if content is not None:
        (tmp_path / "environment.json").write_bytes(content)
    assert read_environment(tmp_path) == {}
    assert read_pack_description(tmp_path) == {}


def test_only_texts_that_may_be_paths_are_taken_from_the_description_of_a_pack(tmp_path):
    pack = {"path": "/a", "relative": "a\0b", "checksum": 3}
    (tmp_path / "environment.json").write_text(json.dumps({"pack": pack, "threads": 2}))
    assert read_environment(tmp_path)["threads"] == 2
    assert read_pack_description(tmp_path) == {"path": "/a"}


def test_a_pack_is_described_for_this_machine_and_for_copies_of_both(tmp_path, monkeypatch):
    (tmp_path / "runs" / "run").mkdir(parents=True)
    (tmp_path / "x.pack").mkdir()
    monkeypatch.chdir(tmp_path)
    pack, run = tmp_path.relative_to(tmp_path) / "x.pack", tmp_path / "runs" / "run"
    described = describe_pack(pack, "abc", run)
    assert described["path"] == str(tmp_path / "x.pack")
    assert described["checksum"] == "abc"
    shutil.copytree(tmp_path, tmp_path.with_name("copy"))
    copy = tmp_path.with_name("copy")
    assert (copy / "runs" / "run" / described["relative"]).resolve() == (copy / "x.pack").resolve()
