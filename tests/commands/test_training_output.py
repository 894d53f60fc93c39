"""`alexnet train --json` and `--quiet`: what programs and scripts read."""

import json
import sys

import pytest

from alexnet.cli import main


def train(capsys, monkeypatch, *words):
    """Run `alexnet train`; return its exit status, stdout and stderr."""
    monkeypatch.setattr(sys, "argv", ["alexnet", "train", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code or 0, *capsys.readouterr()


@pytest.fixture
def words(tiny_pack, tmp_path):
    recipe = ["--recipe", "cifar", "--crop", "28", "--batch-size", "16", "--epochs", "2"]
    return [tiny_pack.path, tmp_path / "run", *recipe, "--device", "cpu"]


def test_json_is_an_object_for_the_start_every_epoch_and_the_end(
    words, tmp_path, capsys, monkeypatch
):
    status, out, err = train(capsys, monkeypatch, *words, "--json", "--quiet")
    assert (status, err) == (0, "")
    start, *epochs, end = map(json.loads, out.splitlines())
    assert start["event"] == "start"
    assert start["images"] == {"train": 150, "val": 60}
    assert start["recipe"]["epochs"] == 2
    assert [(x["event"], x["epoch"], x["epochs"]) for x in epochs] == [
        ("epoch", 1, 2),
        ("epoch", 2, 2),
    ]
    assert all(0 <= x["val_top1"] <= 1 for x in epochs)
    assert [x["val_top5"] for x in (*epochs, end["best"])] == [None] * 3  # of three classes
    assert end["event"] == "end"
    assert end["run"] == str(tmp_path / "run")
    assert end["best"]["val_top1"] == min(x["val_top1"] for x in epochs)
    assert end["signal"] is None
    assert end["saved"] is True


def test_quiet_prints_one_line(words, tmp_path, capsys, monkeypatch):
    status, out, err = train(capsys, monkeypatch, *words, "--quiet")
    assert (status, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'run'}: 2 epochs, accuracy ")
    assert out.count("\n") == 1


def test_a_quiet_resumption_prints_nothing_but_the_end(words, tmp_path, capsys, monkeypatch):
    train(capsys, monkeypatch, *words, "--quiet")
    again = [*words[:2], "--resume", "--quiet", "--device", "cpu"]
    monkeypatch.chdir(tmp_path)
    for chosen in again, [words[0], "--resume", "--quiet", "--device", "cpu"]:
        status, out, err = train(capsys, monkeypatch, *chosen)
        assert (status, err) == (0, "")
        assert out.count("\n") == 1


def test_no_line_has_more_than_80_columns(words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out, err = train(capsys, monkeypatch, words[0], "r", *words[2:], "--steps", "0.1@1", "0.01@2")[
        1:
    ]
    assert max(map(len, (out + err).splitlines())) <= 80


def test_the_last_lines_name_the_next_commands(words, tmp_path, capsys, monkeypatch):
    out = train(capsys, monkeypatch, *words)[1]
    for command in ("evaluate", "predict", "serve"):
        assert f"alexnet {command} {tmp_path / 'run'}" in out
    assert "alexnet export" in out
    assert "top-5" not in out


def test_a_time_and_a_number_of_epochs_do_not_go_together(words, capsys, monkeypatch):
    status, _, err = train(capsys, monkeypatch, *words, "--time", "1m")
    assert status != 0
    assert "--time plans the number of epochs" in err


def test_an_impossible_time_is_refused_before_anything_else(tmp_path, capsys, monkeypatch):
    status, _, err = train(capsys, monkeypatch, tmp_path / "none", "--time", "soon")
    assert status != 0
    assert "write it as 20m" in err
