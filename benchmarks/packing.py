"""Packing JPEGs to 256×256, ours beside Pillow in as many processes: for `data.py`."""

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
    """Decode, shorter side to 256 by an antialiased filter, central square: all of it by Pillow."""
    with Image.open(path) as image:
        image = smaller(image)
    left, top = (image.width - SIZE) // 2, (image.height - SIZE) // 2
    return np.asarray(image.crop((left, top, left + SIZE, top + SIZE)))


def put(out: Path, count: int, numbered: tuple[int, Path]) -> None:
    """What a worker of the Pillow pool does: one image into its place in a shared file."""
    number, path = numbered
    records = np.memmap(out, np.uint8, "r+", shape=(count, SIZE, SIZE, 3))
    records[number] = by_pillow(path)


def pillow_pack(paths: list[Path], out: Path, processes: int) -> None:
    """A pool of processes that write records where they belong; no checks, no sums, no restart."""
    out.touch()
    with open(out, "r+b") as file:
        file.truncate(len(paths) * SIZE * SIZE * 3)
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(partial(put, out, len(paths)), enumerate(paths), chunksize=16))


def our_pack(paths: list[Path], out: Path, processes: int, pixels: str) -> None:
    """The whole of `alexnet pack`, with hashes, checksums, statistics and journal."""

    def entries(split: str) -> Iterator[Entry]:
        return (Entry(split, str(i), 0, path) for i, path in enumerate(paths))

    source = Source("files", Path("-"), ("class",), None, ("train",), (), None, entries)
    pack(source, out, size=SIZE, processes=processes, pixels=pixels)


def turn(contestant: Contestant, act: Callable[[Path], None], count: int) -> None:
    """One timed round in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        act(Path(folder) / "pack")
        contestant.rates.append(count / (time.perf_counter() - began))
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    contestant.peak_resident = 1024 * max(
        children, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )


def difference(path: Path) -> float:
    """Mean absolute difference in gray levels between our record and Pillow's."""
    ours = fit(decode(path.read_bytes(), reduce_to=2 * SIZE).pixels, SIZE)
    return float(np.abs(ours.astype(int) - by_pillow(path)).mean())


def packing(
    paths: list[Path], processes: int, rounds: int
) -> tuple[list[Contestant], list[str], float]:
    """Everyone packs the same files in every round: contestants, lines, the worst difference."""
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
        verdict("1 gray level ÷ the worst image's mean difference", 1 / max(worst, 1e-9), 1.0),
    ]
    return found, lines, worst
