"""Speed of packing JPEGs to 256×256, compared with Pillow in the same number of processes.

A part of `data.py`, which says how to run it.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet.images.decoding import decode
from alexnet.images.resizing import fit
from alexnet.packing.pack import pack
from alexnet.sources.entry import Entry, Source
from interleave import Contestant, ratio, table, verdict
from usual import SIZE, smaller


def by_pillow(path: Path) -> NDArray[np.uint8]:
    """Decode with Pillow, resize the shorter side to 256 with antialiasing, crop the center."""
    with Image.open(path) as image:
        image = smaller(image)
    left, top = (image.width - SIZE) // 2, (image.height - SIZE) // 2
    return np.asarray(image.crop((left, top, left + SIZE, top + SIZE)))


def put(out: Path, count: int, numbered: tuple[int, Path]) -> None:
    """Decode one image and write it at its place in a shared file; run by a worker process."""
    number, path = numbered
    records = np.memmap(out, np.uint8, "r+", shape=(count, SIZE, SIZE, 3))
    records[number] = by_pillow(path)


def pillow_pack(paths: list[Path], out: Path, processes: int) -> None:
    """Pack with a pool of processes and Pillow, without checks, checksums or restarting."""
    out.touch()
    with open(out, "r+b") as file:
        file.truncate(len(paths) * SIZE * SIZE * 3)
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(partial(put, out, len(paths)), enumerate(paths), chunksize=16))


def our_pack(paths: list[Path], out: Path, processes: int, pixels: str) -> None:
    """Pack as `alexnet pack` does, with hashes, checksums, statistics and journal."""

    def entries(split: str) -> Iterator[Entry]:
        return (Entry(split, str(i), 0, path) for i, path in enumerate(paths))

    source = Source("files", Path("-"), ("class",), None, ("train",), (), None, entries)
    pack(source, out, size=SIZE, processes=processes, pixels=pixels)


def turn(contestant: Contestant, act: Callable[[Path], None], count: int) -> None:
    """Time one round in an empty folder, and append its rate to the contestant."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        act(Path(folder) / "pack")
        contestant.rates.append(count / (time.perf_counter() - start))
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    contestant.peak_resident = 1024 * max(
        children, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )


def difference(path: Path) -> float:
    """Return the mean absolute difference between our record and Pillow's, in gray levels."""
    ours = fit(decode(path.read_bytes(), reduce_to=2 * SIZE).pixels, SIZE)
    return float(np.abs(ours.astype(int) - by_pillow(path)).mean())


def packing(
    paths: list[Path], processes: int, rounds: int
) -> tuple[list[Contestant], list[str], float]:
    """Pack the same files with every contestant in every round.

    Returns the contestants, the lines to print, and the largest difference from Pillow.
    """
    acts = {
        f"Pillow, {processes} processes": lambda out: pillow_pack(paths, out, processes),
        "alexnet pack": lambda out: our_pack(paths, out, processes, "rgb"),
        "alexnet pack --pixels yuv420": lambda out: our_pack(paths, out, processes, "yuv420"),
    }
    found = [Contestant(name, Callable) for name in acts]
    for _ in range(rounds):
        for contestant in found:
            turn(contestant, acts[contestant.name], len(paths))
    worst = max(map(difference, paths[:50]))
    lines = [
        f"Packing to {SIZE}×{SIZE}",
        table(found, found[0]),
        verdict("alexnet pack ÷ Pillow", ratio(found[1], found[0])[0], 1.5),
        f"{'met   ' if worst <= 1 else 'MISSED'}  largest mean difference from Pillow: {worst:.2f} "
        "gray levels (limit 1.00)",
    ]
    return found, lines, worst
