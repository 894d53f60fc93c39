"""The table and the page."""

from pathlib import Path

from tests.claims.test_results import DATA, WHOLE, record

from alexnet.claims.claim import Quantity
from alexnet.claims.page import page
from alexnet.claims.paper import CLAIMS
from alexnet.claims.results import Measurement, save
from alexnet.claims.table import figures, rows, spread
from alexnet.claims.verdict import AS_PAPER, NOISE, NOT_MEASURED

PAGE = Path(__file__).parents[2] / "docs" / "claims.md"


def test_a_claim_that_nobody_measured_has_the_command_that_would():
    (row,) = rows(CLAIMS["two-towers"], [])
    assert row.verdict == NOT_MEASURED
    assert row.command == "alexnet claims run two-towers --pack ilsvrc2010.pack --seeds 3"
    assert row.paper == "+1.7 / +1.2 (lab notes +1.70 / +1.23)"


def test_a_measurement_on_other_images_stands_under_the_papers_row():
    other = Measurement(
        "ten-views", (record(epochs=10),), DATA | {"name": "mine", "kind": "folder", "images": 9}
    )
    first, second = rows(CLAIMS["ten-views"], [other])
    assert (first.data, first.verdict) == ("ILSVRC-2010", NOT_MEASURED)
    assert (second.data, second.statement) == ("mine (9 images of 256×256), 10 of 90 epochs", "")
    assert second.ours == "+1.5 / +1.3 (1)"
    assert second.verdict == NOISE  # a thousand images leave a margin of two points


def test_the_papers_row_holds_the_measurement_on_its_data():
    large = record()
    whole = large["runs"]["the network"]
    for counts in whole["scores"].values():
        counts.update({name: 150 * value for name, value in counts.items()})
    whole["changed"] = {"1": [13_500, 11_250], "5": [6_000, 4_050]}
    found = Measurement("ten-views", (large,), DATA, made={"command": ["alexnet", "claims"]})
    (row,) = rows(CLAIMS["ten-views"], [found])
    assert (row.verdict, row.command) == (AS_PAPER, "alexnet claims")
    assert row.statement


def test_a_spread_is_a_standard_deviation_without_a_sign():
    quantity = Quantity("gain", float, 1.0, form="{:+.1f}")
    assert spread(quantity, [1.0, 2.0, 3.0]) == "+2.0 ± 1.0"
    assert spread(quantity, [-1.0]) == "-1.0"


def test_equal_figures_are_said_once():
    assert figures(CLAIMS["depth"]) == "+2.0 each"
    assert figures(CLAIMS["color-noise"]) == "> +1.0"
    assert figures(CLAIMS["features"]) == "in words"


def test_the_page_in_docs_is_what_the_command_writes(tmp_path):
    assert PAGE.read_text("utf-8") == page(tmp_path)


def test_every_claim_and_note_is_on_the_page(tmp_path):
    text = page(tmp_path)
    assert all(f"### {claim.number}. {name}" in text for name, claim in CLAIMS.items())
    assert "| 150 | towers that never meet before fc8 |" in text
    assert WHOLE.claim in text


def test_the_page_has_the_remark_of_a_measurement_and_the_figure_of_a_race(tmp_path):
    runs = {
        unit: {"reached": epochs, "epochs": epochs, "learning_rate": 0.02, "curve": [0.2]}
        for unit, epochs in (("relu", 2), ("tanh", 5))
    }
    found = Measurement("relu-tanh", ({"seed": 0, "runs": runs},), DATA, remark="As one would.")
    save(found, tmp_path)
    text = page(tmp_path)
    assert "  * epochs with tanh / epochs with ReLU: 2.5×\n\nAs one would.\n" in text
    assert "](relu-tanh.png)" in text
