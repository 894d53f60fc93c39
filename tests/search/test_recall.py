"""Recall, and the shortlist that it requires, against plain definitions."""

import numpy as np
import pytest
from tests.search.feature_arrays import draw_features, write_index

from alexnet.search import recall
from alexnet.search.autoencoder import Encoder, EncoderOptions, train_encoder
from alexnet.search.codes import BinaryCodes


@pytest.fixture(scope="module")
def codes(tmp_path_factory):
    """Codes of 64 bits for 400 images, in memory."""
    import torch

    index = write_index(tmp_path_factory.mktemp("index"), draw_features())
    features = torch.from_numpy(index.gather(range(400)))
    encoder = train_encoder(features, EncoderOptions(bits=64, steps=20))
    return BinaryCodes(index, encoder, encoder.encode(features), shortlist=30)


def test_the_rank_is_the_position_among_those_found():
    wanted, found = np.array([[5, 7], [1, 2]]), np.array([[7, 9, 5], [3, 4, 6]])
    assert recall.rank(wanted, found).tolist() == [[2, 0], [3, 3]]


def test_recall_is_the_share_of_the_nearest_that_are_among_the_first(monkeypatch):
    monkeypatch.setattr(recall, "MEASURED", (1, 2, 100))
    nearest, found = np.array([[5, 7], [1, 2]]), np.array([[7, 5], [1, 9]])
    assert recall.compute_recall(nearest, found) == {"1": 0.5, "2": 0.75}


def test_queries_are_a_tenth_of_the_images_and_depend_on_the_seed_only():
    queries = recall.draw_queries(400, 0)
    assert len(set(queries.tolist())) == 40
    np.testing.assert_array_equal(queries, recall.draw_queries(400, 0))
    assert queries.tolist() != recall.draw_queries(400, 1).tolist()
    assert len(recall.draw_queries(1_000_000, 0)) == recall.MOST_QUERIES


@pytest.mark.parametrize("method", ["exact", "codes", "reranked"])
def test_an_image_is_not_its_own_neighbor(codes, method):
    queries = np.arange(0, 400, 7)
    found = recall.exclude_queries(recall.list_methods(codes)[method], codes.index, queries, 20)
    assert found.shape == (len(queries), 20)
    assert not (found == queries[:, None]).any()


def test_a_query_that_is_not_found_among_equal_codes_costs_the_last_result(codes):
    def find_nothing_near(features, k):
        return np.tile(np.arange(100, 100 + k), (len(features), 1))

    found = recall.exclude_queries(find_nothing_near, codes.index, np.array([1, 102]), 4)
    assert found.tolist() == [[100, 101, 102, 103], [100, 101, 103, 104]]


@pytest.mark.parametrize("target", [0.5, 0.9, 1.0])
def test_the_shortlist_is_the_shortest_one_in_tens_that_reaches_the_target(codes, target):
    queries = np.arange(0, 400, 5)
    features = codes.index.gather(queries)
    near = np.argsort(np.linalg.norm(features[:, None] - codes.index.gather(range(400)), axis=2))
    near = near[near != queries[:, None]].reshape(len(queries), -1)[:, :10]
    bits = np.unpackbits(codes.codes, axis=1)
    order = np.argsort((bits[queries, None] != bits).sum(2), axis=1, kind="stable")
    order = order[order != queries[:, None]].reshape(len(queries), -1)

    def reached(length):
        pairs = zip(near, order[:, :length], strict=True)
        return np.mean([np.isin(wanted, found).mean() for wanted, found in pairs])

    length = recall.choose_shortlist(codes, queries, target)
    assert length % 10 == 0 or length == 399
    assert reached(length) >= target
    assert length == 10 or reached(length - 10) < target


def test_useless_codes_need_the_longest_shortlist(codes):
    import torch

    useless = Encoder(torch.zeros(64, 48), torch.zeros(64))
    features = codes.index.gather(range(400))
    equal = BinaryCodes(codes.index, useless, useless.encode(features), shortlist=1)
    assert recall.choose_shortlist(equal, np.arange(390, 400), 1.0) == 399


def test_exact_search_finds_everything_and_reranking_more_than_codes_alone(codes):
    exact, alone, reranked = recall.measure_methods(codes, np.arange(0, 400, 5))
    assert set(exact.recall.values()) == {1.0}
    assert exact.recall.keys() == {"1", "10", "100"}
    assert alone.recall["10"] < reranked.recall["10"] <= 1
    assert (exact.bytes_per_image, alone.bytes_per_image, reranked.bytes_per_image) == (192, 8, 8)
    assert all(score.queries_per_second > 0 for score in (exact, alone, reranked))
