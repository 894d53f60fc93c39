"""The log of a run and its curves: what cannot be written ends no training."""

import json

import pytest
from tests.test_files import files_of_at_most
from tests.training.test_train import Listener

from alexnet.training.log import RunLog, Screen


def test_a_full_disk_costs_lines_of_the_log_and_is_reported_once_per_file(tmp_path):
    listener = Listener()
    log = RunLog(tmp_path, listener)
    log.write("step", epoch=0, step=1, loss=1.0)
    with files_of_at_most(70):
        for step in range(2, 9):
            log.write("step", epoch=0, step=step, loss=1.0)
            log.write_scalars(step, train_loss=1.0)
    log.write("step", epoch=0, step=9, loss=1.0)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 9]
    assert len(listener.messages) == len({text.split(":")[0] for text in listener.messages}) <= 2
    assert all("Training continues" in text for text in listener.messages)


def test_a_log_in_a_missing_folder_raises_nothing(tmp_path):
    listener = Listener()
    log = RunLog(tmp_path / "gone", listener)
    log.rewind(0, 0)
    log.write("step", epoch=0, step=1)
    log.write_scalars(1, train_loss=1.0)
    assert 1 <= len(listener.messages) <= 2


def test_rewinding_a_log_removes_damaged_and_later_lines(tmp_path):
    foreign = b'[1]\n{"epoch": "x", "step": 1}\n\xff\xfe\n7\n{"epoch": 9, "step": 0}\n{"ep'
    (tmp_path / "log.jsonl").write_bytes(b'{"epoch": 0, "step": 1}\n' + foreign)
    RunLog(tmp_path, Screen()).rewind(1, 0)
    assert (tmp_path / "log.jsonl").read_text() == '{"epoch": 0, "step": 1}\n'


def test_tensorboard_reads_the_curves_and_drops_points_that_a_resumed_run_repeats(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    RunLog(tmp_path, Screen(), done=5).write_scalars(6, train_loss=0.5, other=1.0)
    (file,) = (tmp_path / "tensorboard").iterdir()
    events = list(EventFileLoader(str(file)).Load())
    assert events[0].file_version == "brain.Event:2"
    assert (events[1].step, events[1].session_log.status) == (6, 1)
    (value,) = events[2].summary.value
    assert (events[2].step, value.tag) == (6, "train/loss")
    assert value.tensor.float_val[0] == 0.5


def test_tensorboard_calls_an_error_an_error(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    RunLog(tmp_path, Screen()).write_scalars(6, val_loss=0.5, val_top1=0.2, val_top5=0.1)
    (file,) = (tmp_path / "tensorboard").iterdir()
    *_, event = EventFileLoader(str(file)).Load()
    tags = [value.tag for value in event.summary.value]
    assert tags == ["val/loss", "val/top1_error", "val/top5_error"]
