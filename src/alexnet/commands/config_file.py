"""The file of `alexnet train --config FILE`: options and recipe fields in TOML or JSON.

    recipe = "small"            # the names are those of the options, with _ for -
    epochs = 10
    rates = ["conv1=0.1"]
    precision = "bf16"

`insert_config` adds what the file says to the words of the command line, without the options that
are given there, which win. `format_recipe` writes a recipe in this form. The `recipe.json` of a run
has every field of a recipe, and is read as well. Imports nothing heavy.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alexnet.commands.options import Option, list_options
from alexnet.commands.usage import UsageError, split_options
from alexnet.validate import check, parse_json, suggest

LARGEST_CONFIG = 1 << 20
"""Bytes of a file, at most."""
NOT_IN_FILE = "config", "resume", "dry_run", "print_config"
"""Options that a file cannot have: they say what to do now, not what a training is like."""


def insert_config(words: list[str], commands: Mapping[str, type]) -> list[str]:
    """Return the words of a command line with those of its --config file at their end.

    Raises UsageError for a file that cannot be read, is no TOML or JSON, has a key that is no
    option, or a value of another type.
    """
    options = {option.name: option for option in list_options(commands[words[0]])}
    given = dict(split_options(words[1:]))
    given = {word.lstrip("-").replace("_", "-"): values for word, values in given.items()}
    if "config" not in options or "config" not in given:
        return words
    path = Path(given["config"][0])
    values = read_config(path, list(options.values()))
    return [*words, *_to_words(values, options, given)]


def read_config(path: Path, options: list[Option]) -> dict[str, Any]:
    """Return the values in a file by the name of their option. Raises UsageError."""
    known = {x.field: x for x in options if not x.is_positional and x.field not in NOT_IN_FILE}
    known |= {x.name.replace("-", "_"): x for x in known.values()}
    content = _parse_file(path)
    found = {}
    for key, value in content.items():
        option = known.get(key.replace("-", "_"))
        if option is None:
            raise UsageError(f"{path}: there is no option {key!r}.{_suggest_key(key, known)}")
        if value is not None:  # null in recipe.json, where nothing is limited
            found[option.name] = _check_value(value, option, f"{path}: {key}")
    if "recipe" not in found and _is_whole(content, options):
        found["recipe"] = "paper"  # every field is given; those that are null are null there
    return found


def _is_whole(content: Mapping[str, Any], options: list[Option]) -> bool:
    """Return whether a file has every field of a recipe, as `recipe.json` has."""
    return all(x.field in content for x in options if x.is_recipe_field)


def _parse_file(path: Path) -> dict[str, Any]:
    """Parse a file as JSON if its name ends so, else as TOML. Raises UsageError."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_CONFIG + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--config {path} cannot be read: {reason}") from error
    if len(content) > LARGEST_CONFIG:
        raise UsageError(f"{path} has more than {LARGEST_CONFIG:,} bytes: that is no --config file")
    try:
        is_json = path.suffix == ".json"
        found = parse_json(content, str(path)) if is_json else tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        kind, reason = ("JSON" if is_json else "TOML"), " ".join(str(error).split())
        raise UsageError(f"{path} is no valid {kind} file: {reason[:200]}") from error
    if not isinstance(found, dict):
        raise UsageError(
            f"{path} has no fields: it must be an object, like the recipe.json of a run"
        )
    return found


def _suggest_key(key: str, known: Mapping[str, Option]) -> str:
    """Return the suggestion for a key that is no option."""
    from alexnet.commands.foreign_names import MEANINGS

    name = key.replace("_", "-")
    for option, names in MEANINGS.items():
        if name in names and option.replace("-", "_") in known:
            return f" Did you mean {option.replace('-', '_')}?"
    if key in ("images", "run_folder", *NOT_IN_FILE):
        return " It belongs on the command line"
    return suggest(key, known) or f" There are {', '.join(known)}"


def _check_value(value: Any, option: Option, place: str) -> Any:
    """Return a value of the type of an option. Raises UsageError."""
    kind: Any = str if option.kind is Path else option.kind
    try:
        if option.choices and option.kind is not bool:
            if value not in option.choices:
                raise ValueError(
                    f"{place} is {json.dumps(value, default=str)[:60]}."
                    f"{suggest(str(value), option.choices)} There are {', '.join(option.choices)}"
                )
            return value
        if isinstance(value, dict | list) and not option.is_many:
            raise ValueError(
                f"{place} is a {'table' if isinstance(value, dict) else 'list'}; it "
                f"must be one value: {option.metavar}"
            )
        return _check_type(value, kind, option.is_many, place)
    except (ValueError, TypeError) as error:
        raise UsageError(str(error)) from error


def _check_type(value: Any, kind: Any, is_many: bool, place: str) -> Any:
    """Return a value, or each of a list, as `validate.check` does for JSON.

    TOML has dates and times as well, which no option takes: they are refused as texts.
    """
    if not isinstance(value, bool | int | float | str | list | dict):
        value = str(value)
    if not is_many:
        return check(value, kind, place)
    if not isinstance(value, list):
        raise ValueError(f"{place} is {json.dumps(value, default=str)[:60]}, not a list")
    return [_check_type(x, kind, False, f"{place}[{i}]") for i, x in enumerate(value)]


def _to_words(
    values: Mapping[str, Any], options: Mapping[str, Option], given: Mapping[str, Any]
) -> list[str]:
    """Return the options of a file as words, without those that the command line has."""
    words: list[str] = []
    for name, value in values.items():
        if name in given or f"no-{name}" in given:
            continue
        if options[name].is_flag:
            words.append(f"--{name}" if value else f"--no-{name}")
        elif options[name].is_many:
            words += [f"--{name}", *map(str, value)]
        else:
            words.append(f"--{name}={value}")
    return words


def format_recipe(name: str | None, fields: Mapping[str, Any]) -> str:
    """Return a recipe as TOML, which `--config` reads back as the same recipe.

    `name` is the recipe that the fields began with, `fields` are those of `Recipe.to_dict`. A field
    that is None has no form in TOML; it is None in the named recipe as well.
    """
    lines = [f"recipe = {json.dumps(name)}"] if name else []
    lines += [f"{key} = {_format(value)}" for key, value in fields.items() if value is not None]
    return "\n".join(lines)


def _format(value: Any) -> str:
    """Return a value as TOML, whose texts and numbers are those of JSON and Python."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_format, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
