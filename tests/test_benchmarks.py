"""Every benchmark starts, takes its turns at the tiniest sizes, prints a table and writes JSON."""

import dataclasses
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet.data.pack import pack
from alexnet.learn.train import train
from tests.conftest import pictures
from tests.learn.conftest import QUICK

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TINY = {
    "train_step": "--batch 2 --rounds 1 --only ours",
    "kernels": "--batch 1 --rounds 1",
    "small": "--batch 2 --steps 1 --rounds 1",
    "epoch": "--batch 2 --images 3",
    "forward": "--batches 1 --images 1 --rounds 1",
}


def run(script: str, options: str, out: Path) -> tuple[str, dict]:
    """What a script printed, and what it wrote."""
    words = [*options.split(), "--device", "cpu", "--json", str(out)]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{script}.py"), *words],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(out.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("script", TINY)
def test_a_benchmark_prints_a_table_and_writes_json(script, tmp_path):
    printed, found = run(script, TINY[script], tmp_path / "out.json")
    assert "ours" in printed or "images/s" in printed
    assert {"date", "machine", "torch"} <= found.keys()
    assert found["rows"]
    assert not any(row.get("error") for row in found["rows"])


@pytest.mark.slow
def test_a_training_step_with_its_data_stands_beside_a_usual_loader(tmp_path):
    options = "--data --batch 2 --batches 2 --rounds 1"
    printed, found = run("train_step", options, tmp_path / "out.json")
    assert "best batch: 2" in printed
    assert [bool(row["images_per_second"]) for row in found["rows"]] == [True, True]


@pytest.mark.slow
def test_data_is_packed_and_read_by_everyone_who_is_installed(tmp_path):
    options = "--images 8 --batch 4 --rounds 1 --processes 1"
    printed, found = run("data", options, tmp_path / "out.json")
    assert "alexnet pack ÷ Pillow" in printed
    assert "cold:" in printed
    assert min(found["psnr"]) > 35
    for row in found["rows"]:
        missing = [name for name in ("webdataset", "ffcv") if name in row["name"]]
        if not missing or importlib.util.find_spec(missing[0]):
            assert row["images_per_second"], row


def test_the_errors_of_both_kinds_of_pixels_stand_side_by_side(tiny_pack, tmp_path):
    yuv = pack(pictures(train=3), tmp_path / "yuv.pack", processes=1, pixels="yuv420")
    recipe = dataclasses.replace(QUICK, epochs=1)
    trained = train(tiny_pack, tmp_path / "run", recipe, device="cpu").run
    options = f"--parts --errors {trained} {tiny_pack.path} {yuv.path}"
    printed, found = run("data", options, tmp_path / "out.json")
    assert "points of top-1 error" in printed
    assert [scores["seen"] for scores in found["errors"].values()] == [60, 60]


@pytest.mark.slow
def test_the_checks_for_a_gpu_pass_on_a_cpu_too(tmp_path):
    words = ["--dry", "--only", "checks", "--out"]
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), *words, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "checks.json").read_text())
    assert not found["failed"]
    assert json.loads((tmp_path / "summary.json").read_text())["checks"]["ended"] == "done"


def test_a_part_that_takes_too_long_is_stopped_and_the_next_one_runs(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--dry", "--minutes", "0.005"]
    done = subprocess.run(
        [*command, "--only", "checks", "small", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    ended = json.loads((tmp_path / "summary.json").read_text())
    assert ended["checks"]["ended"].startswith("stopped after")
    assert ended["small"]["ended"] == "not started: no time left"
