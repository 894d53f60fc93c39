"""The tables of docs/faults.md are made from records, and count all of them."""

import json
from pathlib import Path

import pytest
from tests.faults.report import HEADING, report, write_into

FACTS = {"machine": "a processor", "date": "2026-11-25", "commit": "abc", "environment": "as it is"}
KILLED = {
    "what": "pack",
    "kills": 1200,
    "kills_before_a_touch": 600,
    "kills_of_real_programs": 50,
    "other_signals": 9,
    "full_disks": 8,
    "unread_terminals": 7,
    "compared": 300,
    "problems": {"a traceback: KeyError": 2},
}
FINDINGS = [{"kind": kind, "count": 3} for kind in ("traceback", "unclear", "guarded", "hang")]
READ = {
    "reader": "packs",
    "inputs": 5000,
    "returned": 900,
    "refused": 4088,
    "peak_bytes": 12_000_000,
    "findings": FINDINGS,
}


@pytest.fixture
def records(tmp_path) -> list[Path]:
    """Two records of kills and one of inputs."""
    kinds = (("kills", KILLED), ("kills", KILLED), ("fuzz", READ))
    for number, (kind, record) in enumerate(kinds):
        text = json.dumps({"kind": kind, **FACTS, "records": [record]})
        (tmp_path / f"{number}.json").write_text(text)
    return sorted(tmp_path.glob("*.json"))


def test_every_record_is_a_row_and_the_sums_are_right(records):
    text = report(records)
    row = "| 1,200 | 600 | 50 | 9 | 8 | 7 | 300 | 2 | as it is |"
    assert text.count(f"| pack {row}") == 2
    assert "| **in all** | 2,400 | 1,200 | 100 | 18 | 16 | 14 | 600 | 4 |" in text
    assert "| packs | 5,000 | 900 | 4,088 | 3 | 3 | 6 | 12 | as it is |" in text
    assert "Made on a processor, 2026-11-25, commit abc." in text


def test_the_tables_replace_earlier_ones(records, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{HEADING}\nearlier tables\n")
    write_into(page, report(records))
    assert page.read_text().startswith(f"before\n{HEADING}\n| killed |")
    assert "earlier" not in page.read_text()


def test_the_page_has_the_heading_of_the_tables():
    page = Path(__file__).parents[2] / "docs" / "faults.md"
    assert HEADING in page.read_text("utf-8")
