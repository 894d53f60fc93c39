"""The examples of docs/python.md and of the public docstrings run; a typed caller passes mypy."""

import dataclasses
import doctest
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import alexnet
from tests.conftest import TRAINED, picture

ROOT = Path(__file__).parents[1]
PLAIN = {"NETS", "RECIPES", "__version__"}
"""Names of values, which have no help of their own."""
NEEDS_MORE = {"import_weights", "make_app"}
"""Names whose help has no example: it would need weights of another program, or a server."""


def save_photos(folder: Path, count: int = 30) -> None:
    """Save photos/cats/*.png and photos/dogs/*.png, and cat.jpg and dog.jpg beside them."""
    for label, name in enumerate(("cats", "dogs")):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(count):
            image = Image.fromarray(picture(label, number))
            image.save(folder / "photos" / name / f"{number}.png")
        Image.fromarray(picture(label, 1000)).save(folder / f"{name[:-1]}.jpg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with photos, photos.pack, a run, an index and two images."""
    folder = tmp_path_factory.mktemp("examples")
    save_photos(folder)
    pack = alexnet.pack(folder / "photos", folder / "photos.pack", size=32, val_fraction=0.2)
    recipe = dataclasses.replace(TRAINED, epochs=2)
    run = alexnet.train(pack, folder / "run", recipe, device="cpu", progress=False)
    index = alexnet.build_index(run, pack, folder / "photos.index", layer="pool3", device="cpu")
    alexnet.train_codes(index, alexnet.EncoderOptions(bits=64, steps=5))
    return folder


@pytest.mark.parametrize("name", sorted({*alexnet.__all__} - PLAIN))
def test_the_help_of_a_public_name_has_examples_that_run(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    thing = getattr(alexnet, name)
    names = {"alexnet": alexnet, "dataclasses": dataclasses, "np": np}
    tests = doctest.DocTestFinder(recurse=inspect.isclass(thing)).find(thing, name, globs=names)
    assert name in NEEDS_MORE or any(test.examples for test in tests)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    for test in tests:
        runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)


@pytest.mark.slow
def test_the_page_about_python_runs(tmp_path):
    save_photos(tmp_path, 6)
    page = (ROOT / "docs" / "python.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(blocks) >= 8
    paths = {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
    (tmp_path / "page.py").write_text("\n".join(blocks))
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "page.py"],
        cwd=tmp_path,
        env={**os.environ, **paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "AlexNet: 3×224×224" in done.stdout


TYPED = """
from pathlib import Path

import alexnet

outcome = alexnet.train("photos", epochs=3)
run: Path = outcome.run
scores = alexnet.evaluate(outcome, views=10)
error: float = scores.counts.top1
classifier = alexnet.load(outcome)
labels: tuple[str, ...] = classifier.predict("cat.jpg").labels
names: list[str] = [found.name for found in classifier.predict(["cat.jpg", "dog.jpg"])]
pack: alexnet.Pack = alexnet.open_pack(Path("photos.pack"))
network = alexnet.NETS["alexnet"].build(10, seed=0)
taken: tuple[str, ...] = alexnet.load_weights(network, outcome)
index = alexnet.build_index(outcome, pack, "photos.index")
report: Path = alexnet.write_report(outcome)
figures = alexnet.draw_figures(outcome, pack=pack)
alexnet.export(outcome, "photos.onnx", pack=pack)
similar = alexnet.find_similar(outcome, index, ["cat.jpg"])
recipe: alexnet.Recipe = alexnet.RECIPES["small"]
"""
WRONG = "number: int = classifier.predict('cat.jpg').labels\n"


@pytest.mark.slow
def test_a_typed_caller_passes_mypy_and_a_wrong_one_does_not(tmp_path):
    assert (ROOT / "src" / "alexnet" / "py.typed").is_file()
    (tmp_path / "caller.py").write_text(TYPED + WRONG)
    options = ["--strict", "--follow-imports", "silent", "--cache-dir", str(ROOT / ".mypy_cache")]
    config = ["--config-file", str(ROOT / "pyproject.toml"), "--no-warn-unused-ignores"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *config, *options, "caller.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 1, done.stdout
    assert f":{len(TYPED.splitlines()) + 1}: error" in errors[0]
