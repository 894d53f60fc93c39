"""Training as a whole: it learns, it stops when asked, and it goes on as if it had not."""

import dataclasses
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tests.conftest import pictures

from alexnet import checkpoint
from alexnet.files import lock_folder
from alexnet.packing.pack import pack
from alexnet.training.log import Screen
from alexnet.training.loop import Diverged
from alexnet.training.train import train

GOLDEN = Path(__file__).parents[1] / "golden"


class Listener(Screen):
    """A screen that keeps the messages and the reports, and calls `act` at every report."""

    def __init__(self, act=lambda progress: None):
        self.messages, self.reports, self.act = [], [], act

    def say(self, text):
        self.messages.append(text)

    def progress(self, progress):
        self.reports.append(progress)
        self.act(progress)


def assert_same(one: Path, other: Path) -> None:
    """Check that both files hold the same training, bit for bit."""
    a, b = checkpoint.load(one), checkpoint.load(other)
    assert a.position == b.position
    assert a.recipe == b.recipe
    for part in ("weights", "momenta"):
        first, second = getattr(a, part), getattr(b, part)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def straight(tiny_pack, quick, tmp_path):
    """The run that nobody interrupted."""
    return train(tiny_pack, tmp_path / "straight", quick, device="cpu").run


def test_a_small_network_learns_the_pictures(tiny_pack, quick, tmp_path):
    recipe = dataclasses.replace(quick, epochs=12, learning_rate=0.005)
    outcome = train(tiny_pack, tmp_path / "run", recipe, device="cpu")
    assert outcome.position.history[-1]["val_top1"] < 0.4
    assert outcome.position.history[-1]["seen"] == 60


def test_a_run_folder_holds_its_description_log_and_checkpoints(straight):
    names = {path.name for path in straight.iterdir()}
    assert {"recipe.json", "environment.json", "log.jsonl", "last.safetensors"} <= names
    assert "best.safetensors" in names
    lines = [json.loads(line) for line in (straight / "log.jsonl").read_text().splitlines()]
    assert [x["epoch"] for x in lines if x["event"] == "epoch"] == [1, 2, 3]
    assert json.loads((straight / "environment.json").read_text())["pack"]["checksum"]


def twenty_losses(pack, run, recipe):
    """The losses of two epochs of ten steps, at a rate that lets no difference in rounding grow."""
    listener = Listener()
    recipe = dataclasses.replace(recipe, epochs=2, learning_rate=0.005)
    train(pack, run, recipe, device="cpu", log_seconds=0, screen=listener)
    return [report.loss for report in listener.reports]


def test_losses_of_a_small_run_equal_the_golden_ones(tiny_pack, quick, tmp_path):
    losses = twenty_losses(tiny_pack, tmp_path / "run", quick)
    assert len(losses) == 20
    assert losses == pytest.approx(json.loads((GOLDEN / "losses.json").read_text()), rel=2e-3)


@pytest.mark.parametrize("at", [(1, 1), (1, 10), (2, 4), (3, 9)])
def test_stopping_anywhere_and_resuming_changes_no_bit(at, straight, tiny_pack, quick, tmp_path):
    def stop(progress):
        if (progress.epoch, progress.step) == at:
            os.kill(os.getpid(), signal.SIGTERM)

    run, listener = tmp_path / "run", Listener(stop)
    stopped = train(tiny_pack, run, quick, device="cpu", log_seconds=0, screen=listener)
    assert stopped.signal == signal.SIGTERM
    assert stopped.saved
    finished = train(tiny_pack, run, quick, device="cpu", resume=run, log_seconds=0)
    assert finished.signal is None
    assert_same(run / "last.safetensors", straight / "last.safetensors")
    assert_same(run / "best.safetensors", straight / "best.safetensors")
    events = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    steps = [(x["epoch"], x["step"]) for x in events if x["event"] == "step"]
    assert steps == [(epoch, step) for epoch in range(3) for step in range(1, 11)]


def test_resuming_from_any_checkpoint_ends_with_the_same_bits(straight, tiny_pack, quick, tmp_path):
    short = dataclasses.replace(quick, epochs=1)
    first = train(tiny_pack, tmp_path / "short", short, device="cpu").run
    again = train(
        tiny_pack, tmp_path / "again", quick, device="cpu", resume=first / "best.safetensors"
    )
    assert_same(again.run / "last.safetensors", straight / "last.safetensors")


KILLED = """
import sys
from alexnet.packs.pack import open_pack
from alexnet.files import lock_folder
from alexnet.training.train import train
from alexnet.recipes.recipe import Recipe
from pathlib import Path
import json
pack, run = open_pack(Path(sys.argv[1])), Path(sys.argv[2])
recipe = Recipe.from_dict(json.loads(sys.argv[3]))
resume = run if (run / "last.safetensors").exists() else None
print("started", flush=True)
train(pack, run, recipe, device="cpu", resume=resume, save_minutes=0)
"""


@pytest.mark.slow
def test_a_training_that_is_killed_ends_with_the_same_bits(straight, tiny_pack, quick, tmp_path):
    run, chance = tmp_path / "killed", random.Random(7)
    arguments = [str(tiny_pack.path), str(run), json.dumps(quick.to_dict())]
    command = [sys.executable, "-c", KILLED, *arguments]
    killed = 0
    for _ in range(4):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            time.sleep(chance.uniform(0.05, 1.2))
            child.kill()
            killed += child.wait() == -signal.SIGKILL
        for name in ("last", "best"):
            if (path := run / f"{name}.safetensors").exists():
                checkpoint.load(path)
    assert killed
    if (
        not (run / "last.safetensors").exists()
        or checkpoint.load(run / "last.safetensors").position.epoch < 3
    ):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert_same(run / "last.safetensors", straight / "last.safetensors")
    assert_same(run / "best.safetensors", straight / "best.safetensors")


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch(tiny_pack, quick, tmp_path):
    wild = dataclasses.replace(quick, learning_rate=1e20, schedule="constant")
    with pytest.raises(Diverged, match=r"epoch 1, step \d+ .*train/.*did not change the weights"):
        train(tiny_pack, tmp_path / "run", wild, device="cpu")


def test_a_divergence_leaves_the_last_good_checkpoint(straight, tiny_pack, quick, monkeypatch):
    from alexnet.training import step

    before = checkpoint.load(straight / "last.safetensors").weights
    monkeypatch.setattr(step.F, "cross_entropy", lambda x, y: x.sum() * math.nan)
    longer = dataclasses.replace(quick, epochs=4)
    with pytest.raises(Diverged, match="epoch 4, step 1 "):
        train(tiny_pack, straight, longer, device="cpu", resume=straight)
    after = checkpoint.load(straight / "last.safetensors").weights
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_loss_that_stays_at_ln_of_the_classes_is_warned_of_once(tiny_pack, quick, tmp_path):
    stuck = dataclasses.replace(quick, learning_rate=1e-9, schedule="constant", epochs=11)
    listener = Listener()
    train(tiny_pack, tmp_path / "run", dataclasses.replace(stuck, initialization="printed"),
          device="cpu", log_seconds=0, screen=listener)  # fmt: skip
    remarks = [text for text in listener.messages if "ln(3)" in text]
    assert len(remarks) == 1
    assert "--recipe small" in remarks[0]


def test_a_pack_without_validation_images_trains_on_a_schedule_that_needs_none(quick, tmp_path):
    alone = pack(pictures(train=20, val=0), tmp_path / "alone.pack", processes=1)
    with pytest.raises(ValueError, match="--schedule cosine"):
        train(alone, tmp_path / "run", quick, device="cpu")
    recipe = dataclasses.replace(quick, schedule="cosine")
    outcome = train(alone, tmp_path / "run", recipe, device="cpu")
    assert len(outcome.position.history) == 3
    assert "val_top1" not in outcome.position.history[0]
    assert (tmp_path / "run" / "best.safetensors").exists()


def test_a_run_killed_before_its_first_checkpoint_is_started_again(tiny_pack, quick, tmp_path):
    (tmp_path / "recipe.json").write_text("{}")
    (tmp_path / "log.jsonl").write_text('{"event": "step", "epoch": 0, "step": 1, "loss": 7}\n{"ev')
    short = dataclasses.replace(quick, epochs=1)
    train(tiny_pack, tmp_path, short, device="cpu", log_seconds=99)
    events = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(x["event"], x["epoch"], x["step"]) for x in events] == [
        ("step", 0, 10),
        ("epoch", 1, 0),
    ]


def test_two_trainings_in_one_folder_are_refused(straight, tiny_pack, quick):
    longer = dataclasses.replace(quick, epochs=4)
    with pytest.raises(FileExistsError, match="already holds a training"):
        train(tiny_pack, straight, quick, device="cpu")
    with lock_folder(straight, "training"), pytest.raises(BlockingIOError, match="another process"):
        train(tiny_pack, straight, longer, device="cpu", resume=straight)


def test_a_resumed_training_keeps_its_recipe(straight, tiny_pack, quick):
    other = dataclasses.replace(quick, learning_rate=0.5, epochs=4)
    with pytest.raises(ValueError, match=r"learning_rate 0.02 → 0.5"):
        train(tiny_pack, straight, other, device="cpu", resume=straight)


def test_resuming_changes_no_bit_with_rates_per_layer_and_layers_frozen_later(
    tiny_pack, quick, tmp_path
):
    recipe = dataclasses.replace(
        quick,
        schedule="steps",
        steps=("0.3@1.5",),
        rates=("conv1=0.5", "conv1=0@1", "conv2=3@0.25", "conv2=0.1@2"),
        bias_rate=2.0,
        bias_steps=("1", "0.1@2"),
        noise_until=1,
        chunk=4,
        mean_at="center",
    )
    straight = train(tiny_pack, tmp_path / "straight", recipe, device="cpu").run
    run = tmp_path / "run"
    for at in (0, 4), (1, 2), (2, 7):

        def stop(progress, at=at):
            if (progress.epoch - 1, progress.step) == at:
                os.kill(os.getpid(), signal.SIGTERM)

        resume = run if run.exists() else None
        train(tiny_pack, run, recipe, device="cpu", resume=resume, log_seconds=0,
              screen=Listener(stop))  # fmt: skip
    train(tiny_pack, run, recipe, device="cpu", resume=run)
    assert_same(run / "last.safetensors", straight / "last.safetensors")
    assert_same(run / "best.safetensors", straight / "best.safetensors")


def test_a_variation_is_trained_saved_and_opened_again(tiny_pack, quick, tmp_path):
    tanh = dataclasses.replace(quick, variations=("unit=tanh",), epochs=1)
    run = train(tiny_pack, tmp_path / "run", tanh, device="cpu").run
    assert checkpoint.load(run / "last.safetensors").build_network().unit == "tanh"
    with pytest.raises(ValueError, match="cannot vary towers; it can vary unit"):
        train(tiny_pack, tmp_path / "no", dataclasses.replace(quick, variations=("towers=1",)),
              device="cpu")  # fmt: skip
