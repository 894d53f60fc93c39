"""`torchrun … -m alexnet train`, as a user starts it."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from tests.conftest import QUICK
from tests.parallel.worlds import run_with_one_thread
from tests.training.test_train import assert_same

from alexnet import checkpoint
from alexnet.commands.resumption import find_restarted
from alexnet.commands.train import Train
from alexnet.processes import World
from alexnet.training.train import train

RECIPE = dataclasses.replace(QUICK, network="cifar-80sec", crop=24, batch_size=16, slices=2)
OPTIONS = ["--network", "cifar-80sec", "--crop", "24", "--batch-size", "16", "--device", "cpu"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "ALEXNET_WATCH_SECONDS": "120"}


def build_command(pack, run, *options, torchrun=()):
    """Return the command that trains on two processes of this machine."""
    train = ["-m", "alexnet", "train", str(pack), str(run)]
    return [*TORCHRUN, *torchrun, *train, *OPTIONS, *options]


def start(pack, run, *options):
    """Train on two processes of this machine; return what it printed and its exit status."""
    command = build_command(pack, run, *options)
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=500)


def test_two_processes_train_one_run_and_print_everything_once(tiny_pack, tmp_path):
    run = tmp_path / "run"
    done = start(tiny_pack.path, run, "--slices", "2", "--epochs", "1", "--json")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert events == ["start", "epoch", "end"]
    position = checkpoint.load(run / "last.safetensors").position
    assert (position.epoch, position.history[0]["seen"]) == (1, 60)


def test_processes_that_cannot_share_the_batch_say_what_to_do(monkeypatch, tiny_pack):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="--time measures the speed of one process"):
        Train(str(tiny_pack.path), time="1m").run()
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    with pytest.raises(ValueError, match="name the folder of the run after the images"):
        Train(str(tiny_pack.path)).run()


def test_a_training_that_torchrun_starts_again_resumes_its_own_run(monkeypatch, run, tmp_path):
    assert find_restarted(run) is None
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert find_restarted(run) == run
    assert find_restarted(tmp_path / "other") is None
    assert find_restarted(None) is None


def find_last_process(run):
    """Return the process that trains as rank 1."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            variables = (folder / "environ").read_bytes().split(b"\0")
            if str(run).encode() in words and b"RANK=1" in variables:
                return int(folder.name)
    return None


@pytest.mark.skipif(sys.platform != "linux", reason="finds the process in /proc")
def test_a_killed_training_goes_on_by_itself_and_has_the_bits_of_an_undisturbed_one(
    tiny_pack, tmp_path
):
    straight, run = tmp_path / "straight", tmp_path / "run"
    recipe = dataclasses.replace(RECIPE, epochs=6)
    run_with_one_thread(partial(train, device="cpu"), tiny_pack, straight, recipe)
    options = ["--config", str(straight / "recipe.json")]
    command = build_command(tiny_pack.path, run, *options, torchrun=["--max-restarts", "3"])
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as training:
        while not (run / "last.safetensors").exists():
            assert training.poll() is None
            time.sleep(0.02)
        os.kill(find_last_process(run), signal.SIGKILL)
        errors = training.communicate(timeout=500)[1]
    assert training.returncode == 0, errors
    assert "rank 1 on host" in errors
    assert_same(run / "last.safetensors", straight / "last.safetensors")


def test_what_ends_all_processes_is_printed_once_with_its_exit_status(tiny_pack, tmp_path):
    options = ["--slices", "2", "--epochs", "3", "--learning-rate", "1e20"]
    done = start(tiny_pack.path, tmp_path / "run", *options)
    assert done.stderr.count("the loss is") == 1, done.stderr
    assert "exitcode  : 3" in done.stderr
    refused = start(tiny_pack.path, tmp_path / "other")
    assert refused.stderr.count("cannot share 1 slices") == 1, refused.stderr


@pytest.mark.parametrize("rank", [0, 1])
def test_the_first_process_alone_shows_what_would_be_trained(rank, tiny_pack, tmp_path, capsys):
    command = Train(str(tiny_pack.path), tmp_path / "run", device="cpu", print_config=True)
    assert command._run(World(rank=rank)) == 0
    assert bool(capsys.readouterr().out) == (rank == 0)
