"""The options of a command, read from its dataclass: name, type, help text, default, group.

tyro parses the command line by the same dataclasses. `help_page` prints these options, `usage`
checks a command line against them and suggests what a mistyped word might mean, and `config_file`
reads them from a file. Help texts are the docstrings below the fields, read from the source.
Imports neither tyro nor torch, so that help and usage errors appear at once.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

METAVARS: dict[type, str] = {int: "N", float: "X", str: "TEXT", Path: "PATH"}
"""What stands for a value of each type in a help text."""
NAMED_METAVARS = {"recipe": "NAME", "network": "NAME", "device": "DEVICE", "split": "SPLIT"}
"""What stands for the value of an option of this name, where the type says too little."""

Groups = dict[str, tuple[str, ...]]
"""Title of a group of options → the names of its fields, in the order of the help."""

TRAINING_GROUPS: Groups = {
    "Common options": (
        *("recipe", "epochs", "time", "batch_size", "learning_rate", "network", "crop", "init"),
        *("resume", "device", "precision", "config", "print_config", "dry_run", "quiet", "json"),
    ),
    "Network": ("variations", "initialization", "dropout", "take", "reset"),
    "Learning rate and updates": (
        *("schedule", "warmup_epochs", "momentum", "weight_decay", "decays", "decay_biases"),
        *("drops", "drop_factor", "patience", "steps", "rates", "bias_rate", "bias_steps"),
    ),
    "Images": (
        *("random_crop", "flip", "color_noise", "noise_until", "subtract_mean", "mean_at"),
        *("pixel_scale", "chunk", "seed"),
    ),
    "Machine and log": ("resident", "compiled", "save_minutes", "log_seconds"),
}
"""The groups of a command that has the fields of a recipe."""
GROUPS: Groups = {
    "Options": (),
    "Machine and limits": ("device", "precision", "processes", "max_pixels", "timeout"),
}
"""The groups of the other commands. Fields that no group names are in the first group here, and in
a second one, "Other options", beside TRAINING_GROUPS."""


@dataclass(frozen=True)
class Option:
    """An option or a positional argument of a command."""

    field: str
    """Name of the field."""
    name: str
    """As it is typed, without the two hyphens: `batch-size`."""
    kind: Any
    """Type of one value: bool, int, float, str, Path."""
    choices: tuple[str, ...]
    """The values that are allowed; () for any."""
    default: Any
    about: str
    """The help text."""
    metavar: str
    """What stands for its value."""
    is_positional: bool = False
    is_many: bool = False
    """Whether it takes any number of values."""
    is_flag: bool = False
    """Whether it takes no value: `--json`, `--no-json`."""
    is_recipe_field: bool = False
    short: tuple[str, ...] = ()
    """Other ways to type it, with their hyphens: `-k`."""

    @property
    def flag(self) -> str:
        """The option as it is typed; of a flag that is on by default, the form that turns it off.

        A positional argument is shown by its metavar.
        """
        if self.is_positional:
            return self.metavar
        return f"--no-{self.name}" if self.is_flag and self.default is True else f"--{self.name}"


@functools.cache
def list_options(command: type) -> tuple[Option, ...]:
    """Return the options of a command, in the order of its fields; those of a recipe come last."""
    hints = get_type_hints(command, include_extras=True)
    texts = _read_docstrings(command)
    found: list[Option] = []
    for field in dataclasses.fields(command):
        kind, notes = _unwrap(hints[field.name])
        if dataclasses.is_dataclass(kind):
            inner = list_options(kind)  # type: ignore[arg-type]
            found += (dataclasses.replace(option, is_recipe_field=True) for option in inner)
        else:
            found.append(_make_option(field, kind, notes, texts.get(field.name, "")))
    return tuple(found)


def group_options(command: type) -> dict[str, list[Option]]:
    """Return the options of a command, without positional ones, by the title of their group."""
    options = [option for option in list_options(command) if not option.is_positional]
    has_recipe = any(option.is_recipe_field for option in options)
    groups, others = (TRAINING_GROUPS, "Other options") if has_recipe else (GROUPS, "Options")
    known = {option.field: option for option in options}
    listed = {title: [known[x] for x in fields if x in known] for title, fields in groups.items()}
    grouped = {option.field for group in listed.values() for option in group}
    rest = [option for option in options if option.field not in grouped]
    common, *titles = listed
    listed.setdefault(others, []).extend(rest)
    order = dict.fromkeys((common, others, *titles))
    return {title: listed[title] for title in order if listed[title]}


def _make_option(field: Any, kind: Any, notes: tuple[Any, ...], text: str) -> Option:
    """Return the option of a field; `notes` are what stands beside the type in Annotated."""
    settings: dict[str, Any] = {}
    for note in notes:
        for key in ("name", "metavar", "help_behavior_hint", "aliases"):
            settings[key] = getattr(note, key, None) or settings.get(key)
    is_positional = any("POSITIONAL" in repr(note).upper() for note in notes)
    name = (settings.get("name") or field.name).replace("_", "-")
    default = None if field.default is dataclasses.MISSING else field.default
    kind, is_many, is_optional = _take_apart(kind)
    choices = tuple(map(str, get_args(kind))) if get_origin(kind) is Literal else ()
    if choices:
        kind = type(get_args(kind)[0])
    is_flag = kind is bool and not is_optional
    if kind is bool and not is_flag:
        choices = "True", "False"
    metavar = "|".join(choices) or NAMED_METAVARS.get(field.name) or METAVARS.get(kind, "")
    if is_positional:
        metavar = metavar if choices else field.name.upper().removesuffix("_FOLDER")
    metavar = settings.get("metavar") or (metavar + "…" if is_many else metavar)
    if is_positional and field.default is not dataclasses.MISSING:
        metavar = f"[{metavar}]"
    about = " ".join(text.split())
    hint = settings.get("help_behavior_hint") or _format_default(default, is_flag)
    return Option(
        field=field.name,
        name=name,
        kind=kind,
        choices=choices,
        default=default,
        about=f"{about} {hint}".strip(),
        metavar=metavar,
        is_positional=is_positional,
        is_many=is_many,
        is_flag=is_flag,
        short=tuple(settings.get("aliases") or ()),
    )


def _format_default(default: Any, is_flag: bool) -> str:
    """Return the note on a default value; "" if there is none to speak of."""
    is_silent = is_flag or default is None or default == () or default == ""
    return "" if is_silent else f"(default: {default})"


def _unwrap(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return a type without Annotated, and its annotations."""
    if get_origin(hint) is Annotated:
        kind, notes = _unwrap(get_args(hint)[0])
        return kind, (*notes, *hint.__metadata__)
    return hint, ()


def _take_apart(kind: Any) -> tuple[Any, bool, bool]:
    """Return the type of one value, whether there may be several, and whether None is allowed."""
    if get_origin(kind) in (Union, types.UnionType):
        arguments = [x for x in get_args(kind) if x is not type(None)]
        inner, is_many, _ = _take_apart(arguments[-1])
        return inner, is_many, True
    if get_origin(kind) is tuple:
        return (get_args(kind) or (str,))[0], True, False
    return kind, False, False


def _read_docstrings(command: type) -> dict[str, str]:
    """Return the text below each field of a class and of the classes that it inherits from."""
    found: dict[str, str] = {}
    for parent in reversed(command.__mro__):
        if dataclasses.is_dataclass(parent):
            found |= _read_own_docstrings(parent)
    return found


def _read_own_docstrings(command: type) -> dict[str, str]:
    """Return the text below each field in the source of one class; {} if there is no source."""
    module = sys.modules.get(command.__module__)
    try:
        tree = ast.parse(inspect.getsource(module)) if module else ast.Module([], [])
    except (OSError, TypeError):
        return {}
    bodies = [
        x.body for x in tree.body if isinstance(x, ast.ClassDef) and x.name == command.__name__
    ]
    found = {}
    for body in bodies:
        for line, below in itertools.pairwise(body):
            is_field = isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
            if is_field and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found[line.target.id] = str(below.value.value)  # type: ignore[attr-defined]
    return found
