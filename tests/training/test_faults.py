"""What goes wrong around a training: nothing of it may cost more than it has to."""

import dataclasses
import errno
import json
import os
import resource
import shutil
import signal
import sys
from contextlib import contextmanager

import pytest
import torch
from tests.training.test_train import Listener, same

from alexnet import checkpoint
from alexnet.recipes.recipe import Recipe
from alexnet.training.interrupt import Interrupt
from alexnet.training.log import RunLog, Screen
from alexnet.training.meter import Diverged
from alexnet.training.train import train
from alexnet.training.transfer import Transfer


@contextmanager
def files_of_at_most(size):
    """No file grows beyond so many bytes: a disk that is full."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


class Broken(Screen):
    """A screen whose reader is gone."""

    def say(self, text):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    def progress(self, progress):
        raise SystemExit(1)  # as rich does


@pytest.fixture
def one(quick) -> Recipe:
    return dataclasses.replace(quick, epochs=1)


def test_a_screen_that_nobody_reads_ends_no_training(tiny_pack, one, tmp_path):
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


def test_a_full_disk_costs_lines_of_the_log_and_is_said_once_each(tmp_path):
    listener = Listener()
    log = RunLog(tmp_path, listener)
    log.write("step", epoch=0, step=1, loss=1.0)
    with files_of_at_most(70):
        for step in range(2, 9):
            log.write("step", epoch=0, step=step, loss=1.0)
            log.scalars(step, train_loss=1.0)
    log.write("step", epoch=0, step=9, loss=1.0)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 9]
    assert len(listener.said) == len({text.split(":")[0] for text in listener.said}) <= 2
    assert all("Training goes on" in text for text in listener.said)


def test_the_log_of_a_folder_that_is_gone_ends_nothing(tmp_path):
    listener = Listener()
    log = RunLog(tmp_path / "gone", listener)
    log.rewind(0, 0)
    log.write("step", epoch=0, step=1)
    log.scalars(1, train_loss=1.0)
    assert 1 <= len(listener.said) <= 2


def test_a_log_with_foreign_lines_is_rewound(tmp_path):
    foreign = b'[1]\n{"epoch": "x", "step": 1}\n\xff\xfe\n7\n{"epoch": 9, "step": 0}\n{"ep'
    (tmp_path / "log.jsonl").write_bytes(b'{"epoch": 0, "step": 1}\n' + foreign)
    RunLog(tmp_path, Screen()).rewind(1, 0)
    assert (tmp_path / "log.jsonl").read_text() == '{"epoch": 0, "step": 1}\n'


def test_curves_are_those_that_tensorboard_reads_and_a_resumed_run_purges(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    RunLog(tmp_path, Screen(), done=5).scalars(6, train_loss=0.5, other=1.0)
    (file,) = (tmp_path / "tensorboard").iterdir()
    events = list(EventFileLoader(str(file)).Load())
    assert events[0].file_version == "brain.Event:2"
    assert (events[1].step, events[1].session_log.status) == (6, 1)
    (value,) = events[2].summary.value
    assert (events[2].step, value.tag) == (6, "train/loss")
    assert value.tensor.float_val[0] == 0.5


def test_a_run_folder_that_disappears_is_made_again(tiny_pack, quick, tmp_path):
    run, listener = tmp_path / "run", Listener()
    quick = dataclasses.replace(quick, epochs=2)
    listener.act = lambda at: shutil.rmtree(run) if (at.epoch, at.step) == (2, 5) else None
    outcome = train(tiny_pack, run, quick, device="cpu", log_seconds=0, screen=listener)
    assert outcome.saved
    assert any("disappeared" in text for text in listener.said)
    assert json.loads((run / "environment.json").read_text())["pack"]["checksum"]
    assert checkpoint.load(run / "last.safetensors").position.epoch == 2


def test_a_run_without_a_checkpoint_is_begun_again_with_its_init(tiny_pack, one, tmp_path):
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
    same(run / "last.safetensors", straight / "last.safetensors")
    assert "no checkpoint yet" in listener.said[0]


def test_resuming_in_a_folder_that_is_missing_begins_there(tiny_pack, one, tmp_path):
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


def test_a_checkpoint_of_elsewhere_replaces_no_training(tiny_pack, quick, one, tmp_path):
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


def test_a_wrong_init_leaves_what_was_there(tiny_pack, one, tmp_path):
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


def test_too_little_memory_is_said_with_a_smaller_batch(tiny_pack, one, tmp_path, monkeypatch):
    def full(self, images, labels):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")

    monkeypatch.setattr("alexnet.training.step.Step.__call__", full)
    with pytest.raises(MemoryError, match=r"16 images of 28×28 .* 2 GiB\).*--batch-size 8"):
        train(tiny_pack, tmp_path / "run", one, device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_hangup_is_a_request_to_stop_unless_it_is_ignored():
    with Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGHUP)
        assert interrupt.signal == signal.SIGHUP
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
        assert interrupt.signal is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_during_the_last_save_is_not_lost(tiny_pack, one, tmp_path):
    listener = Listener()
    listener.say = lambda text: text.startswith("epoch") and os.kill(os.getpid(), signal.SIGTERM)
    outcome = train(tiny_pack, tmp_path / "run", one, device="cpu", screen=listener)
    assert outcome.signal == signal.SIGTERM
    assert outcome.saved


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems refuse such names")
def test_a_run_and_a_pack_in_folders_whose_names_are_not_text(tiny_pack, one, tmp_path):
    from alexnet.evaluation.scores import choose_scores_path, evaluate_run, write_scores
    from alexnet.packs.pack import open_pack

    strange = tmp_path / os.fsdecode(b"\xff\xfe caf\xe9")
    shutil.copytree(tiny_pack.path, strange / "pack")
    listener = Listener()
    pack, run = open_pack(strange / "pack"), strange / "run"
    train(pack, run, one, device="cpu", log_seconds=0, screen=listener)
    usual = "epoch 1/1", "agree with their checksums"
    assert [text for text in listener.said if not any(part in text for part in usual)] == []
    scores = evaluate_run(run, device="cpu")
    write_scores(scores, choose_scores_path(scores))
    assert json.loads((run / "scores.json").read_text("ascii"))["seen"] == 60


def test_a_kill_while_the_first_images_are_kept_is_resumed(tiny_pack, one, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / ".samples.safetensors.partial").write_bytes(b"half")
    train(tiny_pack, run, one, device="cpu", resume=run)
    assert {"last.safetensors", "samples.safetensors"} <= {path.name for path in run.iterdir()}
    assert not (run / ".samples.safetensors.partial").exists()
