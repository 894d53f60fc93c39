"""The page of claims, docs/claims.md: written by `alexnet claims --markdown`, never by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from alexnet.claims.claim import Claim
from alexnet.claims.notes import NOTES, baseline, gained
from alexnet.claims.paper import CLAIMS
from alexnet.claims.results import Measurement, known
from alexnet.claims.table import HEAD, spread, table

INTRODUCTION = """# The claims of the paper

Every measurable statement of *ImageNet Classification with Deep Convolutional Neural Networks*
(2012), what measures it, and what has come out so far. This page is written by
`alexnet claims --markdown`; each verdict is computed from the counts in the files of results.

* **as the paper**: on the paper's own images and to the last epoch, the figure lies within the
  claim's tolerance. On other images, or shortened, only the direction can agree, and does.
* **within noise**: the 95 % interval of the mean over the seeds holds what would come out if there
  were nothing in the claim. One seed of a comparison of trainings is always within noise.
* **contradicts**: beyond noise, and not what the paper says.
* **not measured**: nobody has, on images that could tell; the command is what would.

Errors are those after the last epoch, with ten views unless told otherwise; differences are in
points of error. The first row of a claim is for the paper's own images, the rows under it for
others, with their epochs where a training was shortened.
"""

HOW_NOTES = """## What the lab notes have

The networks of the paper's comparisons as the notes of the 2012 code record them, ten views, and
how much worse each is than the paper's network on the same images. They are published numbers, not
ours.
"""


def page(folder: Path) -> str:
    """All of the page, from the results in a folder and those shipped."""
    found = {name: known(name, folder) for name in CLAIMS}
    body = [line for name, claim in CLAIMS.items() for line in details(claim, found[name])]
    rows = [row.cells() for row in table(folder)]
    parts = [INTRODUCTION, grid(HEAD, rows), "", HOW_NOTES, lab_notes(), "", "## One by one", ""]
    return "\n".join([*parts, *body]).rstrip() + "\n"


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown; commands, in the last column, as code."""
    lines = [head, ["---"] * len(head)]
    lines += [[*row[:-1], f"`{row[-1]}`" if row[-1] else ""] for row in rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in x) + " |" for x in lines
    )


def lab_notes() -> str:
    """The notes as a table."""
    head = "network", "what is different", "images", "top-1", "top-5", "worse by", "recipe"
    rows = [
        (
            name,
            note.what,
            note.data,
            f"{100 * note.top1:.2f} %",
            f"{100 * note.top5:.2f} %",
            " / ".join(f"{gained(name, baseline(name), top):.2f}" for top in (1, 5)),
            note.recipe,
        )
        for name, note in NOTES.items()
    ]
    return grid(head, rows)


def details(claim: Claim, measurements: Sequence[Measurement]) -> Iterator[str]:
    """What there is to know of one claim."""
    yield f"### {claim.number}. {claim.name}"
    yield ""
    yield f"Section {claim.section}: {claim.statement}. {claim.remark}".rstrip()
    for found in measurements:
        yield ""
        yield f"* {found.label()}; {origin(found)}." if found.data else f"* {origin(found)}."
        for q in (*claim.quantities, *claim.asides):
            each = ", ".join(q.form.format(value) for value in found.values(q))
            yield f"  * {q.name}: {spread(q, found.values(q))}" + (
                f" ({each})" if len(found.records) > 1 else ""
            )
        if found.remark:
            yield ""
            yield found.remark
    if claim.method == "race" and measurements:
        yield ""
        yield f"![Training error by epoch]({claim.name}.png)"
    yield ""


def origin(found: Measurement) -> str:
    """Seeds, machine, precision, versions, commit and date."""
    made, numbers = found.made, ", ".join(str(record["seed"]) for record in found.records)
    count = f"seed{'s' if len(found.records) > 1 else ''} {numbers}, " if found.data else ""
    precision = f"{made.get('precision', 'unknown')}, " if found.data else ""
    where = f"{made.get('device_name', 'unknown')}, {precision}torch {made.get('torch', 'unknown')}"
    return f"{count}{where}, commit {made.get('commit')}, {made.get('date')}"
