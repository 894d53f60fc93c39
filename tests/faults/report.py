"""The records of kills and fuzzed inputs as the tables of docs/faults.md.

python -m tests.faults.report benchmarks/results/faults/*.json
python -m tests.faults.report benchmarks/results/faults/*.json --page docs/faults.md
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.faults.judge import FAILING

HEADING = "## Results\n"
KILLS = (
    *("killed", "kills", "just before a file-system change", "of `python -m alexnet`"),
    *("other signals", "full disks", "unread terminals", "results compared"),
    *("problems", "environment"),
)
INPUTS = (
    *("reader", "inputs", "read", "rejected", "decoder crashed or hung"),
    *("rejected with a library's message", "failures", "peak memory, MB", "environment"),
)


USUAL = "as it is"
"""The environment in which nothing is set."""
COUNTED = "inputs", "returned", "refused"


def kill_rows(facts: dict[str, Any]) -> Iterator[list[str]]:
    """A row for each thing that was killed."""
    for x in facts["records"]:
        counts = (
            *("kills", "kills_before_a_touch", "kills_of_real_programs", "other_signals"),
            *("full_disks", "unread_terminals", "compared"),
        )
        problems = sum(x["problems"].values())
        yield [
            x["what"],
            *(f"{x[name]:,}" for name in counts),
            f"{problems:,}",
            facts["environment"],
        ]


def input_rows(facts: dict[str, Any]) -> Iterator[list[str]]:
    """A row for each reader; of another environment than the usual one, a row for all of them."""
    records = facts["records"]
    if facts["environment"] != USUAL and records:
        whole = {name: sum(x[name] for x in records) for name in COUNTED}
        findings = [finding for x in records for finding in x["findings"]]
        peak = max(x["peak_bytes"] for x in records)
        name = f"all {len(records)} readers"
        records = [{"reader": name, **whole, "findings": findings, "peak_bytes": peak}]
    for x in records:
        kinds = {"guarded": 0, "unclear": 0, "broken": 0}
        for finding in x["findings"]:
            kind = "broken" if finding["kind"] in FAILING else finding["kind"]
            kinds[kind] += finding["count"]
        yield [
            x["reader"],
            *(f"{x[name]:,}" for name in COUNTED),
            *(f"{kinds[name]:,}" for name in ("guarded", "unclear", "broken")),
            f"{x['peak_bytes'] / 1e6:,.0f}",
            facts["environment"],
        ]


def table(heads: Iterable[str], rows: list[list[str]]) -> str:
    """Markdown, with a last row of sums."""
    heads = list(heads)
    sums = [_sum([row[i] for row in rows]) for i in range(1, len(heads) - 1)]
    lines = [heads, ["---"] * len(heads), *rows, ["**in all**", *sums, ""]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _sum(cells: list[str]) -> str:
    numbers = [int(cell.replace(",", "")) for cell in cells]
    return f"{sum(numbers):,}"


def report(paths: Iterable[Path]) -> str:
    """Both tables, and where and when they were made."""
    some = [json.loads(path.read_text()) for path in paths]
    some.sort(key=lambda facts: facts["environment"] != USUAL)
    found = []
    kills = [row for facts in some if facts["kind"] == "kills" for row in kill_rows(facts)]
    inputs = [row for facts in some if facts["kind"] == "fuzz" for row in input_rows(facts)]
    if kills:
        found.append(table(KILLS, kills))
    if inputs:
        text = table(INPUTS, inputs).splitlines()
        cells = text[-1].split(" | ")
        cells[-2] = f"{max(int(row[-2].replace(',', '')) for row in inputs):,}"  # not a sum
        found.append("\n".join([*text[:-1], " | ".join(cells)]))
    made = sorted({f"{x['machine']}, {x['date']}, commit {x['commit']}" for x in some})
    return "\n\n".join([*found, f"Made on {'; '.join(made)}."])


def write_into(page: Path, text: str) -> None:
    """Put the tables under the last heading of the page, in place of what is there."""
    before, heading, _ = page.read_text("utf-8").partition(HEADING)
    if not heading:
        raise ValueError(f"{page} has no heading {HEADING.strip()!r}")
    page.write_text(f"{before}{heading}\n{text}\n", "utf-8")


def main() -> None:
    """Print the tables, or put them into a page."""
    parser = argparse.ArgumentParser("python -m tests.faults.report", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("records", nargs="+", type=Path)
    parser.add_argument("--page", type=Path, help="write the tables into this page")
    options = parser.parse_args()
    text = report(options.records)
    if options.page is None:
        print(text)
    else:
        write_into(options.page, text)


if __name__ == "__main__":
    main()
