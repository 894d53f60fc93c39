"""The bounds on rounding hold, and are not so large that they say nothing."""

import numpy as np
import pytest
import torch

from alexnet.search.bounds import bound_product, bound_queries, bound_rows

SCALES = 1e-15, 1e-3, 1.0, 1e3, 1e12


def compute(x, q, metric):
    """Return the scores, their true values and the bounds of all pairs: float64 (Q, B)."""
    queries = bound_queries(torch.from_numpy(q), metric)
    exact_x, exact_q = torch.from_numpy(x).double(), torch.from_numpy(q).double()
    rows = bound_rows(exact_x.norm(dim=1), x.shape[1], metric)
    scores = rows.compute_scores(queries.matrix, torch.from_numpy(x)).double()
    products = exact_q @ exact_x.T
    if metric == "euclidean":
        true = exact_x.square().sum(1) - 2 * products
    else:
        lengths = exact_q.norm(dim=1)[:, None] * exact_x.norm(dim=1)
        true = -products / torch.where(lengths > 0, lengths, 1)
    return scores, true, queries.scale[:, None] * rows.weight + rows.rest


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("dimensions", [1, 5, 64, 4096])
def test_no_score_is_off_by_more_than_its_bound(metric, dimensions):
    chance = np.random.default_rng(dimensions)
    for _ in range(10):
        scales = chance.choice(SCALES, size=(40, 1))
        base = chance.normal(size=dimensions) * chance.choice([0, 1, 100])
        x = ((chance.normal(size=(40, dimensions)) + base) * scales).astype(np.float32)
        q = (x[chance.integers(0, 40, 9)] * chance.normal(1, 0.1, (9, dimensions))).astype("f4")
        scores, true, bound = compute(np.maximum(x, 0) if chance.random() < 0.5 else x, q, metric)
        assert bool(((scores - true).abs() <= bound).all())


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_bounds_are_below_a_thousandth_of_the_squared_norms(metric):
    chance = np.random.default_rng(0)
    x = np.maximum(chance.normal(size=(20, 4096)), 0).astype(np.float32)
    bound = compute(x, x[:5], metric)[2].numpy()
    squares = np.square(x.astype(np.float64)).sum(1) if metric == "euclidean" else 1.0
    assert float((bound / squares).max()) < 1e-3


def test_zeros_have_the_score_0_and_norms_near_overflow_an_infinite_bound():
    x = np.array([[0, 0], [1e20, 0], [3e38, 3e38], [1e-30, 0]], np.float32)
    q = np.array([[1, 2]], np.float32)
    for metric, infinite in ("euclidean", [0, 1, 1, 0]), ("cosine", [0, 1, 1, 1]):
        scores, _, bound = compute(x, q, metric)
        assert bound.isinf().int().tolist() == [infinite]
        assert float(scores[0, 0]) == 0
    assert compute(x, x, "euclidean")[2][2].isinf().all()


def test_a_sum_of_a_hundred_million_products_has_no_bound():
    assert bound_product(4096) == pytest.approx(4096 * 2**-24, rel=1e-3)
    assert bound_product(10**8) == float("inf")
