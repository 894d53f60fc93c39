"""Search by codes with re-ranking, compared with the definition of what it must find."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.search.feature_arrays import draw_features, write_index

from alexnet.search.autoencoder import EncoderOptions, train_encoder
from alexnet.search.codes import BinaryCodes, select_possible

METRICS = "euclidean", "cosine"


@pytest.fixture(scope="module")
def codes(tmp_path_factory):
    """Codes of 64 bits for 400 images, two of them equal, in shards of 150."""
    features = draw_features()
    features[301] = features[17]
    index = write_index(tmp_path_factory.mktemp("index"), features)
    encoder = train_encoder(torch.from_numpy(features), EncoderOptions(bits=64, steps=20))
    return BinaryCodes(index, encoder, encoder.encode(features), shortlist=40)


def measure(features, query, metric):
    """Distances of all features from a query, in float64."""
    x, q = features.astype(np.float64), query.astype(np.float64)
    if metric == "euclidean":
        return np.sqrt(((x - q) ** 2).sum(1))
    return 1 - x @ q / np.linalg.norm(x, axis=1) / np.linalg.norm(q)


@pytest.mark.parametrize("metric", METRICS)
def test_a_shortlist_of_all_images_gives_the_exact_result(codes, metric):
    features, queries = codes.index.gather(range(400)), draw_features(9, seed=1)
    indices, distances = replace(codes, metric=metric).search(queries, 12, shortlist=400)
    for row, query in enumerate(queries):
        expected = measure(features, query, metric)
        np.testing.assert_array_equal(indices[row], np.argsort(expected, kind="stable")[:12])
        np.testing.assert_allclose(distances[row], np.sort(expected)[:12], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_the_candidates_are_ordered_by_the_distance_of_their_features(codes, metric):
    queries = draw_features(9, seed=2)
    candidates, _ = codes.find_candidates(queries, 40)
    indices, distances = replace(codes, metric=metric).search(queries, 5)
    for row, query in enumerate(queries):
        expected = measure(codes.index.gather(candidates[row]), query, metric)
        best = candidates[row][np.argsort(expected)[:5]]
        np.testing.assert_array_equal(indices[row], best)
        np.testing.assert_allclose(distances[row], np.sort(expected)[:5], rtol=1e-5, atol=1e-6)


def test_equal_images_are_at_distance_zero_and_in_the_order_of_their_indices(codes):
    indices, distances = codes.search(codes.index.gather([301, 17]), 3)
    assert indices[:, :2].tolist() == [[17, 301], [17, 301]]
    assert distances[:, :2].tolist() == [[0, 0], [0, 0]]
    assert (distances[:, 2] > 0).all()


def test_tensors_and_arrays_may_be_queries(codes):
    queries = draw_features(3, seed=3)
    for one, other in zip(
        codes.search(torch.from_numpy(queries)), codes.search(queries), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("k", "found"), [(60, 60), (1000, 400)])
def test_as_many_images_are_found_as_were_asked_for_or_exist(codes, k, found):
    indices, distances = codes.search(draw_features(2, seed=4), k)
    assert indices.shape == distances.shape == (2, found)
    assert all(len(set(row)) == found for row in indices.tolist())


def test_impossible_queries_are_refused(codes):
    with pytest.raises(ValueError, match=r"\(N, 48\) for these codes, got \(1, 7\)"):
        codes.search(np.zeros((1, 7), np.float32))
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        codes.search(np.zeros((1, 48), np.float32), 0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        codes.search(np.full((1, 48), np.nan, np.float32))
    with pytest.raises(ValueError, match=r"range\(5, 401\) is no range .* below 400"):
        codes.search(np.zeros((1, 48), np.float32), within=range(5, 401))


def test_only_images_within_the_range_are_found(codes):
    queries, within = draw_features(5, seed=6), range(100, 160)
    indices, distances = codes.search(queries, 8, within, shortlist=60)
    features = codes.index.gather(within)
    for row, query in enumerate(queries):
        expected = measure(features, query, "euclidean")
        np.testing.assert_array_equal(indices[row], 100 + np.argsort(expected, kind="stable")[:8])
        np.testing.assert_allclose(distances[row], np.sort(expected)[:8], rtol=1e-6)


def test_near_duplicates_and_extreme_features_are_all_possible():
    random = np.random.default_rng(0)
    query = random.uniform(0, 30, 4096).astype(np.float32)
    offsets = random.permutation(np.linspace(1e-4, 2e-4, 50))[:, None]
    for scale in (1, 1e-30, 1e18):
        features = ((query + offsets * random.choice([-1, 1], (50, 4096))) * scale).astype("f4")
        scaled = (query * scale).astype(np.float32)
        possible = select_possible(features, scaled, 7)
        assert possible[np.argsort(measure(features, scaled, "euclidean"))[:7]].all()


def test_no_queries_have_no_neighbors(codes):
    indices, distances = codes.search(np.empty((0, 48), np.float32), 4)
    assert indices.shape == distances.shape == (0, 4)
