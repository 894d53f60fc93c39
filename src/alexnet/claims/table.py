"""The table of claims: the paper's numbers, the measured ones, and the verdict on them.

Each claim has a row for full training on the paper's own dataset, measured or not, and under it one
row for every other measurement. `commands.claims` prints the rows and `page` writes them into
docs/claims.md. Never imports torch, so that the table appears at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import fmean, stdev

from alexnet.claims.claim import Claim, Quantity
from alexnet.claims.paper import CLAIMS
from alexnet.claims.results import Measurement, load_with_shipped
from alexnet.claims.verdict import LEGEND, NOT_MEASURED, combine_verdicts, judge

HEAD = (
    "claim · section",
    "statement",
    "paper",
    "measured: mean ± SD (seeds)",
    "data",
    "verdict",
    "command",
)
"""The heads of `ClaimRow.cells`."""


@dataclass(frozen=True)
class ClaimRow:
    """One row of the table. A row on other data leaves section, statement and paper empty."""

    claim: str
    section: str
    statement: str
    paper: str
    ours: str
    data: str
    verdict: str
    command: str

    def cells(self) -> tuple[str, ...]:
        """The cells under `HEAD`: all fields but the name of the claim."""
        return astuple(self)[1:]


def build_table(folder: Path) -> list[ClaimRow]:
    """Build the rows of all claims from the results in a folder and those shipped."""
    results = {name: load_with_shipped(name, folder) for name in CLAIMS}
    return [row for name, claim in CLAIMS.items() for row in build_rows(claim, results[name])]


def build_rows(claim: Claim, measurements: Sequence[Measurement]) -> list[ClaimRow]:
    """Build a row for the paper's own data, measured or not, and one for each other measurement.

    Raises ValueError for measurements that lack what the claim reads.
    """
    try:
        return _build_rows(claim, measurements)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise ValueError(
            f"the results of {claim.name} do not hold what this claim reads ({error!r}). Move "
            f"their file away and measure again: alexnet claims run {claim.name}"
        ) from error
    except StopIteration:
        raise ValueError(f"the results of {claim.name} hold a history without epochs") from None


def _build_rows(claim: Claim, measurements: Sequence[Measurement]) -> list[ClaimRow]:
    section, paper = f"{claim.number} · {claim.section}", format_paper_values(claim)
    on_paper_data = [m for m in measurements if m.is_on_paper_data(claim)]
    on_other_data = [m for m in measurements if not m.is_on_paper_data(claim)]
    rows = [build_row(claim, m, section, claim.statement, paper) for m in on_paper_data]
    if not rows:
        dataset = claim.dataset.name if claim.dataset else "—"
        unmeasured = "—", dataset, NOT_MEASURED, claim.command
        rows = [ClaimRow(claim.name, section, claim.statement, paper, *unmeasured)]
    return rows + [build_row(claim, m) for m in on_other_data]


def build_row(
    claim: Claim, measurement: Measurement, section: str = "", statement: str = "", paper: str = ""
) -> ClaimRow:
    """Build the row of a measurement."""
    means = [format_mean(q, measurement.values(q)) for q in claim.quantities]
    seeds = f" ({len(measurement.seed_results)})" if measurement.data else ""
    return ClaimRow(
        claim.name,
        section,
        statement,
        paper,
        " / ".join(means) + seeds,
        measurement.label(),
        judge_measurement(claim, measurement),
        " ".join(measurement.origin.get("command", ())),
    )


def judge_measurement(claim: Claim, measurement: Measurement) -> str:
    """Return the verdict of a measurement: the least favorable of the claim's quantities."""
    on_paper_data = measurement.is_on_paper_data(claim)
    return combine_verdicts(
        [
            judge(
                quantity,
                measurement.values(quantity),
                on_paper_data=on_paper_data,
                single_seed_margin=measurement.single_seed_margin(quantity),
            )
            for quantity in claim.quantities
        ]
    )


def judge_claim(claim: Claim, measurements: Sequence[Measurement]) -> str:
    """Return the verdict of a claim: from the paper's own data if measured on it, else from all.

    Of several measurements, the least favorable verdict counts.
    """
    on_paper_data = [m for m in measurements if m.is_on_paper_data(claim)]
    verdicts = [judge_measurement(claim, m) for m in on_paper_data or measurements]
    return combine_verdicts(verdicts) if verdicts else NOT_MEASURED


def summarize(folder: Path) -> str:
    """Return one sentence: how often each verdict is given, each claim counted once."""
    results = {name: load_with_shipped(name, folder) for name in CLAIMS}
    counts = Counter(judge_claim(claim, results[name]) for name, claim in CLAIMS.items())
    parts = [f"{counts[verdict]} {verdict}" for verdict in LEGEND if counts[verdict]]
    return f"Of {len(CLAIMS)} claims: {', '.join(parts)}."


def format_paper_values(claim: Claim) -> str:
    """Format the paper's numbers, and those of the lab notes where they are more exact."""
    values = [
        ("> " if q.at_least else "") + q.format.format(q.paper)
        for q in claim.quantities
        if q.paper is not None
    ]
    if len(set(values)) == 1 and len(values) > 2:
        values = [f"{values[0]} each"]
    lab_values = [f"{q.lab_notes:+.2f}" for q in claim.quantities if q.lab_notes is not None]
    lab_notes = f" (lab notes {' / '.join(lab_values)})" if lab_values else ""
    return (" / ".join(values) or "no number") + lab_notes


def format_mean(quantity: Quantity, values: Sequence[float]) -> str:
    """Format the mean of the values and, if there are several, their standard deviation."""
    mean = quantity.format.format(fmean(values))
    if len(values) < 2:
        return mean
    return f"{mean} ± {quantity.format.replace('+', '').format(stdev(values))}"
