"""Files of results, and when a measurement counts as one on the paper's own data."""

import dataclasses
import json

import pytest

from alexnet.claims.paper import CLAIMS
from alexnet.claims.results import SHIPPED, Measurement, load, load_with_shipped, save
from alexnet.claims.table import judge_measurement

CLAIM = CLAIMS["ten-views"]
DATA = {"name": "ILSVRC-2010", "kind": "ilsvrc2010", "images": 1_261_406, "size": 256}
DATA["checksum"] = "1"


def make_seed_result(epochs=90, wrong=390):
    scores = {"1": {"seen": 1000, "wrong1": wrong, "wrong5": 183}}
    scores["10"] = {"seen": 1000, "wrong1": 375, "wrong5": 170}
    run = {"epochs": epochs, "of_epochs": 90, "scores": scores}
    run["changed"] = {"1": [90, 75], "5": [40, 27]}
    return {"seed": 0, "runs": {"the network": run}}


WHOLE = Measurement("ten-views", (make_seed_result(),), DATA, origin={"command": ["alexnet"]})


def test_full_training_on_the_papers_images_counts_as_on_paper_data():
    assert WHOLE.is_on_paper_data(CLAIM)
    assert WHOLE.label() == "ILSVRC-2010 (1,261,406 images of 256×256)"


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({"seed_results": (make_seed_result(epochs=10),)}, "10 of 90 epochs"),
        ({"data": DATA | {"images": 9_000}}, "9,000 images"),
        ({"data": DATA | {"kind": "folder", "name": "mine"}}, "mine"),
        ({"changes": {"crop": 64}}, "crop 64"),
        ({"recipe": "small"}, "recipe small"),
    ],
)
def test_every_departure_from_it_is_labeled_and_not_on_paper_data(changes, label):
    found = dataclasses.replace(WHOLE, **changes)
    assert not found.is_on_paper_data(CLAIM)
    assert label in found.label()


def test_a_saved_measurement_is_loaded_unchanged(tmp_path):
    save(WHOLE, tmp_path)
    assert load("ten-views", tmp_path) == [WHOLE]
    assert json.loads((tmp_path / "ten-views.json").read_text())["claim"] == "ten-views"


def test_a_new_measurement_replaces_only_the_one_with_an_equal_key(tmp_path):
    save(WHOLE, tmp_path)
    short = dataclasses.replace(WHOLE, seed_results=(make_seed_result(epochs=10),))
    save(short, tmp_path)
    again = dataclasses.replace(WHOLE, seed_results=(make_seed_result(wrong=380),))
    save(again, tmp_path)
    assert load("ten-views", tmp_path) == [short, again]


def test_the_error_about_a_damaged_file_names_it(tmp_path):
    (tmp_path / "ten-views.json").write_text("{}")
    with pytest.raises(ValueError, match=r"ten-views.json does not hold the results"):
        load_with_shipped("ten-views", tmp_path)


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.json")), ids=lambda path: path.stem)
def test_shipped_results_can_be_read_and_contain_no_private_path(path):
    claim = CLAIMS[path.stem]
    for found in load(claim.name, SHIPPED):
        assert judge_measurement(claim, found)
        assert found.origin["command"][0] == "alexnet"
        assert {"commit", "device_name", "date"} <= set(found.origin)
    assert "/tmp" not in path.read_text()
    assert "/work" not in path.read_text()
