"""Checks JSON from outside the program against the types that it should have.

    facts = read_json(path)
    recipe = check(facts["recipe"], Recipe, f"{path}: recipe")

Types are written as dataclasses with annotated fields, and `check` builds them:

    @dataclass(frozen=True)
    class Position:
        epoch: Annotated[int, Range(0)] = 0         # a field with a default may be absent
        loss: Annotated[float, NOT_FINITE] = 0.0    # else a float must be finite
        rates: dict[str, float] = field(default_factory=dict)

Every reader of a file that comes from outside uses this module, so that a damaged or hostile file
ends in one ValueError that names the file and the place in it, as `run/x.json: position.epoch is
"1", not a whole number`. Imports nothing of this package.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

LARGEST_JSON = 1 << 28
"""Bytes of a JSON file, at most; that of a pack of ten million images has fewer."""


@dataclass(frozen=True)
class Range:
    """The smallest and the largest number allowed, for use in Annotated."""

    least: float = -math.inf
    most: float = math.inf


NOT_FINITE = "a float that may be infinite or NaN"
"""For use in Annotated[float, NOT_FINITE]. All other floats must be finite."""


def read_json(path: Path, limit: int = LARGEST_JSON) -> Any:
    """Parse a JSON file of at most `limit` bytes.

    Raises OSError if it cannot be read, ValueError if it is larger or is not JSON.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(min(size, limit) + 1)  # Python takes as much memory as is asked for
    if len(content) > limit:
        raise ValueError(f"{path} has more than {limit:,} bytes: no file of this kind is so large")
    return parse_json(content, str(path))


def parse_json(text: str | bytes, name: str) -> Any:
    """Parse JSON; `name` says in errors where it comes from.

    Raises ValueError for what is not JSON, and for JSON that is nested too deep to be parsed.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(f"{name} is no JSON of this program: it is nested too deep") from None
    except ValueError as error:  # UnicodeDecodeError is one, too
        raise ValueError(f"{name} is no valid JSON: {error}") from error


def suggest(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean X?" for the name most like a mistyped word; "" if none is like it."""
    import difflib  # slow to import, and only needed for an error

    names = {name.lower(): name for name in known}
    like = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    return f" Did you mean {names[like[0]]}?" if like else ""


def check(value: Any, kind: Any, place: str) -> Any:
    """Return parsed JSON as a value of the type `kind`.

    Parameters
    ----------
    value
        What `json.loads` returned, or a part of it.
    kind
        Any, None, bool, int, float, str, a Literal, a union, list[…], tuple[…], dict[str, …] (or
        Mapping), a dataclass (made from an object with its fields), a class with a classmethod
        `parse` (which makes it from a text), or Annotated with a Range or NOT_FINITE. A bool is not
        accepted as an int; an int is accepted as a float.
    place
        Where the value stands, for errors: a file and the fields that lead to it.

    Raises ValueError, naming `place`, if the value is of another type. The values of fields are
    checked before a dataclass is made; a ValueError of its `__post_init__` gets the place, too.
    """
    if kind is Any:
        return value
    if hasattr(kind, "parse"):
        return _check_text(value, kind, place)
    if dataclasses.is_dataclass(kind):
        return _check_dataclass(value, kind, place)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _check_annotated(value, arguments[0], arguments[1:], place)
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in arguments):
            return value
        raise _mismatch(value, f"one of {', '.join(map(repr, arguments))}", place)
    if origin in (Union, types.UnionType):
        return _check_union(value, arguments, place)
    if origin in (list, tuple):
        return _check_sequence(value, origin, arguments, place)
    if origin in (dict, Mapping):
        return _check_dict(value, arguments[1], place)
    return _check_scalar(value, kind, place)


def _check_scalar(value: Any, kind: Any, place: str, finite: bool = True) -> Any:
    """None, a bool, a number or a text. `finite`: whether a float must be finite."""
    if kind in (None, type(None)):
        if value is not None:
            raise _mismatch(value, "null", place)
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float and is_number:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if finite and not math.isfinite(number):
            raise _mismatch(value, "a finite number", place)
        return number
    if kind in (bool, int, str) and type(value) is kind:
        return value
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    if kind not in names:
        raise TypeError(f"validate.check does not know {kind!r}")
    raise _mismatch(value, names[kind], place)


def _check_text(value: Any, kind: Any, place: str) -> Any:
    """A value that `kind.parse` makes of a text."""
    text = _check_scalar(value, str, place)
    try:
        return kind.parse(text)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _check_annotated(value: Any, kind: Any, notes: tuple[Any, ...], place: str) -> Any:
    """A value of `kind` that lies in the Range among the notes, if there is one."""
    number = (
        _check_scalar(value, float, place, finite=NOT_FINITE not in notes)
        if kind is float
        else check(value, kind, place)
    )
    for note in notes:
        if isinstance(note, Range) and not note.least <= number <= note.most:
            limits = f"from {note.least:g}" + (f" to {note.most:g}" if note.most < math.inf else "")
            raise _mismatch(value, f"a number {limits}", place)
    return number


def _check_union(value: Any, kinds: tuple[Any, ...], place: str) -> Any:
    """A value of the first kind that fits; the error is that of a kind other than None."""
    errors = []
    try:
        for kind in kinds:
            try:
                return check(value, kind, place)
            except ValueError as error:
                errors.append((kind is type(None), error))
        raise min(errors, key=lambda pair: pair[0])[1]
    finally:
        # Their tracebacks refer to this frame and its callers, which would stay alive with all
        # that they hold, such as an open pack, until the garbage collector finds the cycle.
        errors.clear()


def _check_sequence(value: Any, origin: Any, kinds: tuple[Any, ...], place: str) -> Any:
    """A list, a tuple of any length (tuple[int, ...]) or of a fixed one (tuple[int, str])."""
    if not isinstance(value, list | tuple):
        raise _mismatch(value, "a list", place)
    if origin is tuple and kinds[-1:] != (Ellipsis,):
        if len(value) != len(kinds):
            raise _mismatch(value, f"a list of {len(kinds)}", place)
        each = kinds
    else:
        each = (kinds[0],) * len(value)
    items = zip(value, each, strict=True)
    return origin(check(item, kind, f"{place}[{i}]") for i, (item, kind) in enumerate(items))


def _check_dict(value: Any, kind: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _mismatch(value, "an object", place)
    return {key: check(item, kind, f"{place}.{key}") for key, item in value.items()}


def _check_dataclass(value: Any, kind: Any, place: str) -> Any:
    """A dataclass, from an object that has all its required fields and no unknown ones."""
    if not isinstance(value, dict):
        raise _mismatch(value, "an object", place)
    hints = get_type_hints(kind, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    if unknown := sorted(value.keys() - fields.keys()):
        raise ValueError(f"{place} has the unknown field {_short(unknown[0])}")
    required = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing := [name for name in required if name not in value]:
        raise ValueError(f"{place} lacks the field {missing[0]!r}")
    checked = {key: check(item, hints[key], f"{place}.{key}") for key, item in value.items()}
    try:
        return kind(**checked)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _mismatch(value: Any, wanted: str, place: str) -> ValueError:
    """The error of a value of the wrong type: where it stands, what it is, what was wanted."""
    return ValueError(f"{place} is {_short(value)}, not {wanted}")


def _short(value: Any) -> str:
    """A value in at most 60 characters, on one line."""
    if isinstance(value, dict | list | tuple):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    is_int = isinstance(value, int) and not isinstance(value, bool)
    text = _digits(value) if is_int else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _digits(value: int) -> str:
    """An int as text; only the size of a very long one, which Python refuses to print."""
    return str(value) if value.bit_length() < 200 else f"a number of {value.bit_length()} bits"
