"""The table of claims: what the paper says, what came out here, and what to say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from alexnet.claims.claim import Claim, Quantity
from alexnet.claims.paper import CLAIMS
from alexnet.claims.results import Measurement, known
from alexnet.claims.verdict import NOT_MEASURED, judge, together

HEAD = "section", "statement", "paper", "ours ± spread (n)", "data", "verdict", "command"


@dataclass(frozen=True)
class Row:
    """A claim on the paper's data, or (without section and statement) on other images."""

    claim: str
    section: str
    statement: str
    paper: str
    ours: str
    data: str
    verdict: str
    command: str

    def cells(self) -> tuple[str, ...]:
        """What stands under `HEAD`."""
        return (
            self.section,
            self.statement,
            self.paper,
            self.ours,
            self.data,
            self.verdict,
            self.command,
        )


def table(folder: Path) -> list[Row]:
    """Every claim, and under it its measurements on other images, from files of results."""
    return [row for claim in CLAIMS.values() for row in rows(claim, known(claim.name, folder))]


def rows(claim: Claim, measurements: Sequence[Measurement]) -> list[Row]:
    """One row for the paper's own data, measured or not, and one for each other measurement.

    Raises ValueError for measurements that do not hold what the claim reads.
    """
    try:
        return _rows(claim, measurements)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise ValueError(
            f"the results of {claim.name} do not hold what this claim reads ({error!r}). Move "
            f"their file away and measure again: alexnet claims run {claim.name}"
        ) from error
    except StopIteration:
        raise ValueError(f"the results of {claim.name} hold a history without epochs") from None


def _rows(claim: Claim, measurements: Sequence[Measurement]) -> list[Row]:
    proper = [m for m in measurements if m.is_the_papers(claim)]
    others = [m for m in measurements if not m.is_the_papers(claim)]
    section, paper = f"{claim.number} · {claim.section}", figures(claim)
    first = [measured(claim, m, section, claim.statement, paper) for m in proper]
    if not proper:
        data = claim.data.name if claim.data else "—"
        first = [
            Row(
                claim.name,
                section,
                claim.statement,
                paper,
                "—",
                data,
                NOT_MEASURED,
                claim.command,
            )
        ]
    return first + [measured(claim, m) for m in others]


def measured(
    claim: Claim, found: Measurement, section: str = "", statement: str = "", paper: str = ""
) -> Row:
    """A row of something that was measured; the verdict is computed here."""
    return Row(
        claim.name,
        section,
        statement,
        paper,
        " / ".join(spread(q, found.values(q)) for q in claim.quantities) + seeds(found),
        found.label(),
        verdict(claim, found),
        " ".join(found.made.get("command", ())),
    )


def verdict(claim: Claim, found: Measurement) -> str:
    """The verdict of all numbers of a claim together."""
    same = found.is_the_papers(claim)
    return together(
        [judge(q, found.values(q), same=same, alone=found.alone(q)) for q in claim.quantities]
    )


def figures(claim: Claim) -> str:
    """The paper's figures, and those of the lab notes where they are known more exactly."""
    papers = [
        ("> " if q.at_least else "") + q.form.format(q.paper)
        for q in claim.quantities
        if q.paper is not None
    ]
    if len(set(papers)) == 1 and len(papers) > 2:
        papers = [f"{papers[0]} each"]
    noted = [f"{q.notes:+.2f}" for q in claim.quantities if q.notes is not None]
    notes = f" (lab notes {' / '.join(noted)})" if noted else ""
    return (" / ".join(papers) or "in words") + notes


def spread(quantity: Quantity, values: Sequence[float]) -> str:
    """The mean of the values and their standard deviation."""
    mean = quantity.form.format(fmean(values))
    if len(values) < 2:
        return mean
    return f"{mean} ± {quantity.form.replace('+', '').format(stdev(values))}"


def seeds(found: Measurement) -> str:
    """How many seeds; nothing where none is used."""
    return f" ({len(found.records)})" if found.data else ""
