"""Changes that make valid files hostile: to bytes, numbers, chunks, and values in JSON.

Every mutator takes a random generator and bytes, and returns other bytes and a short description of
the change. Mutators for the structure of a format are in `structures`.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

Mutated = tuple[bytes, str]
Mutator = Callable[[random.Random, bytes], Mutated]

NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF)
NUMBERS += (0x80000000, 0xFFFFFFFF, 1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
TEXTS = (
    *("", " ", "\0", "..", "../../nowhere/x", "/nowhere/x", "a" * 300, "a/" * 3000),
    *("\x1b[2J\x1b]0;x\x07", "\ud800", "é", "e\u0301", "\u202e", "\n", '"', "%s%n", "NaN", "1e999"),
    *("=cmd()", "-1", "٣", "②", "9" * 5000, "0x10", "1_000", "None", "<b>", "\ufeff", "\x85"),
)
"""Strings that programs trip over."""
LEAVES: tuple[Any, ...] = (
    *(None, True, False, [], {}, [[]], [None], {"": None}, 0, -1, 1, 2, 1.5, -0.0, 1e308, -1e308),
    *(10**400, 2**31, 2**32, 2**53, 2**63, 2**64, -(2**63), float("nan"), float("inf"), 1e-320),
    *(float("-inf"), [0] * 1000, ["a"], {"a": 1}, [1, "a", None], 10**9, 10**6),
    *TEXTS,
)
"""What a leaf of JSON can be instead."""
DEEP = 5000
"""Levels of nesting that no parser by recursion takes."""


def flip_bytes(chance: random.Random, content: bytes) -> Mutated:
    """Other values for one to eight bytes."""
    changed, places = bytearray(content), []
    for _ in range(chance.randint(1, 8) if content else 0):
        place = _place(chance, len(content))
        changed[place] = chance.randrange(256)
        places.append(place)
    return bytes(changed), f"bytes {places} changed"


def flip_bit(chance: random.Random, content: bytes) -> Mutated:
    """One bit turned over."""
    if not content:
        return content, "nothing to change"
    changed, place = bytearray(content), _place(chance, len(content))
    changed[place] ^= 1 << chance.randrange(8)
    return bytes(changed), f"a bit of byte {place} flipped"


def set_number(chance: random.Random, content: bytes) -> Mutated:
    """An extreme number of one, two, four or eight bytes, in either order."""
    size = chance.choice((1, 2, 2, 4, 4, 4, 8))
    if len(content) < size:
        return content, "nothing to change"
    place = _place(chance, len(content) - size + 1)
    number, order = chance.choice(NUMBERS) % (1 << 8 * size), chance.choice(("little", "big"))
    changed = bytearray(content)
    changed[place : place + size] = number.to_bytes(size, order)  # type: ignore[arg-type]
    return bytes(changed), f"{number:#x} ({size} bytes, {order}) at byte {place}"


def cut(chance: random.Random, content: bytes) -> Mutated:
    """Cut off at some byte."""
    place = chance.randrange(len(content) + 1)
    return content[:place], f"cut off at byte {place}"


def drop_chunk(chance: random.Random, content: bytes) -> Mutated:
    """Some bytes taken out of the middle."""
    place, size = _chunk(chance, content)
    return content[:place] + content[place + size :], f"{size} bytes at {place} taken out"


def repeat_chunk(chance: random.Random, content: bytes) -> Mutated:
    """Some bytes again, once or often."""
    place, size = _chunk(chance, content)
    times = chance.choice((1, 1, 2, 100))
    chunk = content[place : place + size] * times
    return content[:place] + chunk + content[
        place:
    ], f"{size} bytes at {place} again, {times} times"


def insert_chunk(chance: random.Random, content: bytes) -> Mutated:
    """Bytes that were not there."""
    place, size = _place(chance, len(content) + 1), chance.choice((1, 2, 4, 8, 100))
    new = chance.randbytes(size)
    if chance.random() < 0.3:
        new = chance.choice(TEXTS).encode("utf-8", "surrogatepass")
    return content[:place] + new + content[place:], f"{new[:20]!r} put in at byte {place}"


def blank_chunk(chance: random.Random, content: bytes) -> Mutated:
    """Some bytes made 0 or 255."""
    place, size = _chunk(chance, content)
    value = chance.choice((b"\0", b"\xff"))
    blank = value * min(size, len(content) - place)
    return content[:place] + blank + content[place + size :], f"{size} bytes at {place}: {value!r}"


def move_chunk(chance: random.Random, content: bytes) -> Mutated:
    """Some bytes written over others."""
    (source, size), (place, _) = _chunk(chance, content), _chunk(chance, content)
    chunk = content[source : source + size]
    moved = content[:place] + chunk + content[place + len(chunk) :]
    return moved, f"{size} bytes of {source} written over {place}"


def nothing_left(chance: random.Random, content: bytes) -> Mutated:
    """An empty file, or one of zeros only."""
    if chance.random() < 0.5:
        return b"", "empty"
    return bytes(len(content)), "all zeros"


BYTES: tuple[Mutator, ...] = (
    *(flip_bytes, flip_bytes, flip_bit, flip_bit, set_number, set_number, set_number, cut),
    *(drop_chunk, repeat_chunk, insert_chunk, blank_chunk, move_chunk),
)


def change_bytes(chance: random.Random, content: bytes) -> Mutated:
    """Any of the above."""
    if chance.random() < 0.01:
        return nothing_left(chance, content)
    return chance.choice(BYTES)(chance, content)


def change_json(chance: random.Random, content: bytes) -> Mutated:
    """Another value, key or depth somewhere in a JSON text."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return change_bytes(chance, content)
    changed, what = change_value(chance, value)
    text = json.dumps(changed)
    if chance.random() < 0.03:
        deep = "[" * DEEP + "]" * DEEP
        leaf = json.dumps(chance.choice(list(_leaves(value)) or [""]))
        text, what = json.dumps(value).replace(leaf, deep, 1), f"{DEEP} levels of lists for {leaf}"
    return text.encode("utf-8", "surrogatepass"), what


def change_lines(chance: random.Random, content: bytes) -> Mutated:
    """Another value in one of the JSON objects that stand a line each."""
    lines = content.splitlines()
    if not lines:
        return change_bytes(chance, content)
    at = chance.randrange(len(lines))
    lines[at], what = change_json(chance, lines[at])
    return b"\n".join(lines) + b"\n", f"line {at + 1}: {what}"


def change_text(chance: random.Random, content: bytes) -> Mutated:
    """A word of a text replaced by another, or by what programs trip over."""
    words = content.replace(b"\n", b" \n ").split(b" ")
    at = chance.randrange(len(words))
    new = chance.choice((*TEXTS, *map(str, NUMBERS))).encode("utf-8", "surrogatepass")
    old, words[at] = words[at], new
    return b" ".join(words), f"{old[:30]!r} → {new[:30]!r}"


def change_value(chance: random.Random, value: Any) -> tuple[Any, str]:
    """A copy of parsed JSON in which one thing is another."""
    changed = json.loads(json.dumps(value))
    places = list(_places(changed, ()))
    if not places:
        return chance.choice(LEAVES), "all of it replaced"
    way = chance.choice(places)
    owner = changed
    for step in way[:-1]:
        owner = owner[step]
    name, draw = ".".join(map(str, way)), chance.random()
    if draw < 0.12:
        del owner[way[-1]]
        return changed, f"no {name}"
    if draw < 0.18 and isinstance(owner, dict):
        owner[chance.choice(("extra", *TEXTS[:6]))] = owner[way[-1]]
        return changed, f"a key beside {name}"
    if draw < 0.24 and isinstance(owner, list):
        owner.extend(owner[: chance.choice((1, 2, 1000))])
        return changed, f"a list longer at {name}"
    new = _like(chance, owner[way[-1]]) if draw < 0.45 else chance.choice(LEAVES)
    owner[way[-1]] = new
    return changed, f"{name} = {str(new)[:60]!r} ({type(new).__name__})"


def _like(chance: random.Random, value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return chance.choice((*NUMBERS, value + 1, value - 1, -value, value * 1000))
    if isinstance(value, float):
        return chance.choice((0.0, -value, value * 1e9, float("nan"), float("inf"), 1e308))
    if isinstance(value, str):
        return chance.choice((*TEXTS, value[:-1], value + value, value.upper()))
    return type(value)()


def _places(value: Any, way: tuple[Any, ...]) -> Sequence[tuple[Any, ...]]:
    """The ways to everything inside parsed JSON; of a long list, to its ends."""
    found: list[tuple[Any, ...]] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))
        inside = inside[:4] + inside[-1:] if len(inside) > 5 else inside
    else:
        return found
    for key, inner in inside:
        found.append((*way, key))
        found += _places(inner, (*way, key))
    return found


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in _leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value[:4] for leaf in _leaves(inner)]
    return [value]


def _place(chance: random.Random, size: int) -> int:
    """A place, half of the time among the first 64 or 512."""
    limit = chance.choice((size, size, 64, 512))
    return chance.randrange(max(1, min(size, limit)))


def _chunk(chance: random.Random, content: bytes) -> tuple[int, int]:
    place = _place(chance, len(content))
    return place, chance.choice((1, 2, 4, 8, 16, 64, 512, max(1, len(content) // 4)))


def pack_number(layout: str, number: int) -> bytes:
    """A number as `struct` lays it out, cut to the bytes there are."""
    size = struct.calcsize(layout)
    order = "big" if layout.startswith(">") else "little"
    return (number % (1 << 8 * size)).to_bytes(size, order)  # type: ignore[arg-type]
