"""The report on a run: one HTML file with everything that its files say, figures included.

    read_run_facts ──> tables, commands, card, figures ──> templates/report.html ──> report.html

The file needs no other file, no network and no script. Names of classes and files come from others:
Jinja2 escapes every text (autoescape), characters that cannot be printed are escaped before that,
and a Content-Security-Policy forbids whatever could still run or load. The same files give the same
bytes: no date is in it.

`write_report` is called by `commands.report` and `commands.demo`. This module must not import
anything of training.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from alexnet import __version__
from alexnet.evaluation.counts import has_top5
from alexnet.evaluation.stored_scores import StoredScores
from alexnet.exporting.card import write_card
from alexnet.files import replace_bytes
from alexnet.nets import find
from alexnet.show import report_tables as tables
from alexnet.show.repeating import list_steps, read_typed_command
from alexnet.show.report_figures import (
    EmbeddedFigure,
    FigureChoice,
    Progress,
    draw_report_figures,
)
from alexnet.show.run_facts import RunFacts, read_run_facts
from alexnet.terminal import escape_unprintable, format_count

NAME = "report.html"
"""The report's file in a run's folder, unless another is named."""
POLICY = (
    "default-src 'none'; style-src 'sha256-{}'; img-src data:; base-uri 'none'; form-action 'none'"
)
"""The Content-Security-Policy: one style sheet, by its hash, and inlined images; nothing else."""


@dataclass(frozen=True)
class Number:
    """One of the numbers at the head of a report."""

    title: str
    value: str
    note: str = ""


def write_report(
    run: str | os.PathLike[str],
    path: str | os.PathLike[str] | None = None,
    *,
    figures: FigureChoice = "all",
    device: str = "auto",
    progress: Progress | None = None,
) -> Path:
    """Write the report on a run as one HTML file, and return its path.

    Args:
        run: a run's folder (its `best` checkpoint, else its `last`) or a checkpoint file.
        path: the file to write; by default report.html in the run's folder. It is replaced.
        figures: "all"; "quick", those for which the network does not run; or "none".
        device: for the figures: auto, cpu, cuda, or cuda:1 for the second GPU.
        progress: called with what is under way, how many images are done, and of how many.

    What is missing beside the checkpoint, or damaged, is named in the report. Raises
    FileNotFoundError if there is no checkpoint, ValueError if it is damaged, and OSError if the
    file cannot be written.

    >>> alexnet.write_report("run", figures="none").name
    'report.html'
    """
    facts = read_run_facts(os.fspath(run))
    path = facts.run / NAME if path is None else Path(path)
    pack = facts.pack.pack.path if facts.pack else None
    drawn = draw_report_figures(facts.checkpoint, pack, figures, device=device, progress=progress)
    page = render_report(facts, drawn)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_bytes(path, page.encode("utf-8"))
    return path


def render_report(facts: RunFacts, figures: Sequence[EmbeddedFigure] = ()) -> str:
    """Return the HTML of a report with these figures."""
    environment = Environment(
        loader=PackageLoader("alexnet.show"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_make_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(_collect(facts, figures))
    return page.strip() + "\n"


def _make_printable(value: Any) -> Any:
    """Escape what cannot be printed in a text that a template shows; leave our own HTML."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return escape_unprintable(value)
    return value


def _collect(facts: RunFacts, figures: Sequence[EmbeddedFigure]) -> dict[str, Any]:
    """Return everything that the template shows, by name."""
    css = _read_css()
    headline = tables.choose_headline(facts)
    return {
        "version": __version__,
        "css": Markup(css),
        "policy": POLICY.format(base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()),
        "name": facts.run.resolve().name,
        "folder": str(facts.run),
        "summary": _summarize(facts),
        "numbers": _choose_numbers(facts, headline),
        "problems": [*_list_warnings(facts), *facts.problems],
        "figures": figures,
        "scores": tables.tabulate_scores(facts),
        "classes": tables.tabulate_classes(facts, headline),
        "epochs": tables.tabulate_epochs(facts),
        "network": _describe_network(facts),
        "layers": tables.tabulate_layers(facts),
        "departures": tables.tabulate_recipe(facts, departures=True),
        "same": tables.tabulate_recipe(facts, departures=False),
        **_collect_pack(facts),
        "card": write_card(
            facts.trained, list(facts.scores), facts.pack.pack if facts.pack else None
        ),
        "steps": list_steps(facts),
        "typed": read_typed_command(facts.environment),
        "repeatable": _describe_repeatability(facts),
        "machine": tables.tabulate_machine(facts),
        "checkpoint": facts.checkpoint.name,
        "sha256": facts.sha256,
    }


def _read_css() -> str:
    """The style sheet, exactly as it stands in the page: its hash is in the policy."""
    return resources.files("alexnet.show").joinpath("templates/report.css").read_text("utf-8")


def _collect_pack(facts: RunFacts) -> dict[str, Any]:
    """What is shown of the pack; nothing but its checksum if it is not there."""
    if facts.pack is None:
        return {"pack": None, "pack_checksum": facts.trained.pack_checksum}
    return {
        "pack": tables.tabulate_pack(facts),
        "pack_checksum": facts.trained.pack_checksum,
        "reasons": facts.pack.reasons,
        "skipped": tables.tabulate_skipped(facts),
        "duplicates": tables.tabulate_duplicates(facts),
    }


def _summarize(facts: RunFacts) -> str:
    """One or two sentences: what was trained on what, and how far."""
    recipe, position, classes = facts.recipe, facts.position, len(facts.trained.classes)
    images = ""
    if facts.pack and "train" in facts.pack.pack.splits:
        images = f"{len(facts.pack.pack.splits['train']):,} images of "
    text = (
        f"A network {recipe.network!r}, trained on {images}{classes:,} classes for "
        f"{position.epoch} of {format_count(recipe.epochs, 'epoch')}."
    )
    if facts.checkpoint.name == "best.safetensors" and "val_top1" in _kept_epoch(facts):
        text += (
            f" Kept is the network after epoch {facts.trained.position.epoch}, which had the "
            "lowest top-1 error on the validation images."
        )
    return text


def _kept_epoch(facts: RunFacts) -> dict[str, Any]:
    """What was measured after the epoch that is kept; {} if none is done."""
    history = facts.trained.position.history
    return dict(history[-1]) if history else {}


def _choose_numbers(facts: RunFacts, scores: StoredScores | None) -> list[Number]:
    """The numbers at the head: errors as measured, else those of the epoch that is kept."""
    numbers, kept = [], _kept_epoch(facts)
    if scores is not None:
        top1, top5 = scores.wrong1 / scores.seen, scores.wrong5 / scores.seen
        views = "center view" if scores.views == 1 else format_count(scores.views, "view")
        note = f"{views}, {format_count(scores.seen, 'validation image')}"
    elif "val_top1" in kept:
        top1, top5, note = kept["val_top1"], kept["val_top5"], "center view, validation images"
    if scores is not None or "val_top1" in kept:
        numbers = [Number("top-1 error", f"{100 * top1:.2f} %", note)]
        if has_top5(len(facts.trained.classes)):
            numbers.append(Number("top-5 error", f"{100 * top5:.2f} %", note))
    elif kept:
        numbers = [Number("training loss", f"{kept['train_loss']:.4f}", "nats per image")]
    parameters = sum(x.numel() for x in facts.trained.weights.values())
    return [
        *numbers,
        Number("classes", f"{len(facts.trained.classes):,}"),
        Number("parameters", f"{parameters:,}"),
        Number("epochs", f"{facts.position.epoch} of {facts.recipe.epochs}"),
    ]


def _list_warnings(facts: RunFacts) -> list[str]:
    """What a reader of the errors has to know first."""
    warnings = []
    stale = [x.file.name for x in facts.scores if not tables.is_current(x, facts) and x.checkpoint]
    if stale:
        warnings.append(
            f"Measured on another state of the network: {', '.join(stale)}. Measure again: "
            f"alexnet evaluate {facts.run}"
        )
    if facts.position.epoch < facts.recipe.epochs:
        warnings.append(
            f"The training has not finished: {facts.position.epoch} of {facts.recipe.epochs} "
            "epochs are done."
        )
    return warnings


def _describe_network(facts: RunFacts) -> str:
    """The network in a sentence: its paper, its variations and its input."""
    recipe = facts.recipe
    text = f"{recipe.network}: {find(recipe.network).paper}"
    if recipe.variations:
        text += f", with {' '.join(map(str, recipe.variations))}"
    return f"{text}. Its input is {recipe.crop}×{recipe.crop} pixels of three colors."


def _describe_repeatability(facts: RunFacts) -> str:
    """How alike a repeated training will be (docs/design.md)."""
    device = str(facts.environment.get("device", "cpu"))
    if device.startswith("cuda"):
        return "On a GPU the same commands give the same random numbers; rounding can differ."
    return (
        "With the same processor, number of threads and versions as below, these commands give the "
        "same bits; elsewhere the same random numbers, rounded differently."
    )
