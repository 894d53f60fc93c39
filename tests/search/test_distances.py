"""Distances from direct differences, and the nearest of some candidates."""

import numpy as np
import pytest

from alexnet.search.distances import measure_distances, select_nearest


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_euclidean_distances_are_the_norms_of_the_differences(kind):
    chance = np.random.default_rng(0)
    x, q = chance.normal(size=(3000, 7)).astype(kind), chance.normal(size=7)
    expected = [np.linalg.norm(row.astype(np.float64) - q) for row in x]
    np.testing.assert_allclose(measure_distances(x, q), expected, rtol=1e-14)


def test_cosine_distances_are_one_minus_the_cosine():
    chance = np.random.default_rng(1)
    x, q = chance.normal(size=(50, 7)), chance.normal(size=7)
    cosines = x @ q / np.linalg.norm(x, axis=1) / np.linalg.norm(q)
    np.testing.assert_allclose(measure_distances(x, q, "cosine"), 1 - cosines, rtol=1e-12)


def test_distances_of_near_duplicates_do_not_cancel():
    q = np.full(4096, 16.0)  # a norm of 1024
    x = q + np.eye(2, 4096) * [[1e-3], [1e-6]]
    np.testing.assert_allclose(measure_distances(x, q), [1e-3, 1e-6], rtol=1e-8)
    # A step of ε across q turns it by the angle ε/‖q‖, and 1 − cos of that is half its square.
    across = np.zeros(4096)
    across[:2] = 1, -1
    distance = measure_distances((q + 1e-4 * across)[None], q, "cosine")
    np.testing.assert_allclose(distance, 0.5 * (1e-4 * np.sqrt(2) / 1024) ** 2, rtol=1e-6)


def test_zeros_have_no_direction_and_the_cosine_distance_1():
    x = np.array([[0.0, 0], [3, 4]])
    assert measure_distances(x, np.array([1.0, 0]), "cosine")[0] == 1
    assert measure_distances(x, np.zeros(2), "cosine").tolist() == [1, 1]


def test_no_rows_have_no_distances():
    assert measure_distances(np.empty((0, 3)), np.zeros(3)).shape == (0,)


def test_of_equal_distances_the_lower_index_comes_first():
    indices, distances = np.array([9, 4, 7, 1]), np.array([2.0, 1, 1, 3])
    nearest, least = select_nearest(indices, distances, 3)
    assert nearest.tolist() == [4, 7, 9]
    assert least.tolist() == [1, 1, 2]
