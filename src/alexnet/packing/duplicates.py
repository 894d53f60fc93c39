"""Finds images that occur in more than one split.

A network must not be tested on images that it was trained on. `packing.loop` lists such images at
the end of a packing in duplicates.jsonl; it removes none. Every split has a file of 64-bit hashes
of the stored bytes, one per image in order, which `packing.shards` writes. The hashes are compared
in chunks, so that memory does not grow with the number of images:

    for each chunk of the later split:           hashes b₀ b₁ … b₆₅₅₃₅
        for each chunk of the earlier split:     sort it, look up every b in it by bisection
        keep for each b the first match          {index in later: index in earlier}
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.packing.shards import HASHES
from alexnet.packs.checked_files import read_names

CHUNK = 1 << 16
"""Number of hashes compared at a time."""


def write_duplicates(folder: Path, splits: tuple[str, ...], out: Path) -> int:
    """Write every image whose stored bytes also occur in an earlier split; return their number.

    `out` gets one JSON object per line. Images are compared by 64-bit hashes: for all of ImageNet
    (1.2 million training and 50,000 validation images), the chance of even one false match is about
    1 in 300 million.
    """
    count = 0
    with open(out, "w", encoding="ascii") as lines:
        for earlier, later in itertools.combinations(splits, 2):
            for pairs in _find_pairs(folder / earlier / HASHES, folder / later / HASHES):
                earlier_names = _read_selected_names(
                    folder / earlier / "names.txt", set(pairs.values())
                )
                later_names = _read_selected_names(folder / later / "names.txt", set(pairs))
                for index, same_index in pairs.items():
                    line = {
                        "split": later,
                        "path": later_names[index],
                        "same_split": earlier,
                        "same_path": earlier_names[same_index],
                    }
                    lines.write(json.dumps(line) + "\n")
                count += len(pairs)
    return count


def _find_pairs(earlier: Path, later: Path) -> Iterator[dict[int, int]]:
    """Yield the images with equal hashes, as {index in later: index in earlier}.

    Of several equal images of the earlier split, the first counts. There is one dictionary for each
    chunk of `later` that has any.
    """
    for later_start, hashes in _read_chunks(later):
        matches = np.full(len(hashes), -1, np.int64)
        for earlier_start, others in _read_chunks(earlier):
            order = np.argsort(others, kind="stable")
            rank = np.searchsorted(others, hashes, sorter=order)
            candidate = order[np.minimum(rank, len(others) - 1)]
            is_new = (others[candidate] == hashes) & (matches < 0)
            matches[is_new] = earlier_start + candidate[is_new]
        matched = np.flatnonzero(matches >= 0)
        if len(matched):
            indices = (later_start + matched).tolist()
            yield dict(zip(indices, matches[matched].tolist(), strict=True))


def _read_chunks(path: Path) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    """Yield the hashes in a file in chunks, each with the index of its first image."""
    with open(path, "rb") as file:
        for start in itertools.count(step=CHUNK):
            chunk = np.frombuffer(file.read(8 * CHUNK), np.uint64)
            if not len(chunk):
                return
            yield start, chunk


def _read_selected_names(path: Path, indices: set[int]) -> dict[int, str]:
    """Return the names of the images at `indices`. The other names are not kept in memory."""
    return {index: name for index, name in enumerate(read_names(path)) if index in indices}
