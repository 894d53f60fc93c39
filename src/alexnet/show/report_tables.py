"""The tables of a report, as data: what stands in each cell. `report` renders them as HTML.

Each function takes `RunFacts` and returns a `Table`. Cells are text or numbers from files, not yet
escaped. This module must not import anything of training.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alexnet import nets
from alexnet.evaluation.counts import has_top5
from alexnet.evaluation.stored_scores import StoredScores
from alexnet.nets.variations import read_variations
from alexnet.recipes.named import RECIPES
from alexnet.recipes.recipe import Recipe
from alexnet.show.run_facts import MOST_LINES, RunFacts

Kind = Literal["text", "prose", "name", "number", "share", "bar"]
"""How a column is shown: `prose` is long text, `name` text of unknown origin; `share` is a number
from 0 to 1, in per cent; `bar` the same with a bar beside it."""

MACHINE = {
    "alexnet": "alexnet",
    "python": "Python",
    "torch": "PyTorch",
    "numpy": "NumPy",
    "numba": "Numba",
    "platform": "platform",
    "device": "device",
    "device_name": "name of the device",
    "precision": "precision",
    "compiled": "compiled by torch.compile",
    "threads": "threads",
    "instructions": "instructions of the CPU that PyTorch used",
    "bf16_units": "units for bf16",
    "mkl": "setting of MKL",
}
"""The entries of environment.json that a report shows, and what it calls them."""


@dataclass(frozen=True)
class Table:
    """A table: a caption, columns with their kinds, and rows. The first cell of a row heads it."""

    caption: str
    columns: tuple[tuple[str, Kind], ...]
    rows: tuple[tuple[Any, ...], ...]
    """Cells of a row; None is shown as a dash."""
    marked: frozenset[int] = frozenset()
    """Rows that are marked."""


def choose_headline(facts: RunFacts) -> StoredScores | None:
    """Return the scores to show first: on validation images of the run's own pack, of most views.

    Scores of an earlier state of the network do not count.
    """
    own = [
        x
        for x in facts.scores
        if x.split == "val"
        and is_current(x, facts)
        and x.pack.checksum == facts.trained.pack_checksum
    ]
    return max(own, key=lambda x: x.views, default=None)


def is_current(scores: StoredScores, facts: RunFacts) -> bool:
    """Whether scores are of the network as it is now, by the hash of its file."""
    return scores.checkpoint is not None and scores.checkpoint.sha256 == facts.sha256


def tabulate_scores(facts: RunFacts) -> Table:
    """The errors in every file of scores."""
    rows = []
    for x in facts.scores:
        own = x.pack.checksum == facts.trained.pack_checksum
        rows.append(
            (
                f"{x.split} of {'its own pack' if own else Path(x.pack.path).name}",
                x.views,
                x.seen,
                x.counts.top1_error,
                x.counts.top5_error if has_top5(len(facts.trained.classes)) else None,
                f"{x.loss:.4f}",
                x.left_out,
                "" if is_current(x, facts) else "of another state of the network",
            )
        )
    columns: tuple[tuple[str, Kind], ...] = (
        ("measured on", "name"),
        ("views", "number"),
        ("images", "number"),
        ("top-1 error", "bar"),
        ("top-5 error", "bar"),
        ("loss (nats)", "number"),
        ("left out", "number"),
        ("remark", "prose"),
    )
    return _drop_empty(Table("Errors measured by alexnet evaluate", columns, tuple(rows)))


def tabulate_classes(facts: RunFacts, scores: StoredScores | None) -> Table:
    """Every class with its images and, of the given scores, its errors; most errors first."""
    counts = facts.pack.class_counts if facts.pack else {}
    ids = facts.trained.wordnet_ids or facts.trained.classes
    top5 = has_top5(len(facts.trained.classes))
    rows = []
    for index, name in enumerate(facts.trained.classes):
        own = scores.per_class.get(name) if scores else None
        rows.append(
            (
                name,
                ids[index] if ids[index] != name else "",
                *(count[index] for count in counts.values()),
                own.top1_error if own else None,
                own.top5_error if own and top5 else None,
            )
        )
    if scores:
        rows.sort(key=lambda row: -1.0 if row[-2] is None else row[-2], reverse=True)
    images: tuple[tuple[str, Kind], ...] = tuple((f"{name} images", "number") for name in counts)
    columns: tuple[tuple[str, Kind], ...] = (
        ("class", "name"),
        ("WordNet", "name"),
        *images,
        ("top-1 error", "bar"),
        ("top-5 error", "bar"),
    )
    measured = f"; errors of {scores.file.name}, most first" if scores else ""
    return _drop_empty(Table(f"Classes{measured}", columns, tuple(rows)))


def tabulate_epochs(facts: RunFacts) -> Table:
    """What was measured after every epoch. The row of the epoch that is kept is marked."""
    top5 = has_top5(len(facts.trained.classes))
    rows = []
    for number, measured in enumerate(facts.position.history, start=1):
        losses = (
            f"{measured[k]:.4f}" if k in measured else None for k in ("train_loss", "val_loss")
        )
        errors = measured.get("val_top1"), measured.get("val_top5") if top5 else None
        rows.append((number, *losses, *errors))
    columns: tuple[tuple[str, Kind], ...] = (
        ("epoch", "number"),
        ("training loss", "number"),
        ("validation loss", "number"),
        ("top-1 error", "share"),
        ("top-5 error", "share"),
    )
    kept = frozenset({facts.trained.position.epoch - 1})
    caption = "After each epoch, on the center view; the epoch that is kept is marked"
    return _drop_empty(Table(caption, columns, tuple(rows), kept))


def tabulate_recipe(facts: RunFacts, departures: bool) -> Table:
    """The fields of the recipe that are not the paper's (`departures`), or those that are."""
    recipe, paper = facts.recipe.to_dict(), RECIPES["paper"].to_dict()
    about = read_field_docs(Recipe)
    names = [name for name in recipe if (recipe[name] != paper[name]) == departures]
    cells = [(n, _format(recipe[n]), _format(paper[n]), about.get(n, "")) for n in names]
    columns: tuple[tuple[str, Kind], ...] = (
        ("field", "text"),
        ("here", "text"),
        ("paper", "text"),
        ("meaning", "prose"),
    )
    caption = "Where the recipe departs from the paper's" if departures else "As in the paper"
    return Table(caption, columns, tuple(cells))


def tabulate_layers(facts: RunFacts) -> Table:
    """The layers of the network, with their outputs, parameters and multiply-adds for one image."""
    recipe = facts.recipe
    layers = nets.list_layers(
        recipe.network, len(facts.trained.classes), recipe.crop, **read_variations(recipe)
    )
    rows = [(x.name, "×".join(map(str, x.shape)), x.parameters, x.multiply_adds) for x in layers]
    rows.append(("sum", "", sum(row[2] for row in rows), sum(row[3] for row in rows)))
    columns: tuple[tuple[str, Kind], ...] = (
        ("layer", "text"),
        ("output", "number"),
        ("parameters", "number"),
        ("multiply-adds", "number"),
    )
    return Table("Layers", columns, tuple(rows))


def tabulate_pack(facts: RunFacts) -> Table:
    """What the pack is made of."""
    assert facts.pack is not None
    pack, about = facts.pack.pack, facts.pack.pack.metadata
    rows = [
        ("source", f"{pack.source['kind']}: {pack.source['path']}"),
        ("pack", str(pack.path)),
        *((f"{name} images", f"{len(split):,}") for name, split in pack.splits.items()),
        ("classes", f"{len(pack.classes):,}"),
        ("image", f"{pack.size}×{pack.size} pixels, {pack.pixels}, made square by: {about['fit']}"),
        ("EXIF orientation", "applied" if about.get("upright") else "not applied"),
        ("held out for validation", _format_division(about["division"])),
        *((f"remark {i}", text) for i, text in enumerate(about["remarks"], start=1)),
        ("checksum", pack.checksum),
    ]
    return Table("The images", (("", "text"), ("", "name")), tuple(rows))


def _format_division(division: dict[str, Any] | None) -> str:
    """The entry `division` of a pack in words: "0.1 of each class, chosen by seed 0"."""
    if not division:
        return "the source has its own splits, or none was asked for"
    share = division.get("share")
    part = f"{share:.3g}" if isinstance(share, int | float) else "a share"
    return f"{part} {division.get('rule') or ''}, chosen by seed {division.get('seed')}"


def tabulate_skipped(facts: RunFacts) -> Table:
    """The files that were not used, with reasons."""
    assert facts.pack is not None
    rows = tuple((x.path, x.split, x.reason, x.detail) for x in facts.pack.skipped)
    columns: tuple[tuple[str, Kind], ...] = (
        ("file", "name"),
        ("split", "name"),
        ("reason", "text"),
        ("detail", "name"),
    )
    total = sum(facts.pack.reasons.values())
    return Table(_caption_part("Files that were not used", len(rows), total), columns, rows)


def tabulate_duplicates(facts: RunFacts) -> Table:
    """The images that are in two splits."""
    assert facts.pack is not None
    rows = tuple((x.path, x.split, x.same_path, x.same_split) for x in facts.pack.duplicates)
    columns: tuple[tuple[str, Kind], ...] = (
        ("image", "name"),
        ("split", "name"),
        ("is the same as", "name"),
        ("of split", "name"),
    )
    total = facts.pack.pack.metadata["duplicates"]
    return Table(_caption_part("Images in two splits", len(rows), total), columns, rows)


def _caption_part(caption: str, shown: int, total: int) -> str:
    """A caption with the number of rows, and how many are shown if these are not all."""
    rest = f": the first {MOST_LINES} of {total:,}" if total > shown else f": {total:,}"
    return caption + rest


def tabulate_machine(facts: RunFacts) -> Table:
    """The machine and the versions that the network was trained with."""
    rows = [
        (title, _format(facts.environment[name]))
        for name, title in MACHINE.items()
        if facts.environment.get(name) is not None
    ]
    settings = facts.environment.get("settings")
    if isinstance(settings, dict):
        rows += [(name, _format(value)) for name, value in settings.items()]
    return Table("Machine and versions", (("", "name"), ("", "name")), tuple(rows))


def _format(value: object) -> str:
    """A value of a recipe or of environment.json as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _drop_empty(table: Table) -> Table:
    """Return the table without the columns that are empty or zero in every row."""
    kept = [
        i for i in range(len(table.columns)) if any(row[i] not in (None, "") for row in table.rows)
    ]
    kept = [i for i in kept if table.columns[i][0] != "left out" or any(r[i] for r in table.rows)]
    columns = tuple(table.columns[i] for i in kept)
    rows = tuple(tuple(row[i] for i in kept) for row in table.rows)
    return Table(table.caption, columns, rows, table.marked)


@functools.cache
def read_field_docs(kind: type) -> dict[str, str]:
    """Return the first sentence of the text below each field of a dataclass, by name.

    They are read from the source, as the help of the command line is; without it, {}.
    """
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    except (OSError, SyntaxError):
        return {}
    assert isinstance(body, ast.ClassDef)
    return dict(_pair_docs(body.body))


def _pair_docs(statements: list[ast.stmt]) -> Iterable[tuple[str, str]]:
    """Yield the name and the first sentence of each field that a text follows."""
    for this, following in itertools.pairwise(statements):
        if not isinstance(this, ast.AnnAssign) or not isinstance(this.target, ast.Name):
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            text = " ".join(str(following.value.value).replace("`", "").split())
            yield this.target.id, text.split(". ")[0].rstrip(".:")
