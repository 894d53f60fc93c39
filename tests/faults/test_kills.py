"""Trainings and packings that are killed: a short version of `python -m tests.faults.kills`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.faults
ROOT = Path(__file__).parents[2]


def killed(tmp_path: Path, *arguments: str) -> list[dict]:
    """The records of some kills, which nothing may have gone wrong with."""
    record = tmp_path / "kills.json"
    program = [sys.executable, "-m", "tests.faults.kills"]  # of its own, because it forks
    command = [*program, *arguments, "--json", str(record)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return json.loads(record.read_text())["records"]


def test_a_training_that_is_killed_repeatedly_ends_with_the_same_bits(tmp_path):
    (record,) = killed(tmp_path, "train", "--kills", "20")
    assert record["kills"] >= 20
    assert record["compared"] > 0


def test_a_packing_that_is_killed_repeatedly_ends_with_the_same_bytes(tmp_path):
    records = killed(tmp_path, "pack", "--kills", "30")
    assert sum(record["kills"] for record in records) >= 30
    assert all(record["compared"] > 0 for record in records)


def test_a_packing_killed_before_each_change_of_the_disk_ends_with_the_same_bytes(tmp_path):
    (record,) = killed(tmp_path, "pack", "--kinds", "few", "--every-touch")
    assert record["kills"] > 30


@pytest.mark.parametrize("what", ["update", "copies", "links"])
def test_an_update_or_a_sorting_that_is_killed_repeatedly_loses_nothing(tmp_path, what):
    (record,) = killed(tmp_path, what, "--kills", "20")
    assert record["kills"] >= 20
    assert record["compared"] > 0
