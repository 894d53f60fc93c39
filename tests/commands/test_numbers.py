"""Options that are numbers: what no number of them can mean is refused before anything is read."""

import pytest

from alexnet.cli import main

PACK = ["--size", "--processes", "--max-pixels", "--timeout", "--val-fraction"]
TRAIN = ["--epochs", "--batch-size", "--crop", "--chunk", "--patience", "--drops", "--seed"]
MORE = ["--noise-until", "--save-minutes", "--log-seconds", "--learning-rate"]
HUGE = "1" + 30 * "0"
BAD = ["-1", HUGE, "nan", "1.5.2"]
ALSO_NULL = {"--size", "--processes", "--max-pixels", "--timeout", "--epochs", "--batch-size"}
ALSO_NULL |= {"--crop", "--chunk", "--patience", "--learning-rate"}


def list_cases():
    for command, options in (("pack", PACK), ("train", TRAIN + MORE)):
        for option in options:
            for value in [*BAD, *(["0"] if option in ALSO_NULL else [])]:
                if value != HUGE or option not in MORE:  # there it means never, and does no harm
                    yield command, option, value


@pytest.mark.parametrize(("command", "option", "value"), list(list_cases()))
def test_a_number_that_cannot_be_is_refused_before_anything_is_read(
    command, option, value, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(["a/1.jpg", "b/1.jpg"]):
        (tmp_path / "photos" / name[0]).mkdir(parents=True)
        (tmp_path / "photos" / name).write_bytes(bytes([number]))

    def fail(*_, **__):
        raise AssertionError("the images were looked at")

    monkeypatch.setattr("alexnet.sources.recognition._open", fail)
    with pytest.raises(SystemExit) as end:
        main([command, "photos", f"{option}={value}"])
    error = capsys.readouterr().err
    assert end.value.code in (1, 2), error
    assert option.removeprefix("--").split("-")[-1] in error.lower()
    assert len(error) < 700
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]
