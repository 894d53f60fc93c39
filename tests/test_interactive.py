"""`alexnet.train` as a notebook or a script calls it."""

import sys
import types

import pytest
from PIL import Image

import alexnet
from alexnet import checkpoint
from alexnet.notebook import NotebookLine, is_notebook, render_bar
from alexnet.training.log import Screen
from tests.conftest import CLASSES, QUICK, picture

SMALL = {"network": "cifar", "crop": 28, "device": "cpu"}
"""Fields with which a training takes a second."""


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of 36 images of three classes; it is in the current folder."""
    for label, name in enumerate(CLASSES):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            path = tmp_path / "photos" / name / f"{number}.png"
            Image.fromarray(picture(label, number)).save(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def read_recipe(run):
    return checkpoint.load_recipe(checkpoint.find(run))


def test_a_path_and_keyword_arguments_are_enough(photos, capsys):
    outcome = alexnet.train("photos", epochs=1, **SMALL)
    assert outcome.run.parent.name == "runs"
    assert outcome.run.name.startswith("photos-")
    recipe = read_recipe(outcome)
    assert (recipe.epochs, recipe.network) == (1, "cifar")
    shown = capsys.readouterr().err
    assert "Recipe `cifar` (the packed images are small (32×32))" in shown
    assert "epoch 1/1" in shown
    assert "1 epoch done" in repr(outcome)
    again = alexnet.train("photos", epochs=2, resume=outcome, device="cpu", progress=False)
    assert (again.run, again.position.epoch) == (outcome.run, 2)
    assert alexnet.evaluate(outcome, "photos", device="cpu").counts.seen
    assert alexnet.load(outcome, device="cpu").classes
    assert alexnet.write_report(outcome, figures="none").parent == outcome.run
    assert capsys.readouterr().err == ""


def test_a_pack_its_path_and_the_old_signature_give_the_same_bits(tiny_pack, tmp_path):
    runs = [
        alexnet.train(tiny_pack, tmp_path / "a", QUICK, device="cpu"),
        alexnet.train(str(tiny_pack.path), tmp_path / "b", QUICK, device="cpu", progress=False),
        alexnet.train(tiny_pack, tmp_path / "c", QUICK, epochs=3, device="cpu", screen=Screen()),
    ]
    saved = [checkpoint.load(checkpoint.find(run, ("last",))) for run in runs]
    for other in saved[1:]:
        assert all((other.weights[k] == x).all() for k, x in saved[0].weights.items())


def test_a_recipe_may_be_a_name_and_fields_may_be_texts(photos):
    options = {"device": "cpu", "progress": False, "epochs": 1}
    run = alexnet.train(photos, "r", "digits", schedule="steps", steps="0.1@1", **options)
    recipe = read_recipe(run)
    assert recipe.flip is False
    assert [str(step) for step in recipe.steps] == ["0.1@1"]


@pytest.mark.parametrize(
    ("arguments", "fields", "kind", "message"),
    [
        (("photos",), {"epoch": 3}, TypeError, "Did you mean epochs"),
        (("photos",), {"lr": 0.1}, TypeError, "Did you mean learning_rate"),
        (("photos",), {"devcie": "cpu"}, TypeError, "Did you mean device"),
        (("photos",), {"zzz": 1}, TypeError, "There are network, variations"),
        (("photos",), {"epochs": "3"}, TypeError, "not a whole number"),
        (("photos", None, "smal"), {}, ValueError, "Did you mean small"),
        (("photos", "small"), {}, TypeError, r"train\(images, recipe='small'\)"),
        (("photos", QUICK), {}, TypeError, "the folder of the run, and a recipe was given"),
        (("none", "photos"), {}, FileNotFoundError, "swap the arguments"),
        ((["photos"],), {}, TypeError, "not as a list"),
        (("photos", "r", 3), {}, TypeError, "not a int"),
        (("none",), {}, FileNotFoundError, "none does not exist"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(
    photos, arguments, fields, kind, message
):
    with pytest.raises(kind, match=message):
        alexnet.train(*arguments, **fields)
    assert [path.name for path in photos.parent.iterdir()] == ["photos"]


def test_a_run_in_place_of_the_images_is_named(run):
    with pytest.raises(ValueError, match="is a run, and not images"):
        alexnet.train(run, "photos")


@pytest.fixture
def cell(monkeypatch):
    """The HTML that a notebook's cell was given, in order; a notebook's IPython is imitated."""
    shown = []
    shell = type("ZMQInteractiveShell", (), {})()
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: shell
    display.HTML = lambda text: text
    handle = types.SimpleNamespace(update=shown.append)
    display.display = lambda text, display_id: (shown.append(text), handle)[1]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return shown


def test_a_notebook_shows_a_bar_and_messages_on_stdout(photos, cell, capsys):
    assert is_notebook()
    alexnet.train("photos", epochs=1, **SMALL)
    assert any("<progress" in text for text in cell)
    assert cell[-1] == ""
    shown = capsys.readouterr()
    assert "epoch 1/1" in shown.out
    assert shown.err == ""


def test_a_line_in_a_notebook_is_escaped_and_updates_are_few(cell):
    line = NotebookLine()
    for done in range(1000):
        line.show(done, 2000, "<b>")
    assert len(cell) < 10
    assert "&lt;b&gt;" in cell[0]
    assert "<b>" not in render_bar(1, None, "<b>")
