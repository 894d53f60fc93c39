"""The page docs/claims.md, which `alexnet claims --markdown` prints. Never edit it by hand.

The rules of the verdicts come first, then a summary, the table of `table`, the errors of the lab
notes, and a section on each claim. Called by `commands.claims`; never imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from alexnet.claims.claim import Claim
from alexnet.claims.lab_errors import LAB_ERRORS, compute_difference, get_baseline
from alexnet.claims.paper import CLAIMS
from alexnet.claims.results import Measurement, load_with_shipped
from alexnet.claims.table import HEAD, build_table, format_mean, summarize
from alexnet.claims.verdict import LEGEND

INTRODUCTION = """# The claims of the paper

Every measurable claim of *ImageNet Classification with Deep Convolutional Neural Networks* (2012),
the command that tests it, and what has been measured so far. This page is printed by
`alexnet claims --markdown`; each verdict is computed from the counts in the files of results.

## The verdicts
"""

RULES = """
A claim with several numbers gets the least favorable of their verdicts: contradicts, not measured,
within noise, same direction, agrees, in this order. The table gives mean ± standard deviation over
seeds, which is narrower than the confidence interval that the verdicts use: with three seeds, the
half width of the interval is 2.5 standard deviations. The intervals are not corrected for the
number of claims. Formulas and references: `src/alexnet/claims/verdict.py`.

Errors are those after the last epoch, with ten views unless stated otherwise; differences are in
points of error. The first row of each claim is for full training on the paper's own dataset;
further rows are for other datasets or shortened training, and give the number of epochs.

## Summary
"""

COUNTED_ONCE = """
The response normalization of section 3.3 is two claims, one on ImageNet and one on CIFAR-10. Each
claim is counted once: by its measurement on the paper's own dataset, or else by the least favorable
of its other measurements.

## The table
"""

LAB_NOTES = """
## What the lab notes recorded

The networks of the paper's comparisons as recorded in the lab notes of the 2012 code, with ten
views, and by how many points the errors of each exceed those of the paper's network on the same
images. These are published numbers; we did not measure them.
"""


def format_page(folder: Path) -> str:
    """Return the whole page, from the results in a folder and those shipped."""
    results = {name: load_with_shipped(name, folder) for name in CLAIMS}
    sections = [line for name, claim in CLAIMS.items() for line in describe(claim, results[name])]
    parts = [
        INTRODUCTION,
        *(f"* **{verdict}**: {rule}" for verdict, rule in LEGEND.items()),
        RULES,
        summarize(folder),
        COUNTED_ONCE,
        format_markdown_table(HEAD, [row.cells() for row in build_table(folder)]),
        LAB_NOTES,
        format_lab_errors(),
        "",
        "## Claim by claim",
        "",
        *sections,
    ]
    return "\n".join(parts).rstrip() + "\n"


def format_markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the last column holds commands and is set as code."""
    lines = [head, ["---"] * len(head)]
    lines += [[*row[:-1], f"`{row[-1]}`" if row[-1] else ""] for row in rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def format_lab_errors() -> str:
    """Return the errors of the lab notes as a Markdown table."""
    head = "network", "difference", "images", "top-1", "top-5", "excess error, points", "recipe"
    rows = [
        (
            name,
            error.difference,
            error.dataset,
            f"{100 * error.top1:.2f} %",
            f"{100 * error.top5:.2f} %",
            " / ".join(
                f"{compute_difference(name, get_baseline(name), top):.2f}" for top in (1, 5)
            ),
            error.recipe,
        )
        for name, error in LAB_ERRORS.items()
    ]
    return format_markdown_table(head, rows)


def describe(claim: Claim, measurements: Sequence[Measurement]) -> Iterator[str]:
    """Yield the lines of a claim's section: its statement, then every number of every seed."""
    yield f"### {claim.number}. {claim.name}"
    yield ""
    yield f"Section {claim.section}: {claim.statement}. {claim.remark}".rstrip()
    for measurement in measurements:
        yield ""
        origin = format_origin(measurement)
        yield f"* {measurement.label()}; {origin}." if measurement.data else f"* {origin}."
        for quantity in (*claim.quantities, *claim.unjudged):
            values = measurement.values(quantity)
            seeds = ", ".join(quantity.format.format(value) for value in values)
            each = f" ({seeds})" if len(values) > 1 else ""
            yield f"  * {quantity.name}: {format_mean(quantity, values)}{each}"
        if measurement.remark:
            yield ""
            yield measurement.remark
    if claim.method == "convergence" and measurements:
        yield ""
        yield f"![Training error by epoch]({claim.name}.png)"
    yield ""


def format_origin(measurement: Measurement) -> str:
    """Format the seeds, machine, precision, versions, commit and date of a measurement."""
    origin, trained = measurement.origin, bool(measurement.data)
    numbers = [str(seed_result["seed"]) for seed_result in measurement.seed_results]
    device, torch = origin.get("device_name", "unknown"), origin.get("torch", "unknown")
    parts = [f"seed{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"] if trained else []
    parts += [device, origin.get("precision", "unknown")] if trained else [device]
    parts += [f"torch {torch}", f"commit {origin.get('commit')}", f"{origin.get('date')}"]
    return ", ".join(parts)
