"""Images that are in two splits: what a network was trained on must not measure it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.packing.shards import HASHES
from alexnet.packs.pack import read_names

CHUNK = 1 << 16
"""Hashes compared at a time, so that memory does not grow with the number of images."""


def write_duplicates(folder: Path, splits: tuple[str, ...], out: Path) -> int:
    """Name every image whose stored bytes are also in an earlier split; returns how many.

    One JSON object a line. 64-bit hashes are compared: a chance match is one in billions.
    """
    count = 0
    with open(out, "w", encoding="ascii") as lines:
        for earlier, later in itertools.combinations(splits, 2):
            for pairs in _pairs(folder / earlier / HASHES, folder / later / HASHES):
                there = _names(folder / earlier / "names.txt", set(pairs.values()))
                here = _names(folder / later / "names.txt", set(pairs))
                for mine, its in pairs.items():
                    same = {"split": later, "path": here[mine], "same_split": earlier}
                    lines.write(json.dumps({**same, "same_path": there[its]}) + "\n")
                count += len(pairs)
    return count


def _pairs(earlier: Path, later: Path) -> Iterator[dict[int, int]]:
    """Place in later → place in earlier of equal hashes; of several earlier ones the first.

    A dictionary for each chunk of `later` that has any.
    """
    for start, some in _chunks(later):
        found = np.full(len(some), -1, np.int64)
        for base, others in _chunks(earlier):
            order = np.argsort(others, kind="stable")
            at = np.searchsorted(others, some, sorter=order)
            place = order[np.minimum(at, len(others) - 1)]
            new = (others[place] == some) & (found < 0)
            found[new] = base + place[new]
        hits = np.flatnonzero(found >= 0)
        if len(hits):
            yield dict(zip((start + hits).tolist(), found[hits].tolist(), strict=True))


def _chunks(path: Path) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    with open(path, "rb") as file:
        for start in itertools.count(step=CHUNK):
            chunk = np.frombuffer(file.read(8 * CHUNK), np.uint64)
            if not len(chunk):
                return
            yield start, chunk


def _names(path: Path, wanted: set[int]) -> dict[int, str]:
    return {place: name for place, name in enumerate(read_names(path)) if place in wanted}
