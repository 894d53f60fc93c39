"""The check of a pack's files while a training runs."""

import dataclasses
import os
import shutil
import time

import pytest
from tests.conftest import pictures

from alexnet import checkpoint
from alexnet.packing.pack import pack
from alexnet.packs.background_check import BackgroundCheck
from alexnet.packs.pack import open_pack
from alexnet.training.log import Screen
from alexnet.training.train import train


class Listener(Screen):
    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


@pytest.fixture
def at_once(monkeypatch):
    """The check runs before the first step, not beside it: what it says is certain then."""
    monkeypatch.setattr("alexnet.packs.background_check._lower_priority", lambda: None)
    monkeypatch.setattr(BackgroundCheck, "start", BackgroundCheck._run)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """A pack of two training shards and one of validation."""
    out = tmp_path_factory.mktemp("shards") / "pack"
    return pack(pictures(20, 5), out, processes=1, shard_images=30).path


@pytest.fixture
def recipe(quick):
    return dataclasses.replace(quick, epochs=1)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def agreeing(said):
    return [text for text in said if "agree with their checksums" in text]


def test_intact_shards_are_reported_once_per_call(shards, recipe, tmp_path, at_once):
    screen = Listener()
    run = train(open_pack(shards), tmp_path / "run", recipe, device="cpu", screen=screen).run
    assert agreeing(screen.said) == [f"All 3 shards of {shards} agree with their checksums."]
    longer = dataclasses.replace(recipe, epochs=2)
    train(open_pack(shards), run, longer, device="cpu", screen=screen, resume=run)
    assert len(agreeing(screen.said)) == 2


@pytest.mark.parametrize(
    "file", ["train/images-00001.npy", "val/images-00000.npy", "train/labels.npy", "mean.npy"]
)
def test_a_damaged_file_stops_a_training_after_a_checkpoint_is_saved(
    shards, recipe, tmp_path, at_once, file
):
    copy = shutil.copytree(shards, tmp_path / "copy")
    if file == "train/labels.npy":  # another class that there is
        content = bytearray((copy / file).read_bytes())
        content[128] ^= 1
        (copy / file).write_bytes(content)
    else:
        flip_a_bit(copy / file)
    with pytest.raises(ValueError, match=rf"{file} is damaged: its checksum is .*--resume"):
        train(open_pack(copy), tmp_path / "run", recipe, device="cpu")
    saved = checkpoint.load(tmp_path / "run" / "last.safetensors")
    assert (saved.position.epoch, saved.position.step) == (0, 1)
    shutil.copy(shards / file, copy / file)  # whole again, the training goes on
    resumed = train(
        open_pack(copy), tmp_path / "run", recipe, device="cpu", resume=tmp_path / "run"
    )
    assert resumed.position.epoch == 1


def test_a_resumed_training_stops_as_well(shards, recipe, tmp_path, at_once):
    copy = shutil.copytree(shards, tmp_path / "copy")
    run = train(open_pack(copy), tmp_path / "run", recipe, device="cpu").run
    flip_a_bit(copy / "train" / "images-00000.npy")
    longer = dataclasses.replace(recipe, epochs=2)
    with pytest.raises(ValueError, match=r"train/images-00000\.npy is damaged"):
        train(open_pack(copy), run, longer, device="cpu", resume=run)
    assert checkpoint.load(run / "last.safetensors").position.epoch == 1


def test_the_thread_stops_in_the_middle_of_a_file(shards, monkeypatch):
    monkeypatch.setattr("alexnet.packs.background_check.BLOCK", 1)
    monkeypatch.setattr("alexnet.packs.background_check.WAIT_FACTOR", 1e6)
    check = BackgroundCheck(open_pack(shards))
    check.start()
    check.stop()
    assert not check._thread.is_alive()
    assert check.take_report() == ""


def test_the_thread_reads_in_the_background(shards):
    check = BackgroundCheck(open_pack(shards))
    check.start()
    deadline = time.monotonic() + 60
    while not check.report and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "All 3 shards" in check.take_report()
    assert check.take_report() == ""
    assert os.getpriority(os.PRIO_PROCESS, 0) < 19  # only the thread steps back


def test_a_pack_that_disappears_is_reported_and_does_not_stop_the_training(
    shards, recipe, tmp_path, monkeypatch
):
    copy = open_pack(shutil.copytree(shards, tmp_path / "copy"))
    assert len(copy.splits["val"].labels) == 15  # read before they disappear

    def disappear(check):
        os.rename(copy.path / "val" / "labels.npy", tmp_path / "labels.npy")
        check._run()

    monkeypatch.setattr("alexnet.packs.background_check._lower_priority", lambda: None)
    monkeypatch.setattr(BackgroundCheck, "start", disappear)
    screen = Listener()
    outcome = train(copy, tmp_path / "run", recipe, device="cpu", screen=screen)
    assert outcome.position.epoch == 1
    assert any("could not all be checked" in text for text in screen.said)
