"""The public names of `alexnet`, and the names and files that the README mentions."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import alexnet
from tests.conftest import CLASSES, QUICK, picture


@pytest.mark.parametrize("name", alexnet.__all__)
def test_every_public_name_can_be_imported_and_has_a_docstring(name):
    assert getattr(alexnet, name)
    assert name in dir(alexnet)
    assert name.startswith("__") or getattr(alexnet, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trane'"):
        _ = alexnet.trane


def test_a_folder_of_images_becomes_a_classifier_in_five_lines(tmp_path):
    for label, name in enumerate(CLASSES):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            image = Image.fromarray(picture(label, number))
            image.save(tmp_path / "photos" / name / f"{number}.png")

    pack = alexnet.pack(tmp_path / "photos", tmp_path / "photos.pack", size=32, val_fraction=0.25)
    recipe = dataclasses.replace(QUICK, epochs=1)
    outcome = alexnet.train(pack, tmp_path / "run", recipe, device="cpu")
    scores = alexnet.evaluate(outcome.run, views=10, device="cpu")
    classifier = alexnet.load(outcome.run, device="cpu")
    assert scores.counts.seen == len(pack.splits["val"])
    assert set(classifier.predict(tmp_path / "photos" / "rings" / "0.png").labels) == set(CLASSES)
    gray = np.full((40, 50, 3), 128, np.uint8)
    assert classifier.features(gray, "conv3").shape == (1, 64, 7, 7)


def test_the_commands_and_recipes_named_in_the_readme_exist():
    from alexnet.commands import COMMANDS

    readme = (Path(__file__).parents[1] / "README.md").read_text()
    assert set(re.findall(r"alexnet ([a-z]+) \S", readme)) - {"import"} <= set(COMMANDS)
    named = re.findall(r"--recipe ([a-z][\w-]*)", readme)
    assert {*named, *re.findall(r"^\| `(\w+)` \|", readme, re.M)} <= set(alexnet.RECIPES)


def test_the_files_linked_in_the_readme_exist():
    root = Path(__file__).parents[1]
    links = re.findall(r"\]\(([^)#]+)\)", (root / "README.md").read_text())
    assert links
    assert [link for link in links if "://" not in link and not (root / link).exists()] == []
