"""Speed of packing and of loading augmented batches, compared with the usual ways.

python benchmarks/data.py --json benchmarks/results/data.json
python benchmarks/data.py --parts pixels --errors RUN RGB_PACK YUV_PACK

Statements: packing is at least 1.5 times as fast as Pillow; loading batches from a pack is faster
than decoding JPEGs in a DataLoader; yuv420 records cost little accuracy. Three parts, all in images
per second but the last:

    packing   `alexnet pack`, and Pillow in the same number of processes (`packing.py`)
    batches   packs in rgb and yuv420; a DataLoader over the JPEGs; webdataset and ffcv if they are
              installed. From a warm page cache and from one that was emptied (`loading.py`)
    pixels    PSNR of yuv420 records; with --errors, the errors of one trained network on the same
              images in both formats

The photographs are synthetic (`usual.py`) unless --folder names real ones.
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


def make_jpegs(args: Namespace, folder: Path) -> list[Path]:
    """Make `args.images` files in `folder`: synthetic photographs, or links to --folder's."""
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


def compute_mean_bytes(folder: Path) -> float:
    """Return the mean size of the JPEGs in a folder, in bytes."""
    return statistics.mean(path.stat().st_size for path in folder.glob("*.jpg"))


def measure_batches(
    args: Namespace, paths: list[Path], folder: Path
) -> tuple[list[Contestant], list[str]]:
    """Measure loading, one epoch per turn: from packs, and from JPEGs with other loaders."""
    files = paths[0].parent
    for pixels in "rgb", "yuv420":
        our_pack(paths, folder / pixels, args.processes, pixels)
    common: dict[str, Any] = {"batch": args.batch}
    by_files = {**common, "files": files, "workers": args.processes}
    bytes_of = {pixels: math.prod(record_shape(SIZE, pixels)) for pixels in ("rgb", "yuv420")}
    name = f"DataLoader, Pillow ({compute_mean_bytes(files):,.0f} B)"
    found = [
        Contestant(f"{name}, warm", loading.usual, by_files),
        Contestant(f"{name}, cold", loading.usual, {**by_files, "cold": True}),
        Contestant("webdataset, Pillow, warm", loading.webdataset, by_files),
        Contestant("ffcv, raw 256×256, warm", loading.ffcv, by_files),
    ]
    for pixels, (state, cold) in itertools.product(bytes_of, [("warm", False), ("cold", True)]):
        turns = {**common, "files": folder / pixels, "cold": cold}
        words = f"ours, {pixels} ({bytes_of[pixels]:,} B), {state}"
        found.append(Contestant(words, loading.Ours, turns))
    contest(found, args.rounds, "cpu")
    lines = [
        f"Batches of {args.batch} from {len(paths)} images, {args.processes} workers; "
        "in brackets the bytes per image",
        table(found, found[0]),
        describe_cache(folder / "rgb"),
    ]
    return found, lines


def describe_cache(folder: Path) -> str:
    """Return a line that says whether the page cache could be emptied of a folder's files."""
    try:
        loading.drop(folder)
        share = loading.cached(folder)
    except OSError as error:
        return f"cold: whether the page cache was emptied is unknown here ({error.strerror})"
    if share > 0.02:
        return f"cold: NOT COLD, {share:.0%} of the pages stay in the page cache here"
    return f"cold: {share:.0%} of the pages were left in the page cache"


def compute_psnr(image: NDArray[np.uint8]) -> float:
    """Return the PSNR, in dB, of the yuv420 record of an image, uint8 (256, 256, 3)."""
    record = np.empty(record_shape(SIZE, "yuv420"), np.uint8)
    write_record(image, "yuv420", record)
    error = records_to_rgb(record[None], SIZE, "yuv420")[0] - image.astype(np.float32)
    return 10 * math.log10(255**2 / max(float((error**2).mean()), 1e-12))


def measure_pixels(paths: list[Path]) -> tuple[list[float], str]:
    """Return the PSNR of up to fifty images, and a line about them."""
    found = [compute_psnr(fit(decode(path.read_bytes()).pixels, SIZE)) for path in paths[:50]]
    median, lowest, highest = statistics.median(found), min(found), max(found)
    line = f"yuv420 beside rgb, PSNR of {len(found)} images: {median:.1f} dB"
    return found, f"{line} [{lowest:.1f}–{highest:.1f}]"


def compare_errors(run: Path, packs: list[Path]) -> tuple[dict[str, Any], str]:
    """Return the errors of one trained network on the same images, packed as rgb and as yuv420."""
    import alexnet

    scores = [alexnet.evaluate(run, pack) for pack in packs]
    lines = [
        f"{pack}: top-1 error {s.counts.top1:.2%}, top-5 error {s.counts.top5:.2%}, loss "
        f"{s.counts.loss:.4f} ({s.counts.seen:,} images)"
        for pack, s in zip(packs, scores, strict=True)
    ]
    first, second = (s.counts for s in scores)
    points = 100 * (second.top1 - first.top1)
    lines.append(f"second − first: {points:+.2f} points of top-1 error")
    return {str(p): s.to_dict() for p, s in zip(packs, scores, strict=True)}, "\n".join(lines)


def measure_parts(args: Namespace) -> tuple[list[Contestant], list[str], dict[str, Any]]:
    """Measure the chosen parts; return contestants, lines to print and other values to save."""
    everyone: list[Contestant] = []
    more: dict[str, Any] = {"images": args.images}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "jpegs")
        folder.mkdir()
        paths = make_jpegs(args, folder)
        kind = f"of {args.folder}" if args.folder else f"(synthetic, {WIDTH}×{HEIGHT})"
        lines = [f"{len(paths)} JPEGs {kind}, {compute_mean_bytes(folder) / 1000:.0f} KB each", ""]
        if "packing" in args.parts:
            found, printed, more["difference"] = packing(paths, args.processes, args.rounds)
            everyone, lines = everyone + found, [*lines, *printed, ""]
        if "batches" in args.parts:
            found, printed = measure_batches(args, paths, Path(place))
            everyone, lines = everyone + found, [*lines, *printed, ""]
        if "pixels" in args.parts:
            more["psnr"], line = measure_pixels(paths)
            lines.append(line)
    return everyone, lines, more


def main() -> None:
    parser = options(__doc__, images=3000, processes=2, batch=128, rounds=5)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--folder", type=Path, help="photographs to use instead of synthetic ones")
    parser.add_argument("--errors", nargs=3, type=Path, metavar=("RUN", "RGB_PACK", "YUV_PACK"))
    args = parser.parse_args()
    everyone, lines, more = measure_parts(args) if args.parts else ([], [], {})
    if args.errors:
        more["errors"], line = compare_errors(args.errors[0], args.errors[1:])
        lines.append(line)
    report(args.json, "cpu", everyone, lines, **more)


if __name__ == "__main__":
    main()
