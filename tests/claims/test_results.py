"""Files of results, and when a measurement passes for one on the paper's data."""

import dataclasses
import json

import pytest

from alexnet.claims.paper import CLAIMS
from alexnet.claims.results import SHIPPED, Measurement, known, load, save
from alexnet.claims.table import verdict

CLAIM = CLAIMS["ten-views"]
DATA = {"name": "ILSVRC-2010", "kind": "ilsvrc2010", "images": 1_261_406, "size": 256}
DATA["checksum"] = "1"


def record(epochs=90, wrong=390):
    scores = {"1": {"seen": 1000, "wrong1": wrong, "wrong5": 183}}
    scores["10"] = {"seen": 1000, "wrong1": 375, "wrong5": 170}
    run = {"epochs": epochs, "of_epochs": 90, "scores": scores}
    run["changed"] = {"1": [90, 75], "5": [40, 27]}
    return {"seed": 0, "runs": {"the network": run}}


WHOLE = Measurement("ten-views", (record(),), DATA, made={"command": ["alexnet"]})


def test_a_whole_training_on_the_papers_images_is_the_papers():
    assert WHOLE.is_the_papers(CLAIM)
    assert WHOLE.label() == "ILSVRC-2010 (1,261,406 images of 256×256)"


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({"records": (record(epochs=10),)}, "10 of 90 epochs"),
        ({"data": DATA | {"images": 9_000}}, "9,000 images"),
        ({"data": DATA | {"kind": "folder", "name": "mine"}}, "mine"),
        ({"changes": {"crop": 64}}, "crop 64"),
        ({"recipe": "small"}, "recipe small"),
    ],
)
def test_what_departs_from_it_never_passes_and_says_so(changes, label):
    found = dataclasses.replace(WHOLE, **changes)
    assert not found.is_the_papers(CLAIM)
    assert label in found.label()


def test_results_come_back_as_they_were_saved(tmp_path):
    save(WHOLE, tmp_path)
    assert load("ten-views", tmp_path) == [WHOLE]
    assert json.loads((tmp_path / "ten-views.json").read_text())["claim"] == "ten-views"


def test_a_second_measurement_replaces_its_like_and_no_other(tmp_path):
    save(WHOLE, tmp_path)
    short = dataclasses.replace(WHOLE, records=(record(epochs=10),))
    save(short, tmp_path)
    again = dataclasses.replace(WHOLE, records=(record(wrong=380),))
    save(again, tmp_path)
    assert load("ten-views", tmp_path) == [short, again]


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "ten-views.json").write_text("{}")
    with pytest.raises(ValueError, match=r"ten-views.json does not hold the results"):
        known("ten-views", tmp_path)


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.json")), ids=lambda path: path.stem)
def test_results_that_are_shipped_can_be_read_and_name_no_private_place(path):
    claim = CLAIMS[path.stem]
    for found in load(claim.name, SHIPPED):
        assert verdict(claim, found)
        assert found.made["command"][0] == "alexnet"
        assert {"commit", "device_name", "date"} <= set(found.made)
    assert "/tmp" not in path.read_text()
    assert "/work" not in path.read_text()
