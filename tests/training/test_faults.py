"""Trainings in which something goes wrong: missing folders, wrong recipes, signals, full memory."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import sys

import pytest
import torch
from tests.training.test_train import Listener, assert_same

from alexnet import checkpoint
from alexnet.recipes.recipe import Recipe
from alexnet.training.log import Screen
from alexnet.training.loop import Diverged
from alexnet.training.train import train
from alexnet.training.transfer import Transfer


class Broken(Screen):
    """A screen whose reader is gone."""

    def say(self, text):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    def progress(self, progress):
        raise SystemExit(1)  # as rich does


@pytest.fixture
def one(quick) -> Recipe:
    return dataclasses.replace(quick, epochs=1)


def test_a_screen_that_fails_does_not_end_the_training(tiny_pack, one, tmp_path):
    run = tmp_path / "run"
    outcome = train(tiny_pack, run, one, device="cpu", log_seconds=0, screen=Broken())
    assert outcome.saved
    assert checkpoint.load(run / "last.safetensors").position.epoch == 1


def test_an_epoch_is_saved_before_it_is_shown(tiny_pack, one, tmp_path):
    saved = []

    class Looks(Screen):
        def say(self, text):
            if text.startswith("epoch"):
                saved.append((tmp_path / "run" / "best.safetensors").exists())

    train(tiny_pack, tmp_path / "run", one, device="cpu", screen=Looks())
    assert saved == [True]


def test_a_run_without_a_checkpoint_begins_again_from_the_same_trained_network(
    tiny_pack, one, tmp_path
):
    source = train(tiny_pack, tmp_path / "source", one, device="cpu").run
    frozen = dataclasses.replace(one, rates=("conv1=0",))
    init = Transfer(source, take=("conv1",))
    straight = train(tiny_pack, tmp_path / "straight", frozen, device="cpu", init=init).run
    run = tmp_path / "killed"
    shutil.copytree(straight, run)
    for name in ("last", "best"):
        (run / f"{name}.safetensors").unlink()
    listener = Listener()
    train(tiny_pack, run, frozen, device="cpu", resume=run, screen=listener)
    assert_same(run / "last.safetensors", straight / "last.safetensors")
    assert "no checkpoint yet" in listener.messages[0]


def test_resuming_in_a_missing_folder_begins_a_training_there(tiny_pack, one, tmp_path):
    run = tmp_path / "new"
    assert train(tiny_pack, run, one, device="cpu", resume=run).position.epoch == 1


def test_resuming_refuses_other_folders_and_missing_files(tiny_pack, one, tmp_path):
    (tmp_path / "cat.jpg").touch()
    with pytest.raises(FileExistsError, match=r"holds no run \(there is 'cat.jpg'\)"):
        train(tiny_pack, tmp_path, one, device="cpu", resume=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"is no run: .* but cat.jpg"):
        train(tiny_pack, tmp_path / "run", one, device="cpu", resume=tmp_path)
    missing = tmp_path / "last.safetensors"
    with pytest.raises(FileNotFoundError, match="no checkpoint file"):
        train(tiny_pack, tmp_path / "run", one, device="cpu", resume=missing)
    assert os.listdir(tmp_path) == ["cat.jpg"]


def test_resuming_from_another_run_does_not_replace_the_run_in_the_folder(
    tiny_pack, quick, one, tmp_path
):
    first = train(tiny_pack, tmp_path / "first", one, device="cpu").run
    other = train(tiny_pack, tmp_path / "other", one, device="cpu").run
    with pytest.raises(FileExistsError, match="already holds a training"):
        train(tiny_pack, other, quick, device="cpu", resume=first)


@pytest.mark.parametrize(
    "change",
    [
        {"network": "alexnett"},
        {"crop": 40},
        {"variations": ("towers=1",)},
        {"rates": ("conv9=0",)},
        {"decays": ("conv9=0",)},
    ],
    ids=str,
)
def test_what_cannot_be_trained_leaves_no_folder(tiny_pack, one, tmp_path, change):
    wrong = dataclasses.replace(one, **change)
    with pytest.raises(ValueError, match=r"."):
        train(tiny_pack, tmp_path / "runs" / "run", wrong, device="cpu")
    assert not list(tmp_path.iterdir())


def test_a_missing_init_leaves_the_folder_as_it_was(tiny_pack, one, tmp_path):
    (tmp_path / ".notes").touch()
    with pytest.raises(FileNotFoundError, match="no trained network"):
        train(tiny_pack, tmp_path, one, device="cpu", init=tmp_path / "none")
    assert os.listdir(tmp_path) == [".notes"]


def test_divergence_names_only_a_checkpoint_that_exists(tiny_pack, quick, tmp_path, monkeypatch):
    wild = dataclasses.replace(quick, learning_rate=1e20, schedule="constant")
    with pytest.raises(Diverged, match="none was saved before"):
        train(tiny_pack, tmp_path / "run", wild, device="cpu")
    with pytest.raises(Diverged, match=r"the last good checkpoint is .*saved/last.safetensors"):
        train(tiny_pack, tmp_path / "saved", wild, device="cpu", save_minutes=-1)


def test_running_out_of_memory_suggests_a_smaller_batch(tiny_pack, one, tmp_path, monkeypatch):
    def full(self, images, labels):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")

    monkeypatch.setattr("alexnet.training.step.TrainingStep.__call__", full)
    with pytest.raises(MemoryError, match=r"16 images of 28×28 .* 2 GiB\).*--batch-size 8"):
        train(tiny_pack, tmp_path / "run", one, device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_signal_during_the_last_save_is_not_lost(tiny_pack, one, tmp_path):
    listener = Listener()
    listener.say = lambda text: text.startswith("epoch") and os.kill(os.getpid(), signal.SIGTERM)
    outcome = train(tiny_pack, tmp_path / "run", one, device="cpu", screen=listener)
    assert outcome.signal == signal.SIGTERM
    assert outcome.saved


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems refuse such names")
def test_a_run_and_a_pack_may_be_in_folders_whose_names_are_not_text(tiny_pack, one, tmp_path):
    from alexnet.evaluation.scores import choose_scores_path, evaluate_run, write_scores
    from alexnet.packs.pack import open_pack

    strange = tmp_path / os.fsdecode(b"\xff\xfe caf\xe9")
    shutil.copytree(tiny_pack.path, strange / "pack")
    listener = Listener()
    pack, run = open_pack(strange / "pack"), strange / "run"
    train(pack, run, one, device="cpu", log_seconds=0, screen=listener)
    usual = "epoch 1/1", "agree with their checksums"
    assert [text for text in listener.messages if not any(part in text for part in usual)] == []
    scores = evaluate_run(run, device="cpu")
    write_scores(scores, choose_scores_path(scores))
    assert json.loads((run / "scores.json").read_text("ascii"))["seen"] == 60


def test_a_training_killed_while_it_wrote_its_sample_images_is_resumed(tiny_pack, one, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / ".samples.safetensors.partial").write_bytes(b"half")
    train(tiny_pack, run, one, device="cpu", resume=run)
    assert {"last.safetensors", "samples.safetensors"} <= {path.name for path in run.iterdir()}
    assert not (run / ".samples.safetensors.partial").exists()
