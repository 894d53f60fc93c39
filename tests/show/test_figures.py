"""The figures of a run, drawn into files."""

import json
import shutil

import numpy as np
import pytest
from tests.show.overlaps import find_overlaps

from alexnet.commands.figures import Figures
from alexnet.commands.predict import Predict
from alexnet.evaluation.scores import evaluate_run
from alexnet.show.figures import FIGURES, draw_figures, iterate_figures
from alexnet.show.material import Material


@pytest.fixture(scope="module")
def drawn(run, tmp_path_factory):
    """All figures of the run, as files."""
    return draw_figures(run, tmp_path_factory.mktemp("figures"), device="cpu")


def test_every_figure_of_a_run_is_drawn_and_nothing_overlaps(drawn):
    assert [figure.name for figure in drawn] == list(FIGURES)
    reasons = {figure.name: figure.skipped for figure in drawn if figure.figure is None}
    assert reasons.keys() <= {"mistakes"}  # a run without mistakes has none to show
    for figure in drawn:
        if figure.figure is not None:
            assert figure.path.read_bytes().startswith(b"\x89PNG")
            assert find_overlaps(figure.figure) == [], figure.name
        assert figure.title
        assert figure.explanation


def test_the_confusion_matrix_counts_what_evaluate_counts(run):
    material, scores = Material(run, device="cpu"), evaluate_run(run, device="cpu")
    confusion = material.confusion
    assert confusion.sum() == scores.counts.seen == 60
    assert confusion.sum() - np.trace(confusion) == scores.counts.wrong1
    assert (confusion.sum(1) - np.diag(confusion)).tolist() == scores.counts.per_class[
        :, 1
    ].tolist()


def test_without_its_pack_a_run_is_drawn_from_the_images_that_it_keeps(run, tmp_path):
    moved = tmp_path / "run"
    shutil.copytree(run, moved)
    environment = json.loads((moved / "environment.json").read_text())
    environment["pack"] |= {"path": str(tmp_path / "gone"), "relative": "../gone"}
    (moved / "environment.json").write_text(json.dumps(environment))
    found = {figure.name: figure for figure in iterate_figures(moved, device="cpu")}
    missing = {name for name, figure in found.items() if figure.figure is None}
    assert missing == {"mistakes", "classes", "confusion", "neighbors", "features"}
    assert "gone" in found["confusion"].skipped
    assert "--pack PACK" in found["confusion"].skipped


def test_a_training_without_a_checkpoint_has_its_curves(run, tmp_path):
    shutil.copy(run / "log.jsonl", tmp_path)
    found = {figure.name: figure for figure in iterate_figures(tmp_path, device="cpu")}
    assert [name for name, figure in found.items() if figure.figure is not None] == ["curves"]
    assert "no trained network" in found["kernels"].skipped


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no trained network"):
        iterate_figures(tmp_path / "none")


def test_a_damaged_pack_is_the_reason_of_each_figure_that_needs_it(run, tiny_pack, tmp_path):
    pack = tmp_path / "x.pack"
    shutil.copytree(tiny_pack.path, pack)
    (pack / "val" / "labels.npy").write_bytes(b"")
    with pytest.raises(ValueError, match=r"damaged.*labels\.npy"):
        iterate_figures(run, pack, device="cpu")


def test_other_images_and_splits_can_be_measured(run, tiny_pack):
    (found,) = iterate_figures(run, tiny_pack.path, only=["confusion"], split="train", device="cpu")
    assert found.figure is not None
    assert "150 train images" in found.figure.get_suptitle()
    (found,) = iterate_figures(run, only=["confusion"], split="test", device="cpu")
    assert "no test images; it has train, val" in found.skipped


def test_the_command_lists_the_files(run, tmp_path, capsys):
    command = Figures(run, tmp_path / "out", only=("kernels", "curves"), format="svg", device="cpu")
    assert command.run() == 0
    listed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [name for name, _ in listed] == ["curves", "kernels"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "curves.svg",
        "kernels.svg",
    ]


def test_the_command_says_what_it_skips_and_why(run, tmp_path, capsys):
    moved = tmp_path / "run"
    shutil.copytree(run, moved)
    (moved / "log.jsonl").unlink()
    command = Figures(moved, only=("curves", "kernels"), device="cpu")
    assert command.run() == 1
    printed = capsys.readouterr()
    assert printed.out.startswith("kernels ")
    assert "curves: skipped, there is no" in printed.err
    assert (moved / "figures" / "kernels.png").is_file()


def test_an_unknown_figure_is_refused_with_the_names(run):
    with pytest.raises(ValueError, match="no figure is called 'curve'; there are predictions, "):
        Figures(run, only=("curve",)).run()


def test_predict_draws_24_images_and_says_so(run, tmp_path, capsys):
    from PIL import Image
    from tests.conftest import picture

    for number in range(26):
        Image.fromarray(picture(number % 3, number)).save(tmp_path / f"{number}.png")
    figure = tmp_path / "out" / "figure.svg"
    figure.parent.mkdir()
    images = tuple(sorted(tmp_path.glob("*.png")))
    assert Predict(run, images, figure=figure, device="cpu").run() == 0
    assert f"{figure} has the first 24 of 26 images" in capsys.readouterr().err
    assert figure.read_bytes().startswith(b"<?xml")
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"")
    assert Predict(run, (bad,), figure=tmp_path / "none.png", device="cpu").run() == 1
    assert "was not drawn: no image could be read" in capsys.readouterr().err
