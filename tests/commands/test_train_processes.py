"""`torchrun … -m alexnet train`, as a user starts it."""

import json
import os
import subprocess
import sys

import pytest

from alexnet import checkpoint
from alexnet.commands.resumption import find_restarted
from alexnet.commands.train import Train

OPTIONS = ["--network", "cifar-80sec", "--crop", "24", "--batch-size", "16", "--device", "cpu"]


def start(pack, run, *options, size=2):
    """Train on `size` processes of one machine; return what it printed and its exit status."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*torchrun, "--nproc-per-node", str(size), "-m", "alexnet", "train", str(pack)]
    command += [*map(str, filter(None, [run])), *OPTIONS, *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ALEXNET_WATCH_SECONDS": "120"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)


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
