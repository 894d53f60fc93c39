"""The log of a training, read for its curves."""

import json
import math

from alexnet.show.curves import read_log


def write(path, *lines):
    path.write_bytes(
        b"\n".join(x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines)
    )


def test_points_stand_at_fractions_of_epochs(tmp_path):
    path = tmp_path / "log.jsonl"
    write(
        path,
        {"event": "step", "epoch": 0, "step": 5, "loss": 2.0, "learning_rate": 0.1},
        {"event": "step", "epoch": 0, "step": 10, "loss": 1.5, "learning_rate": 0.2},
        {"event": "epoch", "epoch": 1, "step": 0, "train_loss": 1.75, "val_top1": 0.5},
        {"event": "step", "epoch": 1, "step": 5, "loss": 1.0, "learning_rate": 0.2},
    )
    log = read_log(path)
    assert log.step_loss == [(0.5, 2.0), (1.0, 1.5), (1.5, 1.0)]
    assert log.rate == [(0.5, 0.1), (1.0, 0.2), (1.5, 0.2)]
    assert log.epochs["train_loss"] == [(1.0, 1.75)]
    assert log.epochs["val_top1"] == [(1.0, 0.5)]
    assert log.epochs["val_loss"] == []


def test_damaged_lines_and_numbers_that_are_none_are_left_out(tmp_path):
    path = tmp_path / "log.jsonl"
    good = {"event": "step", "epoch": 0, "step": 1, "loss": 2.0}
    write(
        path,
        good,
        {**good, "loss": math.nan},
        {**good, "loss": 1e300},
        {**good, "loss": True},
        {**good, "loss": "2"},
        {**good, "loss": 10**400},
        {**good, "step": -1},
        {**good, "epoch": 1.5},
        {"event": "init"},
        [1],
        b"\xff\xfe",
        b'{"event": "step", "epoch": 0, "st',
    )
    assert read_log(path).step_loss == [(1.0, 2.0)]


def test_the_log_of_a_run_has_all_curves(run):
    log = read_log(run / "log.jsonl")
    assert [x for x, _ in log.epochs["val_top1"]] == [1, 2, 3, 4]
    assert len(log.epochs["train_loss"]) == 4
    assert log.rate
