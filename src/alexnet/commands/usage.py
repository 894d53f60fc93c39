"""Checks of a command line before it is parsed: unknown commands, options and values.

`cli.main` calls `check_words`. A word that is wrong ends in one sentence that says what was found
and what was probably meant: a name from other programs (`foreign_names`), or the most similar name.
All suggestions are options of the command that was typed. What is left, tyro finds, and
`explain_refusal` puts its message into one sentence, too.
"""

from __future__ import annotations

import itertools
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from alexnet.commands.foreign_names import (
    DEVICES,
    MEANINGS,
    MEANINGS_WITH_VALUE,
    NOTES,
    POSITIONS,
)
from alexnet.commands.options import Option, list_options
from alexnet.recipes.named import RECIPES
from alexnet.validate import suggest


class UsageError(ValueError):
    """A command line that cannot be understood."""

    exit_code = 2


DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
"""The names of devices, as in `device.choose_device`."""


def check_words(words: list[str], commands: Mapping[str, type]) -> None:
    """Raise UsageError for the first word that no command line could have at its place."""
    name = words[0]
    if name not in commands:
        raise UsageError(_explain_command(words, commands))
    options = {option.name: option for option in list_options(commands[name])}
    for word, values in split_options(words[1:]):
        option = _find_option(word, options)
        if option is None:
            raise UsageError(_explain_option(name, word, options))
        _check_values(name, word, option, values)
    _check_arguments(name, words[1:], options)


def _find_option(word: str, options: Mapping[str, Option]) -> Option | None:
    """Return the option that is typed like this, as `--no-json` or `-k`; None if there is none."""
    given = word.lstrip("-").replace("_", "-")
    option = options.get(given) or _find_negated(given, options)
    if option is None or not word.startswith("--"):
        option = next((x for x in options.values() if word in x.short), None)
    return None if option is None or option.is_positional else option


def _check_arguments(name: str, words: list[str], options: Mapping[str, Option]) -> None:
    """Raise UsageError for fewer or more arguments without a name than the command takes."""
    given, spare = _count_arguments(words, options)
    positional = [option for option in options.values() if option.is_positional]
    order = " ".join(["alexnet", name, *(option.metavar for option in positional)])
    missing = [x for x in positional[len(given) :] if not x.metavar.startswith("[")]
    if len(missing) > spare:
        raise UsageError(
            f"`alexnet {name}` needs {_join_words([x.metavar for x in missing])}: {order}. "
            f"{missing[0].about} (`alexnet {name} --help`)"
        )
    extra = given[len(positional) :]
    if extra and not any(option.is_many for option in positional):
        most = len(positional)
        takes = f"at most {most} argument{'s' * (most > 1)} without a name" if most else "none"
        raise UsageError(
            f"{' '.join(map(shlex.quote, extra))}: `alexnet {name}` takes {takes}: {order}. "
            f"`alexnet {name} --help` lists its options"
        )
    for option, value in zip(positional, given, strict=False):
        if option.choices and value not in option.choices:
            raise UsageError(
                f"`alexnet {name} {value}`: that is none of the possible words."
                f"{suggest(value, option.choices)} There are {', '.join(option.choices)}"
            )


def _count_arguments(words: list[str], options: Mapping[str, Option]) -> tuple[list[str], int]:
    """Return the words that are neither options nor their values, and the number of spare values.

    An option with any number of values takes all words up to the next option; tyro gives the last
    ones back if arguments are missing: `--rates conv1=0 photos`.
    """
    given: list[str] = []
    left, spare = 0.0, 0  # values that the last option can still take; words that can be given back
    for place, word in enumerate(words):
        if word == "--":
            return given + words[place + 1 :], spare
        if re.match(r"--?[A-Za-z]", word):
            option = _find_option(word.partition("=")[0], options)
            has_value = option is None or option.is_flag or "=" in word
            left = 0.0 if has_value else math.inf if option and option.is_many else 1.0
        elif left:
            left -= 1
            spare += math.isinf(left)
        else:
            given.append(word)
    return given, spare


def _join_words(words: list[str]) -> str:
    """Return words as a list in a sentence: `A`, `A and B`, `A, B and C`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def explain_refusal(command: str, box: str) -> UsageError:
    """Make the error for what tyro refuses, of its message, which is drawn as a box.

    The message comes first in it; where stdout is not UTF-8, the title comes before the message.
    """
    lines = [line.strip("│ ") for line in box.splitlines()]
    is_text = [bool(line) and not line.startswith((*"╭╰─", "---")) for line in lines]
    groups = itertools.groupby(zip(is_text, lines, strict=True), key=lambda pair: pair[0])
    parts = [" ".join(line for _, line in group) for is_text, group in groups if is_text]
    message = parts[0 if "╭" in box else 1] if len(parts) > 1 else box.strip()
    return UsageError(f"{message.rstrip('.')} (`alexnet {command} --help`)")


def split_options(words: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each option in the words, as typed but without "=VALUE", with the words that follow it.

    Positional arguments after an option's value are among its words.
    """
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if word == "--":
            break
        if re.match(r"--?[A-Za-z]", word):
            option, equals, value = word.partition("=")
            found.append((option, [value] if equals else []))
        elif found:
            found[-1][1].append(word)
    yield from found


def _find_negated(name: str, options: Mapping[str, Option]) -> Option | None:
    """Return the flag that `--no-NAME` turns off."""
    option = options.get(name.removeprefix("no-"))
    return option if option and option.is_flag and name.startswith("no-") else None


def _explain_command(words: list[str], commands: Mapping[str, type]) -> str:
    """Return the message for a first word that is no command."""
    word = words[0]
    if word.startswith("-"):
        return f"{word}: name a command first, as in `alexnet train IMAGES`. {_list(commands)}"
    later = next((x for x in words[1:] if x in commands), None)
    if later and (Path(word).exists() or "/" in word):
        rest = [x for x in words if x != later]
        return f"the command comes first: {shlex.join(['alexnet', later, *rest])}"
    if Path(word).exists():
        return (
            f"{word} is no command. To train on it: {shlex.join(['alexnet', 'train', word])}. "
            f"{_list(commands)}"
        )
    like = _COMMANDS.get(word.lower())
    hint = f" Did you mean {like}?" if like else suggest(word, commands)
    return f"there is no command {word!r}.{hint} {_list(commands)}"


_COMMANDS = {
    "fit": "train",
    "learn": "train",
    "val": "evaluate",
    "eval": "evaluate",
    "test": "evaluate",
    "validate": "evaluate",
    "classify": "predict",
    "infer": "predict",
    "inference": "predict",
    "models": "networks",
    "nets": "networks",
    "search": "similar",
    "plot": "figures",
    "prepare": "pack",
    "convert": "export",
}
"""Commands of other programs → ours."""


def _list(commands: Mapping[str, type]) -> str:
    return f"The commands are {', '.join(commands)}; `alexnet --help` explains them"


def _explain_option(command: str, word: str, options: Mapping[str, Option]) -> str:
    """Return the message for an option that the command does not have."""
    given = word.lstrip("-").replace("_", "-")
    start = f"`alexnet {command}` has no option {word}."
    end = f"`alexnet {command} --help` lists its options"
    if word in ("--version", "-V"):
        return f"{start} `alexnet --version` prints the version. {end}"
    if meant := _find_meant(given, options):
        return f"{start} Did you mean {meant}? {end}"
    for option, meanings in MEANINGS.items():
        if given in meanings and (note := NOTES.get((command, option))):
            return f"{start} {note}. {end}"
    if position := _find_position(command, given, options):
        return f"{start} {position}. {end}"
    names = [x.flag for x in options.values() if not x.is_positional]
    like = suggest(f"--{given}", names) if len(given) > 1 else ""
    return f"{start}{like} {end}"


def _find_meant(given: str, options: Mapping[str, Option]) -> str | None:
    """Return the option, with its value, that has this name in other programs."""
    if given in options and not options[given].is_positional:
        return f"{options[given].flag}, with two hyphens"
    for name, names in MEANINGS.items():
        if given in names and name in options and not options[name].is_positional:
            option = options[name]
            return option.flag if option.is_flag else f"{option.flag} {option.metavar}"
    name, value = MEANINGS_WITH_VALUE.get(given, ("", ""))
    if name in options:
        return f"--{name} {value}"
    negated = options.get(given.removeprefix("no-"))
    if given.startswith("no-") and negated and negated.choices == ("True", "False"):
        return f"--{negated.name} False"
    return None


def _find_position(command: str, given: str, options: Mapping[str, Option]) -> str | None:
    """Return a sentence for something that is a positional argument here."""
    positional = [option for option in options.values() if option.is_positional]
    order = " ".join(option.metavar for option in positional)
    for option in positional:
        if given in POSITIONS.get(option.field, ()) or given == option.name:
            return f"It is an argument without a name: alexnet {command} {order}"
    return None


def _check_values(command: str, word: str, option: Option, values: list[str]) -> None:
    """Raise UsageError if an option has no value, or a first one that it cannot have."""
    if option.is_flag or option.field == "resume":
        return
    if not values:
        if not option.is_many:
            raise UsageError(
                f"{word} needs a value: {word} {option.metavar}. {option.about} "
                f"(`alexnet {command} --help`)"
            )
        return
    value = values[0]
    known = tuple(RECIPES) if option.field == "recipe" else option.choices
    if known and value not in known:
        named = "is no recipe" if option.field == "recipe" else "is none of its values"
        raise UsageError(
            f"{word} {value}: that {named}.{_suggest_value(value, known)} There are "
            f"{', '.join(known)}"
        )
    if option.field == "device" and not DEVICE.fullmatch(value):
        meant = DEVICES.get(value.lower())
        hint = f" Did you mean {meant}?" if meant else suggest(value, ("auto", "cpu", "cuda"))
        raise UsageError(
            f"{word} {value}: no device has that name.{hint} Use auto, cpu, cuda, or cuda:1 for "
            "the second GPU"
        )
    if option.kind in (int, float):
        for number in values if option.is_many and not option.is_recipe_field else values[:1]:
            _check_number(word, option, number)


def _suggest_value(value: str, known: tuple[str, ...]) -> str:
    """Return the suggestion for a value: a name from other programs, or the most similar one."""
    like = _VALUES.get(value.lower())
    return f" Did you mean {like}?" if like in known else suggest(value, known)


_VALUES = {
    **dict.fromkeys(("fp32", "32", "full"), "float32"),
    **dict.fromkeys(("fp16", "half", "16", "bfloat16", "float16", "mixed", "amp"), "bf16"),
    **dict.fromkeys(("imagenet", "alexnet"), "paper"),
    **dict.fromkeys(("photos", "default"), "small"),
    **dict.fromkeys(("mnist",), "digits"),
    **dict.fromkeys(("cifar10", "cifar-10"), "cifar"),
    **dict.fromkeys(("jsonl",), "json"),
    **dict.fromkeys(("true", "yes", "1", "on"), "True"),
    **dict.fromkeys(("false", "no", "0", "off"), "False"),
    **dict.fromkeys(("step", "steplr"), "steps"),
    **dict.fromkeys(("cos", "cosineannealing", "cosine-annealing"), "cosine"),
    **dict.fromkeys(("he", "kaiming"), "variance"),
}
"""Values in other programs → ours."""


def _check_number(word: str, option: Option, value: str) -> None:
    """Raise UsageError for a value that is no number of the option's type."""
    try:
        option.kind(value)
    except ValueError:
        wanted = "a whole number" if option.kind is int else "a number"
        raise UsageError(f"{word} {value}: the value must be {wanted}") from None
