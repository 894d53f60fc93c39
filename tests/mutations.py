"""Damaged copies of files and of parsed JSON, for tests of readers that must reject them.

Tests of packs, checkpoints, sources and `tests.faults` use them. The copies of files depend only on
the seed.
"""

import copy
import random
from collections.abc import Iterator
from typing import Any

STRANGE = (
    *(None, True, -1, 0, 1 << 62, 10**400, -0.5, float("nan"), float("inf"), "", "x", "\0", "../x"),
    *([], {}, [[]], [None], {"x": 1}, ["x"] * 3, [1e308] * 3),
)
"""Values that any place in a damaged JSON file may hold: wrong types, extremes, empty ones."""


def damaged(content: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield `count` copies, each with one fault at a random place.

    The faults are: bits flipped, bytes set to 0 or to 255, a piece cut out or repeated, the end cut
    off.
    """
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
    """Yield copies of parsed JSON, each with one value replaced by one of STRANGE, or removed."""
    for path in _paths(value):
        for other in (*STRANGE, _REMOVED):
            changed = copy.deepcopy(value)
            parent = changed
            for key in path[:-1]:
                parent = parent[key]
            if other is _REMOVED:
                del parent[path[-1]]
            else:
                parent[path[-1]] = other
            yield changed


_REMOVED = object()


def _paths(value: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the path of keys to every value, with at most twelve of each list or dictionary."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(inside)[:12]:
        yield (key,)
        if isinstance(item, dict | list) and item:
            yield from ((key, *rest) for rest in _paths(item))
