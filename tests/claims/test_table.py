"""The table and the page."""

from pathlib import Path

from tests.claims.test_results import DATA, WHOLE, make_seed_result

from alexnet.claims.claim import Quantity
from alexnet.claims.page import format_page
from alexnet.claims.paper import CLAIMS
from alexnet.claims.results import Measurement, save
from alexnet.claims.table import (
    build_rows,
    build_table,
    format_mean,
    format_paper_values,
    judge_claim,
    summarize,
)
from alexnet.claims.verdict import AGREES, CONTRADICTS, LEGEND, NOISE, NOT_MEASURED

PAGE = Path(__file__).parents[2] / "docs" / "claims.md"


def test_the_row_of_an_unmeasured_claim_shows_the_command_that_measures_it():
    (row,) = build_rows(CLAIMS["two-towers"], [])
    assert row.verdict == NOT_MEASURED
    assert row.command == "alexnet claims run two-towers --pack ilsvrc2010.pack --seeds 3"
    assert row.paper == "+1.7 / +1.2 (lab notes +1.70 / +1.23)"


def test_a_measurement_on_other_images_has_a_row_under_that_of_the_papers_data():
    other = Measurement(
        "ten-views",
        (make_seed_result(epochs=10),),
        DATA | {"name": "mine", "kind": "folder", "images": 9},
    )
    first, second = build_rows(CLAIMS["ten-views"], [other])
    assert (first.data, first.verdict) == ("ILSVRC-2010", NOT_MEASURED)
    assert (second.data, second.statement) == ("mine (9 images of 256×256), 10 of 90 epochs", "")
    assert second.ours == "+1.5 / +1.3 (1)"
    assert second.verdict == NOISE  # a thousand images leave a margin of two points


def test_a_measurement_on_the_papers_data_fills_the_first_row():
    large = make_seed_result()
    whole = large["runs"]["the network"]
    for counts in whole["scores"].values():
        counts.update({name: 150 * value for name, value in counts.items()})
    whole["changed"] = {"1": [13_500, 11_250], "5": [6_000, 4_050]}
    found = Measurement("ten-views", (large,), DATA, origin={"command": ["alexnet", "claims"]})
    (row,) = build_rows(CLAIMS["ten-views"], [found])
    assert (row.verdict, row.command) == (AGREES, "alexnet claims")
    assert row.statement


def test_a_claim_is_judged_on_the_papers_data_if_it_was_measured_there():
    claim = CLAIMS["ten-views"]
    small = Measurement("ten-views", (make_seed_result(epochs=10),), DATA | {"images": 9})
    assert judge_claim(claim, []) == NOT_MEASURED
    assert judge_claim(claim, [small]) == NOISE
    worse = make_seed_result()
    worse["runs"]["the network"]["scores"]["10"].update({"wrong1": 600, "wrong5": 400})
    worse["runs"]["the network"]["changed"] = {"1": [0, 210], "5": [0, 217]}
    assert judge_claim(claim, [small, Measurement("ten-views", (worse,), DATA)]) == CONTRADICTS


def test_the_summary_counts_every_claim_once(tmp_path):
    summary = summarize(tmp_path)
    counts = [int(word) for word in summary.partition(":")[2].split() if word.isdigit()]
    assert summary.startswith(f"Of {len(CLAIMS)} claims: ")
    assert sum(counts) == len(CLAIMS)
    assert {row.verdict for row in build_table(tmp_path)} <= set(LEGEND)


def test_a_mean_is_printed_with_its_standard_deviation_if_there_are_several_values():
    quantity = Quantity("gain", float, 1.0, format="{:+.1f}")
    assert format_mean(quantity, [1.0, 2.0, 3.0]) == "+2.0 ± 1.0"
    assert format_mean(quantity, [-1.0]) == "-1.0"


def test_equal_numbers_of_the_paper_are_printed_once():
    assert format_paper_values(CLAIMS["depth"]) == "+2.0 each"
    assert format_paper_values(CLAIMS["color-noise"]) == "> +1.0"
    assert format_paper_values(CLAIMS["features"]) == "no number"


def test_the_page_in_docs_is_what_the_command_prints(tmp_path):
    assert PAGE.read_text("utf-8") == format_page(tmp_path)


def test_every_verdict_claim_and_lab_network_is_on_the_page(tmp_path):
    text = format_page(tmp_path)
    assert all(f"### {claim.number}. {name}" in text for name, claim in CLAIMS.items())
    assert "| 150 | towers that are not connected before fc8 |" in text
    assert WHOLE.claim in text
    assert all(f"* **{verdict}**: {rule}" in text for verdict, rule in LEGEND.items())


def test_the_page_has_the_remark_of_a_measurement_and_the_figure_of_convergence(tmp_path):
    runs = {
        unit: {"reached": epochs, "epochs": epochs, "learning_rate": 0.02, "curve": [0.2]}
        for unit, epochs in (("relu", 2), ("tanh", 5))
    }
    found = Measurement("relu-tanh", ({"seed": 0, "runs": runs},), DATA, remark="As one would.")
    save(found, tmp_path)
    text = format_page(tmp_path)
    assert "  * epochs with tanh / epochs with ReLU: 2.5×\n\nAs one would.\n" in text
    assert "](relu-tanh.png)" in text
