"""The commands under external faults: signals, closed pipes, full disks, moved packs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from alexnet import checkpoint
from tests.test_cli import ALEXNET, QUICK, alexnet

RECIPE = ["--recipe", "paper", *QUICK]


BEFORE = {
    "signals": (
        "for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):"
        "signal.signal(number, signal.SIG_DFL)"
    ),
    "full disk": "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))",
    "nohup": "signal.signal(signal.SIGHUP, signal.SIG_IGN)",
}
"""Python code that prepares a process before it executes the command."""


def prepare_command(what, *words):
    """Return a command line that runs one of these preparations and then executes `alexnet`."""
    code = "import os, resource, signal, sys; {}\nos.execv(sys.executable, sys.argv[1:])"
    code = code.replace("{}", "\n" + BEFORE[what])
    return [sys.executable, "-c", code, *map(str, [*ALEXNET, *words])]


@pytest.fixture(scope="module")
def run(tiny_pack, tmp_path_factory):
    """A finished run of two epochs, trained with a relative path to its pack."""
    place = tmp_path_factory.mktemp("faults")
    shutil.copytree(tiny_pack.path, place / "tiny.pack")
    done = alexnet(
        "train", "tiny.pack", "runs/tiny.pack-20200101-000000", "--epochs", 2, *RECIPE, cwd=place
    )
    assert done.returncode == 0, done.stderr
    return place / "runs" / "tiny.pack-20200101-000000"


def test_resuming_a_finished_run_succeeds_and_prints_how_to_train_longer(run):
    place = run.parents[1]
    named = alexnet("train", "tiny.pack", run, "--resume", cwd=place)
    assert named.returncode == 0, named.stderr
    assert "This training is finished: it has all its 2 epochs" in named.stderr
    assert "--epochs 12" in named.stderr
    newest = alexnet("train", "tiny.pack", "--resume", cwd=place)
    assert newest.returncode == 0, newest.stderr
    assert f"Resuming {run.relative_to(place)}" in newest.stderr
    for folder in run, run.parent, run.parents[1] / "elsewhere":
        folder.mkdir(exist_ok=True)
        found = alexnet("train", run.parents[1] / "tiny.pack", "--resume", cwd=folder)
        assert found.returncode == 0, found.stderr
        assert f"/{run.name}, the newest run" in found.stderr or f"{run.name}, the" in found.stderr
    quiet = alexnet("train", "tiny.pack", "--resume", "--quiet", cwd=place)
    assert "Resuming" not in quiet.stderr
    none = alexnet("train", "digits", "--resume", cwd=place)
    assert none.returncode == 1
    assert "there is no run of digits in runs" in none.stderr
    assert "--resume RUN" in none.stderr


def test_resuming_a_run_without_a_checkpoint_starts_again_with_its_recipe(run, tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("recipe.json", "environment.json"):
        shutil.copy(run / name, tmp_path / "run" / name)
    done = alexnet(
        "train", run.parents[1] / "tiny.pack", tmp_path / "run", "--resume", "--epochs", 1
    )
    assert done.returncode == 0, done.stderr
    assert "no checkpoint yet" in " ".join(done.stderr.split())  # it is wrapped
    found = checkpoint.load_recipe(tmp_path / "run" / "last.safetensors")
    assert (found.learning_rate, found.epochs) == (0.02, 1)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "recipe.json").write_text("{")
    done = alexnet("train", run.parents[1] / "tiny.pack", "--resume", tmp_path / "cut")
    assert done.returncode == 1
    assert "recipe.json is damaged" in done.stderr


def test_a_run_finds_its_pack_from_any_directory_and_after_both_were_copied(run, tmp_path):
    place = run.parents[1]
    from_elsewhere = alexnet("evaluate", run, "--device", "cpu", cwd=tmp_path)
    assert from_elsewhere.returncode == 0, from_elsewhere.stderr
    moved = tmp_path / "moved"
    shutil.copytree(place, moved)
    inside = moved / "runs" / run.name
    described = json.loads((inside / "environment.json").read_text())
    described["pack"]["path"] = str(tmp_path / "gone")
    (inside / "environment.json").write_text(json.dumps(described))
    copied = alexnet("evaluate", inside, "--device", "cpu", cwd=tmp_path)
    assert copied.returncode == 0, copied.stderr
    assert str(moved / "tiny.pack") in os.path.normpath(copied.stdout.split("(val of ")[1])
    shutil.rmtree(moved / "tiny.pack")
    gone = alexnet("evaluate", inside, "--device", "cpu")
    assert gone.returncode == 1
    assert f"is not at {tmp_path / 'gone'} nor at {moved / 'tiny.pack'}. Name it:" in gone.stderr


def test_scores_that_cannot_be_written_are_still_printed(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "scores.json").unlink(missing_ok=True)
    (copy / "scores.json" / "in the way").mkdir(parents=True)
    done = alexnet("evaluate", copy, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "top-1 error" in done.stdout
    assert "These scores are not in" in done.stderr
    out = alexnet("evaluate", copy, "--device", "cpu", "--out", copy / "scores.json")
    assert out.returncode == 1
    assert "top-1 error" in out.stdout


@pytest.mark.parametrize("where", ["/dev/full", "a closed pipe", "no descriptors"])
def test_a_training_finishes_if_its_output_cannot_be_written(tiny_pack, tmp_path, where):
    options = ["--epochs", 1, "--log-seconds", 0, *RECIPE]
    command = [*ALEXNET, "train", tiny_pack.path, tmp_path / "run", *options]
    shell = {
        "/dev/full": '"$@" >/dev/null 2>/dev/full',
        "a closed pipe": '( "$@" 2>&1; echo $? >&3 ) 3>"$0" | true; exit $(cat "$0")',
        "no descriptors": 'exec "$@" <&- >&- 2>&-',
    }[where]
    done = subprocess.run(["sh", "-c", shell, tmp_path / "status", *map(str, command)])
    assert done.returncode == 0
    assert checkpoint.load(tmp_path / "run" / "last.safetensors").position.epoch == 1


def test_a_full_disk_does_not_end_a_training_or_damage_its_checkpoint(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    before = (copy / "last.safetensors").read_bytes()
    more = ["--resume", "--epochs", 3, "--log-seconds", 0]
    command = prepare_command("full disk", "train", run.parents[1] / "tiny.pack", copy, *more)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "epoch 3/3" in done.stderr
    assert "NOT saved" in done.stderr
    assert "File too large" in done.stderr
    assert (copy / "last.safetensors").read_bytes() == before


def start_training(run, pack, what):
    """Start a long training and return its process once the first epoch is saved."""
    command = prepare_command(what, "train", pack, run, "--epochs", 5000, *RECIPE)
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (run / "best.safetensors").exists():
        time.sleep(0.05)
        assert child.poll() is None
    return child


def test_a_training_is_saved_after_sighup(tiny_pack, tmp_path):
    child = start_training(tmp_path / "run", tiny_pack.path, "signals")
    child.send_signal(signal.SIGHUP)
    _, messages = child.communicate(timeout=120)
    assert child.returncode == 128 + signal.SIGHUP
    assert "Stopped and saved" in messages
    assert checkpoint.load(tmp_path / "run" / "last.safetensors").position.epoch >= 1


def test_a_training_under_nohup_continues_after_sighup(tiny_pack, tmp_path):
    child = start_training(tmp_path / "run", tiny_pack.path, "nohup")
    child.send_signal(signal.SIGHUP)
    before = (tmp_path / "run" / "last.safetensors").stat().st_mtime_ns
    while (tmp_path / "run" / "last.safetensors").stat().st_mtime_ns == before:
        time.sleep(0.05)
        assert child.poll() is None
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=120)
    assert child.returncode == 128 + signal.SIGTERM


INTERRUPTED = """
import os, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
import alexnet.cli as cli
def install(real=cli.end_at_signals):
    real()
    threading.Timer(float(sys.argv[1]), os.kill, (os.getpid(), signal.SIGINT)).start()
cli.end_at_signals = install
cli.main(sys.argv[2:])
"""


@pytest.mark.parametrize("seconds", [0, 0.1, 0.3, 0.9])
@pytest.mark.parametrize("command", ["train", "pack"])
def test_an_interruption_during_imports_prints_no_traceback(run, tmp_path, command, seconds):
    train = ["train", run.parents[1] / "tiny.pack", tmp_path / "run", "--epochs", 5000, *RECIPE]
    pack = ["pack", "digits", tmp_path / "digits", "--size", 500, "--processes", 1]
    words = [seconds, *(train if command == "train" else pack)]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert "damaged" not in done.stderr
