"""Damaged copies of files and of parsed JSON, for readers that have to refuse them plainly."""

import copy
import random
from collections.abc import Iterator
from typing import Any

STRANGE = (
    *(None, True, -1, 0, 1 << 62, 10**400, -0.5, float("nan"), float("inf"), "", "x", "\0", "../x"),
    *([], {}, [[]], [None], {"x": 1}, ["x"] * 3, [1e308] * 3),
)
"""What JSON may hold in the place of anything."""


def damaged(content: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Copies with flipped bytes, a piece cut out, zeroed or repeated, or the end missing."""
    rng = random.Random(seed)
    for _ in range(count):
        start = rng.randrange(len(content))
        end = min(len(content), start + rng.choice((1, 2, 4, 64)))
        piece = content[start:end]
        yield rng.choice(
            (
                content[:start] + bytes(b ^ (1 << rng.randrange(8)) for b in piece) + content[end:],
                content[:start] + bytes(len(piece)) + content[end:],
                content[:start] + b"\xff" * len(piece) + content[end:],
                content[:start] + content[end:],
                content[:start] + piece * 2 + content[end:],
                content[:start],
            )
        )


def strange(value: Any) -> Iterator[Any]:
    """Copies of parsed JSON, each with one part replaced by something strange, or without it."""
    for path in _paths(value):
        for other in (*STRANGE, _GONE):
            changed = copy.deepcopy(value)
            place = changed
            for key in path[:-1]:
                place = place[key]
            if other is _GONE:
                del place[path[-1]]
            else:
                place[path[-1]] = other
            yield changed


_GONE = object()


def _paths(value: Any) -> Iterator[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(inside)[:12]:
        yield (key,)
        if isinstance(item, dict | list) and item:
            yield from ((key, *rest) for rest in _paths(item))
