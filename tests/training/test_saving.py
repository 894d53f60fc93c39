"""What a training writes to its folder: `last`, `best`, and a description."""

import dataclasses
import errno
import json
import shutil

import pytest
from tests.test_files import files_of_at_most
from tests.training.test_train import Listener, assert_same

from alexnet import checkpoint
from alexnet.training.saving import is_best
from alexnet.training.train import train


@pytest.fixture
def straight(tiny_pack, quick, tmp_path):
    """A finished run."""
    return train(tiny_pack, tmp_path / "straight", quick, device="cpu").run


def test_the_best_epoch_is_the_one_with_the_lowest_error():
    errors = [0.5, 0.4, 0.4, 0.3]
    histories = [tuple({"val_top1": e} for e in errors[: n + 1]) for n in range(4)]
    assert [is_best(history) for history in histories] == [True, True, False, True]
    assert is_best(({"train_loss": 1.0}, {"train_loss": 2.0}))
    assert not is_best(())


def test_a_full_disk_is_reported_and_loses_no_earlier_checkpoint(straight, tiny_pack, quick):
    before = (straight / "last.safetensors").read_bytes()
    listener = Listener()
    longer = dataclasses.replace(quick, epochs=4)
    with files_of_at_most(200_000):
        outcome = train(tiny_pack, straight, longer, device="cpu", resume=straight, screen=listener)
    assert not outcome.saved
    assert any("File too large" in text for text in listener.messages)
    assert (straight / "last.safetensors").read_bytes() == before
    assert not list(straight.glob("*.partial"))


def resave(path, position):
    """The same checkpoint at another position."""
    checkpoint.save(dataclasses.replace(checkpoint.load(path), position=position), path)


def test_resuming_a_finished_training_reports_that_and_replaces_an_outdated_best(
    straight, tiny_pack, quick
):
    listener, last, best = Listener(), straight / "last.safetensors", straight / "best.safetensors"
    longer = dataclasses.replace(quick, epochs=12)
    train(tiny_pack, straight, longer, device="cpu", resume=straight)
    for stale in (b"an earlier one", None):  # killed between `last` and `best`
        best.unlink()
        if stale:
            best.write_bytes(stale)
        position = checkpoint.load(last).position
        better = {**position.history[-1], "val_top1": -1.0}
        resave(last, dataclasses.replace(position, history=(*position.history[:-1], better)))
        outcome = train(tiny_pack, straight, longer, device="cpu", resume=straight, screen=listener)
        assert outcome.saved
        assert outcome.signal is None
        assert_same(best, last)
    assert "now it is" in listener.messages[0]
    assert "all its 12 epochs. Its best is epoch 12" in listener.messages[1]
    assert "--epochs 22" in listener.messages[1]


def test_an_outdated_best_that_cannot_be_replaced_is_reported(
    straight, tiny_pack, quick, monkeypatch
):
    def refuse(last, best):
        raise OSError(errno.EROFS, "Read-only file system")

    listener = Listener()
    (straight / "best.safetensors").unlink()
    monkeypatch.setattr(checkpoint, "link_or_copy", refuse)
    monkeypatch.setattr("alexnet.training.saving.is_best", lambda history: True)
    outcome = train(tiny_pack, straight, quick, device="cpu", resume=straight, screen=listener)
    assert not outcome.saved
    assert "Read-only file system" in listener.messages[0]


def test_a_run_folder_that_disappears_is_made_again(tiny_pack, quick, tmp_path):
    run, listener = tmp_path / "run", Listener()
    quick = dataclasses.replace(quick, epochs=2)
    listener.act = lambda at: shutil.rmtree(run) if (at.epoch, at.step) == (2, 5) else None
    outcome = train(tiny_pack, run, quick, device="cpu", log_seconds=0, screen=listener)
    assert outcome.saved
    assert any("disappeared" in text for text in listener.messages)
    assert json.loads((run / "environment.json").read_text())["pack"]["checksum"]
    assert checkpoint.load(run / "last.safetensors").position.epoch == 2
