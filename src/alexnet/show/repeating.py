"""The commands that repeat a training, from what its files say: pack, train, evaluate.

The command that a user typed is not enough: it may have been `--resume`, and defaults change. So
the commands are written from the recipe and from pack.json, with every value that is not a default.
They are exact: names that cannot be printed are quoted so that a shell reads the same bytes.
`report` calls this module.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet.evaluation.stored_scores import StoredScores
from alexnet.packs.pack import Pack
from alexnet.recipes.named import RECIPES
from alexnet.recipes.recipe import Recipe
from alexnet.show.run_facts import RunFacts

NO_OPTION = (), None
"""Values that no option of `alexnet train` can set, since they are what a missing option means."""
DIGITS = "scikit-learn digits"
"""The path in a pack of the images that `alexnet pack digits` reads."""
PACK_DEFAULTS = {"fit": "crop", "pixels": "rgb", "max_pixels": 178_956_970}


@dataclass(frozen=True)
class Step:
    """One command, and what it does."""

    title: str
    command: str


def list_steps(facts: RunFacts) -> list[Step]:
    """Return the commands that repeat a run, in order; without its pack, `PACK` stands for it."""
    pack = facts.pack.pack if facts.pack else None
    place = str(pack.path) if pack else "PACK"
    steps = [Step("Pack the images", write_pack_command(pack))] if pack else []
    steps.append(Step("Train", write_train_command(facts, place)))
    for scores in facts.scores:
        if scores.checkpoint is not None:
            steps.append(Step(f"Measure ({scores.file.name})", _write_evaluate(scores, facts)))
    return [*steps, Step("Write this report", join_command(["alexnet", "report", facts.run]))]


def write_pack_command(pack: Pack) -> str:
    """Return the command that makes the same pack of the same images."""
    source, about = pack.source["path"], pack.metadata
    words = ["alexnet", "pack", "digits" if source == DIGITS else source, pack.path]
    words += ["--size", pack.size]
    for name, default in PACK_DEFAULTS.items():
        if about[name] != default:
            words += [f"--{name.replace('_', '-')}", about[name]]
    words += ["--upright", about.get("upright", False)]
    if division := about["division"]:
        words += ["--val-fraction", division.get("share"), "--seed", division.get("seed")]
    elif list(pack.splits) == ["train"]:
        words += ["--val-fraction", 0]
    return join_command(words)


def write_train_command(facts: RunFacts, pack: str) -> str:
    """Return the command that trains by the same recipe, on the same kind of device."""
    environment = facts.environment
    words: list[Any] = ["alexnet", "train", pack, facts.run, *list_recipe_options(facts.recipe)]
    for name in ("device", "precision"):
        if isinstance(value := environment.get(name), str):
            words += [f"--{name}", value]
    init = environment.get("init")
    if isinstance(init, dict) and isinstance(path := init.get("path"), str):
        words += ["--init", path]
        for name in ("take", "reset"):
            if isinstance(layers := init.get(name), list) and layers:
                words += [f"--{name}", *map(str, layers)]
    return join_command(words)


def list_recipe_options(recipe: Recipe) -> list[str]:
    """Return the options of `alexnet train` that describe a recipe, by the closest named one."""
    name, base = min(
        ((name, base) for name, base in RECIPES.items() if _can_begin_with(recipe, base)),
        key=lambda item: len(recipe.differences(item[1])),
    )
    words = ["--recipe", name]
    for field_name, (value, _) in recipe.differences(base).items():
        values = value if isinstance(value, tuple) else (value,)
        words += [f"--{field_name.replace('_', '-')}", *map(str, values)]
    return words


def _can_begin_with(recipe: Recipe, base: Recipe) -> bool:
    """Whether options can change `base` into `recipe`. They always can for the paper's."""
    return all(value not in NO_OPTION for value, _ in recipe.differences(base).values())


def _write_evaluate(scores: StoredScores, facts: RunFacts) -> str:
    """Return the command that measured these scores."""
    assert scores.checkpoint is not None
    is_default = Path(scores.checkpoint.path).name == facts.checkpoint.name
    run = facts.run if is_default else facts.run / Path(scores.checkpoint.path).name
    is_own = scores.pack.checksum == facts.trained.pack_checksum
    words = ["alexnet", "evaluate", run, *(() if is_own else (scores.pack.path,))]
    words += ["--split", scores.split, "--views", scores.views]
    return join_command([*words, *(["--ignore-unknown"] if scores.left_out else ())])


def join_command(words: Iterable[object]) -> str:
    """Return a command line for a shell, of words that may have any characters."""
    return " ".join(quote_word(str(word)) for word in words)


def quote_word(word: str) -> str:
    r"""Quote a word for bash and zsh, on one line of printable characters.

    A word with characters that cannot be printed becomes `$'…'`, in which `\xHH` stands for a byte.
    """
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{''.join(map(_quote_character, word))}'"


def _quote_character(character: str) -> str:
    if character in "'\\":
        return "\\" + character
    if character.isprintable():
        return character
    try:
        encoded = os.fsencode(character)  # a byte of a file name that is not text, or UTF-8
    except UnicodeEncodeError:  # another lone surrogate, which no file name holds
        encoded = character.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in encoded)


def read_typed_command(environment: dict[str, Any]) -> str | None:
    """Return the command that began the training as it was typed; None if it is not recorded."""
    command = environment.get("command")
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        return None
    return join_command(["alexnet", *command[1:]]) if command else None
