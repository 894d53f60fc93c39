"""Speed of the search in binary codes, and the recall of codes of the same size.

python benchmarks/codes.py                          # queries per second, beside faiss
python benchmarks/codes.py --index x.index          # also recall on the features of an index

Statements: on two cores a query among 1,000,000 codes of 256 bits takes less than 20 ms; on the
features of an index, recall@10 after re-ranking is at least 0.95.

Compared, one query at a time and in batches: the kernel of this package, its NumPy reference,
faiss's IndexBinaryFlat (exact, like the kernel). Recall: the codes of the index, faiss's IndexLSH
(random rotation and signs) of as many bits, and IndexPQ (product quantization, asymmetric
distances) of as many bytes, all trained without the queries and re-ranked with as many candidates.
A rate counts queries. Contestants whose library is not installed are rows that say so.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interleave import Contestant, Turn, contest, keeper, options, ratio, report, verdict

TARGET_MILLISECONDS, TARGET_RECALL = 20.0, 0.95
K = 200
"""Candidates that a search gives."""


def draw_codes(images: int, bits: int, queries: int) -> tuple[NDArray[np.uint8], ...]:
    """Draw random codes and queries, uint8 (N, bits / 8)."""
    random = np.random.default_rng(0)
    codes = random.integers(0, 256, (images, bits // 8), np.uint8)
    return codes, random.integers(0, 256, (queries, bits // 8), np.uint8)


def ours(device: str, images: int, bits: int, queries: int, batch: int) -> Turn:
    """The kernel of this package."""
    from alexnet.kernels.hamming.operator import find_nearest_codes

    codes, all_queries = draw_codes(images, bits, queries)
    return take_batches(lambda x: find_nearest_codes(codes, x, K), all_queries, batch)


def reference(device: str, images: int, bits: int, queries: int, batch: int) -> Turn:
    """The same in NumPy."""
    from alexnet.kernels import references_only
    from alexnet.kernels.hamming.operator import find_nearest_codes

    codes, all_queries = draw_codes(images, bits, queries)

    def search(x: NDArray[np.uint8]) -> object:
        with references_only():
            return find_nearest_codes(codes, x, K)

    return take_batches(search, all_queries, batch)


def faiss_flat(device: str, images: int, bits: int, queries: int, batch: int) -> Turn:
    """faiss's exact search in binary codes."""
    import faiss

    codes, all_queries = draw_codes(images, bits, queries)
    index = faiss.IndexBinaryFlat(bits)
    index.add(codes)
    return take_batches(lambda x: index.search(x, K), all_queries, batch)


def take_batches(search: Any, queries: NDArray[np.uint8], batch: int) -> Turn:
    """Return a turn that searches for all queries, `batch` at a time."""

    def turn() -> int:
        for first in range(0, len(queries), batch):
            search(queries[first : first + batch])
        return len(queries)

    return turn


def measure_recalls(path: Path) -> dict[str, dict[str, float]]:
    """Return recall@10 of codes alone and re-ranked, for each method, on an index with codes."""
    from alexnet.search.code_files import open_codes, read_encoder
    from alexnet.search.recall import K as NEAREST
    from alexnet.search.recall import draw_queries, exclude_queries, list_methods, rank

    codes = open_codes(path)
    index, bits = codes.index, codes.bits
    drawn = draw_queries(len(index), read_encoder(index)[1].options.seed)
    queries, methods = drawn[1::2], list_methods(codes)
    nearest = exclude_queries(methods["exact"], index, queries, NEAREST)
    candidates = {"ours": methods["codes"]}
    for name, faiss_index in build_faiss(index, np.setdiff1d(np.arange(len(index)), drawn), bits):
        candidates[name] = lambda x, k, searched=faiss_index: searched.search(x, k)[1]
    found = {}
    for name, search in candidates.items():
        positions = rank(nearest, exclude_queries(search, index, queries, codes.shortlist))
        found[name] = {
            "alone": float((positions < NEAREST).mean()),
            "reranked": float((positions < codes.shortlist).mean()),
        }
    return found


def build_faiss(index: Any, training: NDArray[np.int64], bits: int) -> list[tuple[str, Any]]:
    """Return faiss's indexes of the same bytes per image, trained and filled; none without it."""
    try:
        import faiss
    except ImportError:
        return []
    dimensions, features = index.dimensions, index.gather(range(len(index)))
    found = [("faiss IndexLSH", faiss.IndexLSH(dimensions, bits, True))]
    parts = bits // 8  # one byte for each part of the features
    if dimensions % parts == 0 and len(training) >= 256:
        found.append(("faiss IndexPQ", faiss.IndexPQ(dimensions, parts, 8)))
    for _, searched in found:
        searched.train(features[training])
        searched.add(features)
    return found


def format_recalls(found: dict[str, dict[str, float]]) -> list[str]:
    """Return a table of recalls and the verdict on ours."""
    lines = [f"{'recall@10':<46}{'codes alone':>14}{'re-ranked':>12}"]
    lines += [f"{name:<46}{x['alone']:>14.3f}{x['reranked']:>12.3f}" for name, x in found.items()]
    return [*lines, verdict("recall@10 after re-ranking", found["ours"]["reranked"], TARGET_RECALL)]


def main() -> None:
    parser = options(__doc__, images=1_000_000, bits=256, queries=32, batch=32, rounds=7)
    parser.add_argument("--index", type=Path, help="an index with codes, to measure recall on")
    given = parser.parse_args()
    sizes = {"images": given.images, "bits": given.bits, "queries": given.queries}
    contestants = [
        Contestant(f"{name}, {'one query at a time' if batch == 1 else f'{batch} at a time'}",
                   prepare, {**sizes, "batch": batch})
        for batch in (1, given.batch)
        for name, prepare in (("ours", ours), ("NumPy", reference), ("faiss", faiss_flat))
    ]  # fmt: skip
    contest(contestants, given.rounds, given.device, keeper(given.json, given.device, contestants))
    lines = [f"{given.images:,} codes of {given.bits} bits, the {K} nearest"]
    lines += [f"{'':<46}{'ms/query':>24}{'× ours':>20}"]
    for contestant in contestants:
        mine = contestants[0 if contestant in contestants[:3] else 3]
        lines.append(format_row(contestant, mine))
    one = 1e3 / statistics.median(contestants[0].rates)
    word = "met   " if one < TARGET_MILLISECONDS else "MISSED"
    lines.append(f"{word}  ms per query: {one:.2f} (target below {TARGET_MILLISECONDS:g})")
    recalls = measure_recalls(given.index) if given.index else {}
    if recalls:
        lines += format_recalls(recalls)
    report(given.json, given.device, contestants, lines, sizes=sizes, recalls=recalls)


def format_row(contestant: Contestant, mine: Contestant) -> str:
    """Return milliseconds per query and their ratio to ours: median [smallest–largest]."""
    if contestant.error or not contestant.rates:
        return f"{contestant.name:<46}  not run: {contestant.error}"
    times = sorted(1e3 / rate for rate in contestant.rates)
    row = f"{statistics.median(times):,.2f} [{times[0]:,.2f}–{times[-1]:,.2f}]"
    middle, least, most = ratio(mine, contestant)
    return f"{contestant.name:<46}{row:>24}{f'{middle:.2f} [{least:.2f}–{most:.2f}]':>20}"


if __name__ == "__main__":
    main()
