"""Exact search equals brute force in float64, whatever rounding does."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.search import exact
from alexnet.search.distances import measure_distances, select_nearest
from alexnet.search.exact import ExactSearch, view_as_tensor


def search_by_brute_force(features, queries, k, metric="euclidean", within=None):
    """Return the indices and distances of the nearest rows: every distance is measured."""
    x = np.concatenate([np.asarray(part, np.float32) for part in features])
    rows = np.arange(len(x)) if within is None else np.array(within)
    found = [select_nearest(rows, measure_distances(x[rows], q, metric), k) for q in queries]
    return [np.stack(parts) for parts in zip(*found, strict=True)]


def check(features, queries, k, metric="euclidean", within=None):
    """Compare a search with brute force, bit for bit, and return it."""
    found = ExactSearch(features, metric).search(queries, k, within)
    indices, distances = search_by_brute_force(features, queries, k, metric, within)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_array_equal(found.distances, distances)
    return found


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few rows, passes of few queries, and shortlists that overflow."""
    monkeypatch.setattr(exact, "BLOCK_NUMBERS", 40)
    monkeypatch.setattr(exact, "QUERIES_PER_PASS", 3)
    monkeypatch.setattr(exact, "MOST_PENDING", 20)
    monkeypatch.setattr(exact, "MEASURED_ROWS", 7)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    shards=st.lists(st.integers(0, 30), min_size=1, max_size=4).filter(any),
    dimensions=st.integers(1, 12),
    k=st.integers(1, 9),
    kind=st.sampled_from(["float16", "float32"]),
    metric=st.sampled_from(["euclidean", "cosine"]),
    grid=st.booleans(),
    within=st.booleans(),
)
def test_a_search_equals_brute_force(seed, shards, dimensions, k, kind, metric, grid, within):
    chance = np.random.default_rng(seed)
    draw = chance.normal if not grid else lambda size: chance.integers(0, 3, size)
    scale = chance.choice([1e-3, 1, 100])
    features = [(scale * draw(size=(n, dimensions))).astype(kind) for n in shards]
    queries = (scale * draw(size=(5, dimensions))).astype(np.float32)
    total = sum(shards)
    begin = int(chance.integers(0, total)) if within else 0
    part = range(begin, int(chance.integers(begin, total)) + 1) if within else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "BLOCK_NUMBERS", 40)
        patch.setattr(exact, "QUERIES_PER_PASS", 3)
        patch.setattr(exact, "MOST_PENDING", int(chance.choice([0, 20, 1000])))
        patch.setattr(exact, "MEASURED_ROWS", int(chance.choice([1, 7, 1000])))
        check(features, queries, k, metric, part)


def test_a_search_in_many_rows_keeps_short_lists(monkeypatch):
    measured = []
    original = exact.measure_distances
    monkeypatch.setattr(
        exact, "measure_distances", lambda x, *more: measured.append(len(x)) or original(x, *more)
    )
    chance = np.random.default_rng(0)
    features = np.maximum(chance.normal(size=(20_000, 64)), 0).astype(np.float16)
    queries = np.maximum(chance.normal(size=(30, 64)), 0).astype(np.float32)
    check([features], queries, 10)
    assert max(measured) < 40  # of 20,000, to find 10


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_near_duplicates_have_their_true_distances(metric):
    """The case in which faiss's IndexFlatL2 returned 0.25, 0, 0.75, 0 for 0.395 to 0.405."""
    chance = np.random.default_rng(7)
    base = np.abs(chance.normal(0, 16, 4096))
    assert np.linalg.norm(base) > 1000
    steps = chance.normal(0, np.sqrt(0.4 / 4096), (40, 4096))
    features = [
        (base + steps).astype(np.float32),
        np.abs(
            chance.normal(
                0,
                16,
                (50, 4096),
            )
        ).astype("f4"),
    ]
    queries = np.repeat(base[None].astype(np.float32), 20, 0)
    queries += chance.normal(0, 1e-3, queries.shape).astype(np.float32)
    found = check(features, queries, 6, metric)
    assert found.indices.max() < 40
    if metric == "euclidean":
        squares = found.distances**2
        assert 0.35 < squares.min() < squares.max() < 0.45
        # What a matrix product alone gives for them.
        x, q = features[0][found.indices[0]], queries[0]
        naive = (x * x).sum(1) + (q * q).sum() - 2 * x @ q
        assert np.abs(naive - squares[0]).max() > 0.01


def test_nearest_features_far_from_zero_have_their_true_distances():
    chance = np.random.default_rng(0)
    features = chance.normal(size=(1300, 64)).astype(np.float32) + 1000
    features[7] = features[3] + np.float32(1e-3)
    found = ExactSearch([features]).search(features[[3]], 2)
    assert found.indices.tolist() == [[3, 7]]
    exact = np.linalg.norm((features[7] - features[3]).astype(np.float64))
    assert found.distances[0] == pytest.approx([0, exact], rel=1e-6)


def test_equal_rows_are_ordered_by_index(small_blocks):
    features = np.ones((100, 8), np.float16)
    found = check([features[:37], features[37:]], np.zeros((4, 8), np.float32), 5)
    assert found.indices.tolist() == [[0, 1, 2, 3, 4]] * 4


def test_rows_and_queries_near_overflow_are_found():
    features = np.array([[1e38, 1e38], [-3e38, 3e38], [1, 1], [2, 2]], np.float32)
    for metric in "euclidean", "cosine":
        check([features], np.array([[0, 0.5], [3e38, 3e38], [0, 0]], np.float32), 4, metric)


def test_k_above_the_number_of_rows_gives_all_of_them():
    features = np.eye(3, dtype=np.float32)
    assert ExactSearch([features]).search(features, 10).indices.shape == (3, 3)


def test_no_queries_give_no_neighbors():
    found = ExactSearch([np.eye(3, dtype=np.float32)]).search(np.empty((0, 3)), 2)
    assert found.indices.shape == found.distances.shape == (0, 2)


def test_a_lower_precision_of_matrix_products_changes_nothing():
    chance = np.random.default_rng(3)
    features = chance.normal(size=(500, 96)).astype(np.float32)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            check([features], features[:40] + 0.01, 5)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_read_only_memory_maps_are_searched_without_a_warning(tmp_path):
    chance = np.random.default_rng(4)
    np.save(tmp_path / "x.npy", chance.normal(size=(50, 6)).astype(np.float16))
    features = np.load(tmp_path / "x.npy", mmap_mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check([features, features[10:20]], np.zeros((2, 6), np.float32), 3)
    assert view_as_tensor(features).data_ptr() == features.ctypes.data


@pytest.mark.parametrize(
    ("queries", "k", "within", "message"),
    [
        (np.zeros((2, 4)), 1, None, r"shape \(2, 4\), but must be \(Q, 3\)"),
        (np.zeros(3), 1, None, r"shape \(3,\)"),
        (np.full((1, 3), np.nan), 1, None, "NaN or infinite"),
        (np.zeros((1, 3)), 0, None, "k is 0"),
        (np.zeros((1, 3)), 1, range(2, 9), "no range of consecutive indices below 3"),
        (np.zeros((1, 3)), 1, range(0, 3, 2), "no range"),
        (np.zeros((1, 3)), 1, range(1, 1), "no range"),
    ],
)
def test_wrong_arguments_are_errors(queries, k, within, message):
    with pytest.raises(ValueError, match=message):
        ExactSearch([np.eye(3, dtype=np.float32)]).search(queries, k, within)


def test_wrong_features_are_errors():
    with pytest.raises(ValueError, match="no features to search in"):
        ExactSearch([np.empty((0, 3), np.float32)])
    with pytest.raises(ValueError, match=r"shapes \[\(3,\), \(4,\)\]"):
        ExactSearch([np.zeros((1, 3), np.float32), np.zeros((1, 4), np.float32)])
    with pytest.raises(ValueError, match="int64"):
        ExactSearch([np.zeros((1, 3), np.int64)])
    damaged = ExactSearch([np.full((2, 3), np.inf, np.float32)])
    with pytest.raises(ValueError, match="damaged: make the index again"):
        damaged.search(np.zeros((1, 3)), 1)
