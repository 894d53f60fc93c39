"""Packing JPEGs, and batches of augmented images from what was packed, beside others' ways.

python benchmarks/data.py --json benchmarks/results/data.json
python benchmarks/data.py --parts pixels --errors RUN RGB_PACK YUV_PACK

packing: `alexnet pack` beside Pillow in as many processes. batches: packs of both kinds beside a
DataLoader over the JPEGs, webdataset and ffcv where they are installed, from a warm and from a
cold page cache. pixels: what storing yuv420 does to pixels and, with --errors, to the error of a
network that was trained. The photographs are synthetic unless --folder names some.
"""

from __future__ import annotations

import itertools
import math
import statistics
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import loading
from alexnet.images.decoding import decode
from alexnet.images.records import record_shape, records_to_rgb, write_record
from alexnet.images.resizing import fit
from interleave import Contestant, contest, options, report, table
from packing import our_pack, packing
from usual import HEIGHT, SIZE, WIDTH, photographs

PARTS = "packing", "batches", "pixels"


def jpegs(args: Namespace, folder: Path) -> list[Path]:
    """`args.images` files in `folder`: photographs of noise, or links to those of --folder."""
    if args.folder is None:
        return photographs(folder, args.images)
    found = sorted(p for p in args.folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    if not found:
        raise SystemExit(f"{args.folder} has no .jpg or .jpeg. Name a folder of photographs")
    paths = []
    for number, path in zip(range(args.images), itertools.cycle(found), strict=False):
        paths.append(folder / f"{number:06}.jpg")
        paths[-1].symlink_to(path.resolve())
    return paths


def mean_bytes(folder: Path) -> float:
    """Bytes an image of the JPEGs in a folder."""
    return statistics.mean(path.stat().st_size for path in folder.glob("*.jpg"))


def batches(args: Namespace, paths: list[Path], folder: Path) -> tuple[list[Contestant], list[str]]:
    """One epoch a turn: from packs, and from the JPEGs by loaders of others."""
    files = paths[0].parent
    for pixels in "rgb", "yuv420":
        our_pack(paths, folder / pixels, args.processes, pixels)
    common: dict[str, Any] = {"batch": args.batch}
    by_others = {**common, "files": files, "workers": args.processes}
    bytes_of = {pixels: math.prod(record_shape(SIZE, pixels)) for pixels in ("rgb", "yuv420")}
    name = f"DataLoader, Pillow ({mean_bytes(files):,.0f} B)"
    found = [
        Contestant(f"{name}, warm", loading.usual, by_others),
        Contestant(f"{name}, cold", loading.usual, {**by_others, "cold": True}),
        Contestant("webdataset, Pillow, warm", loading.webdataset, by_others),
        Contestant("ffcv, raw 256×256, warm", loading.ffcv, by_others),
    ]
    for pixels, (state, cold) in itertools.product(bytes_of, [("warm", False), ("cold", True)]):
        turns = {**common, "files": folder / pixels, "cold": cold}
        words = f"ours, {pixels} ({bytes_of[pixels]:,} B), {state}"
        found.append(Contestant(words, loading.Ours, turns))
    contest(found, args.rounds, "cpu")
    lines = [
        f"Batches of {args.batch} from {len(paths)} images, {args.processes} workers; "
        "in brackets the bytes of an image",
        table(found, found[0]),
        cold_or_not(folder / "rgb"),
    ]
    return found, lines


def cold_or_not(folder: Path) -> str:
    """Whether this machine's page cache can be emptied of a folder's files."""
    try:
        loading.drop(folder)
        share = loading.cached(folder)
    except OSError as error:
        return f"cold: whether the page cache was emptied is unknown here ({error.strerror})"
    if share > 0.02:
        return f"cold: NOT COLD, {share:.0%} of the pages stay in the page cache here"
    return f"cold: {share:.0%} of the pages were left in the page cache"


def psnr(image: NDArray[np.uint8]) -> float:
    """Decibels between an image, uint8 256 256 3, and what a network sees of its yuv420 record."""
    record = np.empty(record_shape(SIZE, "yuv420"), np.uint8)
    write_record(image, "yuv420", record)
    wrong = records_to_rgb(record[None], SIZE, "yuv420")[0] - image.astype(np.float32)
    return 10 * math.log10(255**2 / max(float((wrong**2).mean()), 1e-12))


def pixels(paths: list[Path]) -> tuple[list[float], str]:
    """The PSNR of up to fifty images, and a line about them."""
    found = [psnr(fit(decode(path.read_bytes()).pixels, SIZE)) for path in paths[:50]]
    middle, least, most = statistics.median(found), min(found), max(found)
    line = f"yuv420 beside rgb, PSNR of {len(found)} images: {middle:.1f} dB"
    return found, f"{line} [{least:.1f}–{most:.1f}]"


def errors(run: Path, packs: list[Path]) -> tuple[dict[str, Any], str]:
    """The errors of one trained network on the same images, packed as rgb and as yuv420."""
    import alexnet

    scores = [alexnet.evaluate(run, pack) for pack in packs]
    lines = [
        f"{pack}: top-1 error {s.counts.top1:.2%}, top-5 error {s.counts.top5:.2%}, loss "
        f"{s.counts.loss:.4f} ({s.counts.seen:,} images)"
        for pack, s in zip(packs, scores, strict=True)
    ]
    first, second = (s.counts for s in scores)
    points = 100 * (second.top1 - first.top1)
    lines.append(f"the second less the first: {points:+.2f} points of top-1 error")
    return {str(p): s.to_dict() for p, s in zip(packs, scores, strict=True)}, "\n".join(lines)


def measured(args: Namespace) -> tuple[list[Contestant], list[str], dict[str, Any]]:
    """The parts that were asked for: contestants, lines, and what else is to be noted."""
    everyone: list[Contestant] = []
    more: dict[str, Any] = {"images": args.images}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "jpegs")
        folder.mkdir()
        paths = jpegs(args, folder)
        kind = f"of {args.folder}" if args.folder else f"made up, {WIDTH}×{HEIGHT}"
        lines = [f"{len(paths)} JPEGs {kind}, {mean_bytes(folder) / 1000:.0f} KB each", ""]
        if "packing" in args.parts:
            found, said, more["difference"] = packing(paths, args.processes, args.rounds)
            everyone, lines = everyone + found, [*lines, *said, ""]
        if "batches" in args.parts:
            found, said = batches(args, paths, Path(place))
            everyone, lines = everyone + found, [*lines, *said, ""]
        if "pixels" in args.parts:
            more["psnr"], line = pixels(paths)
            lines.append(line)
    return everyone, lines, more


def main() -> None:
    parser = options(__doc__, images=3000, processes=2, batch=128, rounds=5)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--folder", type=Path, help="photographs to use instead of made-up ones")
    parser.add_argument("--errors", nargs=3, type=Path, metavar=("RUN", "RGB_PACK", "YUV_PACK"))
    args = parser.parse_args()
    everyone, lines, more = measured(args) if args.parts else ([], [], {})
    if args.errors:
        more["errors"], line = errors(args.errors[0], args.errors[1:])
        lines.append(line)
    report(args.json, "cpu", everyone, lines, **more)


if __name__ == "__main__":
    main()
