"""Packing 500×375 JPEGs to 256×256, beside Pillow in as many processes, in interleaved rounds.

python benchmarks/data.py --json benchmarks/results/data.json
"""

from __future__ import annotations

import io
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

from alexnet.data.decode import decode, fit
from alexnet.data.pack import pack
from alexnet.data.sources.entry import Entry, Source
from interleave import Contestant, options, ratio, report, table, verdict

HEIGHT, WIDTH, SIZE = 375, 500, 256
DIFFERENT = 50


def photograph(number: int) -> bytes:
    """A JPEG of about 50 KB: noise whose amplitude falls with frequency as in photographs."""
    chance = np.random.default_rng(number)
    y, x = np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)
    frequency = np.maximum(np.hypot(x, y), 1 / WIDTH)
    spectrum = np.fft.rfft2(chance.normal(size=(3, HEIGHT, WIDTH))) / frequency**1.25
    planes = np.fft.irfft2(spectrum, s=(HEIGHT, WIDTH))
    colors = planes[0] + 0.3 * planes  # mostly light and dark, as in photographs
    pixels = 128 + 50 * colors / colors.std()
    memory = io.BytesIO()
    Image.fromarray(np.moveaxis(pixels, 0, 2).clip(0, 255).astype(np.uint8)).save(
        memory, "JPEG", quality=79
    )
    return memory.getvalue()


def by_pillow(path: Path) -> NDArray[np.uint8]:
    """Decode, shorter side to 256 by an antialiased filter, central square: all of it by Pillow."""
    with Image.open(path) as image:
        scale = SIZE / min(image.size)
        shape = round(image.width * scale), round(image.height * scale)
        image = image.convert("RGB").resize(shape, Image.Resampling.BILINEAR)
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


def main() -> None:
    parser = options(__doc__, images=3000, processes=2, rounds=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.jpg" for number in range(DIFFERENT)]
        for number, file in enumerate(files):
            file.write_bytes(photograph(number))
        paths = [files[number % DIFFERENT] for number in range(args.images)]
        acts = {
            f"Pillow, {args.processes} processes": lambda out: pillow_pack(
                paths, out, args.processes
            ),
            "alexnet pack": lambda out: our_pack(paths, out, args.processes, "rgb"),
            "alexnet pack --pixels yuv420": lambda out: our_pack(
                paths, out, args.processes, "yuv420"
            ),
        }
        found = [Contestant(name, Callable) for name in acts]
        for _ in range(args.rounds):
            for contestant in found:
                turn(contestant, acts[contestant.name], args.images)
        worst = max(map(difference, files))
        kilobytes = sum(file.stat().st_size for file in files) / DIFFERENT / 1000
    lines = [
        f"{args.images} JPEGs of {WIDTH}×{HEIGHT}, {kilobytes:.0f} KB each, to {SIZE}×{SIZE}",
        table(found, found[0]),
        verdict("alexnet pack ÷ Pillow", ratio(found[1], found[0])[0], 1.5),
        verdict("1 gray level ÷ the worst image's mean difference from Pillow's", 1 / worst, 1.0),
    ]
    report(args.json, "cpu", found, lines, images=args.images, difference=worst)


if __name__ == "__main__":
    main()
