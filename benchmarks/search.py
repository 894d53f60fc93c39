"""Exact search for the nearest features, beside faiss-cpu and usearch on the same arrays.

python benchmarks/search.py --json benchmarks/results/search.json

Statements: on two cores, a query among 100,000 × 4096 features takes less than 50 ms when queries
come in batches; the neighbors are those of float64, also where features are near duplicates.

The features are drawn: non-negative and sparse like those of fc7, with about 30 degrees of
freedom, which makes neighborhoods as uneven as those of images. `--index INDEX` takes those of an
index instead. Every contestant answers all queries in one batch in each turn. Its first answer is
compared with the truth, from differences in float64. "near" are rows and queries of norm 1000 that
are near duplicates, with squared distances of about 0.4, searched in the same way.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from alexnet.search.distances import measure_distances, select_nearest
from alexnet.search.exact import ExactSearch
from alexnet.search.index import open_index
from interleave import Contestant, Turn, contest, options, ratio, report, verdict

TARGET_MS = 50.0
FREEDOM = 30
"""Degrees of freedom of the features that are drawn."""
DUPLICATES = 32
Find = Callable[[NDArray[np.float32]], tuple[NDArray[Any], NDArray[Any]]]
"""A search: queries (Q, D) → indices and squared distances (Q, k)."""


def draw_features(rows: int, dimensions: int, seed: int) -> NDArray[np.float32]:
    """Draw features like those of a hidden layer after ReLU: float32 (rows, dimensions)."""
    mixing = torch.randn(FREEDOM, dimensions, generator=torch.Generator().manual_seed(0))
    chance = torch.Generator().manual_seed(seed)
    causes = torch.randn(rows, FREEDOM, generator=chance) / FREEDOM**0.5
    noise = 0.2 * torch.randn(rows, dimensions, generator=chance)
    return (20 * (causes @ mixing + noise - 0.5)).relu_().numpy()


def write_features(folder: Path, args: Any) -> None:
    """Write rows and queries in float32, the rows in float16, too, and near duplicates."""
    if args.index is not None:
        index = open_index(args.index)
        everything = np.concatenate([np.asarray(x, np.float32) for x in index.features])
        chosen = np.random.default_rng(0).permutation(len(everything))
        rows, queries = np.split(everything[chosen[: args.images + args.queries]], [args.images])
    else:
        rows = draw_features(args.images, args.dimensions, 1)
        queries = draw_features(args.queries, args.dimensions, 2)
    # Every contestant gets the same numbers, those that float16 can hold.
    np.save(folder / "rows16.npy", rows.astype(np.float16))
    np.save(folder / "rows.npy", rows.astype(np.float16).astype(np.float32))
    np.save(folder / "queries.npy", queries.astype(np.float16).astype(np.float32))
    chance = np.random.default_rng(3)
    shape = DUPLICATES, rows.shape[1]
    base = np.abs(chance.normal(size=shape[1]))
    base *= 1000 / np.linalg.norm(base)
    near = base + chance.normal(0, (0.2 / shape[1]) ** 0.5, (2, *shape))
    np.save(folder / "near.npy", near.astype(np.float32))


def find_with_ours(rows: NDArray[Any], k: int) -> Find:
    search = ExactSearch([rows])

    def find(queries: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
        found = search.search(queries, k)
        return found.indices, found.distances**2

    return find


def find_with_faiss(rows: NDArray[Any], k: int) -> Find:
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatL2(rows.shape[1])
    index.add(np.ascontiguousarray(rows))
    return lambda queries: index.search(queries, k)[::-1]


def find_with_usearch(rows: NDArray[Any], k: int) -> Find:
    from usearch.index import MetricKind, search

    kept = np.ascontiguousarray(rows)

    def find(queries: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
        threads = torch.get_num_threads()
        found = search(kept, queries, k, MetricKind.L2sq, exact=True, threads=threads)
        shape = len(queries), k
        return found.keys.reshape(shape).astype(np.int64), found.distances.reshape(shape)

    return find


def prepare(device: str, library: str, folder: str, file: str, k: int) -> Turn:
    """Return the turn of a contestant; its first answers are left in the folder."""
    make = {"ours": find_with_ours, "faiss": find_with_faiss, "usearch": find_with_usearch}[library]
    near, others = np.load(Path(folder, "near.npy"))
    answers = make(near, 1)(others)
    np.savez(Path(folder, f"{library}-{file}-near.npz"), indices=answers[0], squares=answers[1])
    find = make(np.load(Path(folder, file), mmap_mode="r"), k)
    queries = np.load(Path(folder, "queries.npy"))
    indices, squares = find(queries)
    np.savez(Path(folder, f"{library}-{file}.npz"), indices=indices, squares=squares)

    def turn() -> int:
        find(queries)
        return len(queries)

    return turn


def find_truth(rows: NDArray[Any], queries: NDArray[Any], k: int) -> tuple[Any, Any]:
    """Return the true neighbors and their squared distances, from differences in float64."""
    found = [select_nearest(np.arange(len(rows)), measure_distances(rows, q), k) for q in queries]
    return np.stack([x for x, _ in found]), np.stack([x for _, x in found]) ** 2


def compare_answers(
    answers: Any, truth: tuple[NDArray[np.int64], NDArray[np.float64]]
) -> dict[str, float]:
    """Return the recall, and the largest relative error of a squared distance."""
    indices, squares = truth
    n = len(indices)  # the truth is known for the first queries only
    pairs = zip(answers["indices"][:n], indices, strict=True)
    recall = statistics.fmean(len(np.intersect1d(a, b)) / len(b) for a, b in pairs)
    error = np.abs(answers["squares"][:n] - squares) / squares.clip(1e-30)
    return {"recall": recall, "error": float(error.max())}


CONTESTANTS = {
    "ours, float16": ("ours", "rows16.npy"),
    "ours, float32": ("ours", "rows.npy"),
    "faiss IndexFlatL2": ("faiss", "rows.npy"),
    "usearch, exact": ("usearch", "rows.npy"),
}


def judge(found: list[Contestant], folder: Path, args: Any) -> dict[str, dict[str, Any]]:
    """Compare the answers of every contestant with the truth."""
    rows = np.load(folder / "rows16.npy", mmap_mode="r")
    queries, (near, others) = np.load(folder / "queries.npy"), np.load(folder / "near.npy")
    truth = find_truth(rows, queries[: args.checked], args.k)
    near_truth = find_truth(near, others, 1)
    judged = {}
    for contestant in found:
        name = f"{contestant.options['library']}-{contestant.options['file']}"
        if contestant.error:
            continue
        with np.load(folder / f"{name}.npz") as answers:
            judged[contestant.name] = compare_answers(answers, truth)
        with np.load(folder / f"{name}-near.npz") as answers:
            wrong = compare_answers(answers, near_truth)
            judged[contestant.name] |= {f"near_{key}": value for key, value in wrong.items()}
    return judged


def format_table(found: list[Contestant], judged: dict[str, dict[str, Any]]) -> list[str]:
    """Return the table: speed, memory, recall and the largest error of a squared distance."""
    heads = f"{'ms/query':>26}{'× ours':>8}{'resident':>10}{'recall':>9}{'error':>10}"
    lines = [f"{'':<20}{heads}{'near: recall':>14}{'error':>9}"]
    for c in found:
        if c.error or not c.rates:
            lines.append(f"{c.name:<20}  not run: {c.error}")
            continue
        times = sorted(1e3 / rate for rate in c.rates)
        speed = f"{statistics.median(times):.2f} [{times[0]:.2f}–{times[-1]:.2f}]"
        seen = judged[c.name]
        lines.append(
            f"{c.name:<20}{speed:>26}{ratio(c, found[0])[0]:>8.2f}{c.peak_resident / 2**30:>9.2f}G"
            f"{seen['recall']:>9.4f}{seen['error']:>10.1e}"
            f"{seen['near_recall']:>14.3f}{seen['near_error']:>9.1e}"
        )
    return lines


def main() -> None:
    parser = options(
        __doc__, images=100_000, dimensions=4096, queries=256, k=10, rounds=5, checked=64
    )
    parser.add_argument("--index", type=Path, help="take the features of this index")
    args = parser.parse_args()
    missing = [x for x in ("faiss", "usearch") if importlib.util.find_spec(x) is None]
    with tempfile.TemporaryDirectory() as folder:
        write_features(Path(folder), args)
        found = [
            Contestant(
                name, prepare, {"library": library, "file": file, "folder": folder, "k": args.k}
            )
            for name, (library, file) in CONTESTANTS.items()
            if library not in missing
        ]
        contest(found, args.rounds, args.device)
        judged = judge(found, Path(folder), args)
    lines = format_table(found, judged)
    lines += [f"{name} is not installed" for name in missing]
    milliseconds = 1e3 / statistics.median(found[0].rates)
    lines.append(verdict("50 ms ÷ time of a query", TARGET_MS / milliseconds, 1.0))
    sizes = {"images": args.images, "dimensions": args.dimensions, "queries": args.queries}
    report(args.json, args.device, found, lines, answers=judged, **sizes, k=args.k)


if __name__ == "__main__":
    sys.exit(main())
