"""The model card of a folder for the Hugging Face hub: Markdown below a header in YAML.

`hub.write_hub_folder` calls `write_hub_card`. Names of classes and of packs come from others: in
YAML they are quoted as JSON texts, in Markdown every character with a meaning is escaped, and
characters that cannot be printed are escaped in both. No path of this machine is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from alexnet.checkpoint import Checkpoint
from alexnet.evaluation.counts import has_top5
from alexnet.evaluation.stored_scores import StoredScores
from alexnet.exporting.card import Card, write_card
from alexnet.nets import find
from alexnet.packs.pack import Pack
from alexnet.recipes.named import RECIPES
from alexnet.terminal import escape_unprintable, format_count

SPECIAL = re.compile(r"([\\`*_\[\]<>|~&@$#]|:(?=//)|(?<=www)\.)", re.IGNORECASE)
"""Characters that can have a meaning in Markdown within a line, those of bare links included."""


def write_hub_card(
    trained: Checkpoint, name: str, scores: list[StoredScores], pack: Pack | None
) -> str:
    """Return the text of README.md. `scores` are those of this network."""
    card = write_card(trained, scores, pack)
    ranks = (1, 5) if has_top5(len(card.classes)) else (1,)
    return "\n".join(
        [
            *_write_header(name, scores, ranks),
            f"# {escape_markdown(name)}",
            "",
            f"A network `{trained.recipe.network}` ({find(trained.recipe.network).paper}) that "
            f"tells {format_count(len(card.classes), 'class')} of images apart. Made with the "
            "Python package "
            "`alexnet`.",
            "",
            *_write_results(scores, ranks),
            *USE,
            *_write_card(card),
            *_write_training(trained),
            *_write_classes(card),
        ]
    )


USE = (
    "## Use",
    "",
    "```python",
    "import alexnet",
    "",
    'classifier = alexnet.load("FOLDER")  # a copy of this folder',
    'print(classifier.predict("image.jpg").labels)',
    "```",
    "",
    "Without the package: `config.json` says how an image becomes the input, and "
    "`preprocessing.safetensors` has the mean image that is subtracted.",
    "",
)


def _write_header(name: str, scores: list[StoredScores], ranks: tuple[int, ...]) -> list[str]:
    """The YAML that the hub reads, between lines of three dashes."""
    lines = [
        "---",
        "library_name: alexnet",
        "pipeline_tag: image-classification",
        "tags:",
        "- alexnet",
        "- image-classification",
        "# license: name the license under which you publish these weights",
    ]
    if scores:
        lines += ["model-index:", f"- name: {quote_yaml(name)}", "  results:"]
    for x in scores:
        pack = quote_yaml(Path(x.pack.path).name)
        views = "center view" if x.views == 1 else format_count(x.views, "view")
        lines += [
            "  - task:",
            "      type: image-classification",
            "    dataset:",
            f"      name: {pack}",
            f"      type: {pack}",
            f"      split: {quote_yaml(x.split)}",
            "    metrics:",
        ]
        for number in ranks:
            wrong = x.wrong1 if number == 1 else x.wrong5
            title = quote_yaml(f"top-{number} accuracy, {views}")
            lines += ["    - type: accuracy", f"      name: {title}"]
            lines.append(f"      value: {1 - wrong / x.seen:.6f}")
    return [*lines, "---", ""]


def _write_results(scores: list[StoredScores], ranks: tuple[int, ...]) -> list[str]:
    """The measured errors as a table; nothing without scores."""
    if not scores:
        return []
    names = ["images", "views", *(f"top-{number} error" for number in ranks)]
    rows = [["---"] * len(names)]
    for x in scores:
        errors = {1: x.wrong1 / x.seen, 5: x.wrong5 / x.seen}
        pack = escape_markdown(Path(x.pack.path).name)
        images = f"{x.seen:,}, {escape_markdown(x.split)} of {pack}"
        rows.append([images, str(x.views), *(f"{errors[number]:.2%}" for number in ranks)])
    return ["## Results", "", *(f"| {' | '.join(row)} |" for row in (names, *rows)), ""]


def _write_card(card: Card) -> list[str]:
    """Use, limits and preprocessing, each under its heading."""
    return [
        "## Intended use",
        "",
        *_list(card.use),
        "## Limits",
        "",
        *_list(card.limits),
        "## Preprocessing",
        "",
        *(f"{i}. {escape_markdown(text)}" for i, text in enumerate(card.preprocessing, start=1)),
        "",
        f"The output: {escape_markdown(card.output)}",
        "",
    ]


def _list(texts: Iterable[str]) -> list[str]:
    """Sentences as a list, and an empty line after it."""
    return [*(f"- {escape_markdown(text)}" for text in texts), ""]


def _write_training(trained: Checkpoint) -> list[str]:
    """Where the recipe departs from the paper's, as a table."""
    head = ["## Training", "", "Where the recipe departs from the paper's:", ""]
    table = ["| field | here | paper |", "|---|---|---|"]
    differences = trained.recipe.differences(RECIPES["paper"])
    cells = ((name, str(here), str(paper)) for name, (here, paper) in differences.items())
    rows = [f"| {' | '.join(map(escape_markdown, row))} |" for row in cells]
    return [*head, *table, *rows, ""] if rows else ["## Training", "", "By the paper's recipe.", ""]


def _write_classes(card: Card) -> list[str]:
    """The class of every output, with WordNet ids if they say something else."""
    rows = [f"| {i} | {escape_markdown(name)} |" for i, name in enumerate(card.classes)]
    head = ["## Classes", "", "| output | class |", "|---|---|"]
    if card.wordnet_ids and card.wordnet_ids != card.classes:
        pairs = zip(rows, card.wordnet_ids, strict=True)
        rows = [f"{row} {escape_markdown(wordnet_id)} |" for row, wordnet_id in pairs]
        head[2:] = ["| output | class | WordNet |", "|---|---|---|"]
    return [*head, *rows, ""]


def escape_markdown(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    return SPECIAL.sub(r"\\\1", escape_unprintable(text))


def quote_yaml(text: str) -> str:
    """Return a text as a quoted scalar of YAML, of printable characters on one line."""
    return json.dumps(escape_unprintable(text), ensure_ascii=False)
