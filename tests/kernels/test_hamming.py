"""Search by Hamming distance: the kernels equal the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.kernels import references_only
from alexnet.kernels.hamming import operator
from alexnet.kernels.hamming.operator import find_nearest_codes
from alexnet.kernels.hamming.reference import measure_distances


def draw_codes(images: int, bits: int, seed: int = 0, differing: int = 8) -> np.ndarray:
    """Draw codes that differ from one code in few bits, so that many distances are equal."""
    random = np.random.default_rng(seed)
    changes = np.zeros((images, bits), bool)
    changes[:, :differing] = random.random((images, min(bits, differing))) < 0.5
    return np.packbits(changes ^ (random.random(bits) < 0.5), axis=1)


def test_a_distance_is_the_number_of_bits_that_differ():
    codes, query = draw_codes(50, 128, differing=100), draw_codes(1, 128, seed=1)[0]
    expected = (np.unpackbits(codes, axis=1) != np.unpackbits(query)).sum(1)
    words = measure_distances(codes.view(np.uint64), query.view(np.uint64))
    np.testing.assert_array_equal(words, expected)
    indices, distances = find_nearest_codes(codes, query[None], 50)
    np.testing.assert_array_equal(distances[0], np.sort(expected))
    np.testing.assert_array_equal(expected[indices[0]], distances[0])


@settings(max_examples=60, deadline=None)
@given(
    images=st.integers(0, 300),
    queries=st.integers(0, 5),
    bits=st.sampled_from([64, 128, 256, 320]),
    k=st.integers(1, 320),
    seed=st.integers(0, 100),
    block=st.sampled_from([1, 1 << 10, operator.BLOCK_BYTES]),
    threaded=st.booleans(),
)
def test_the_kernels_equal_the_reference(images, queries, bits, k, seed, block, threaded):
    codes, queries = draw_codes(images, bits, seed), draw_codes(queries, bits, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operator, "BLOCK_BYTES", block)
        patch.setattr(operator, "LEAST_WORDS", 0 if threaded else 1 << 40)
        found = find_nearest_codes(codes, queries, k)
    with references_only():
        expected = find_nearest_codes(codes, queries, k)
    for array, other in zip(found, expected, strict=True):
        assert array.dtype == other.dtype
        np.testing.assert_array_equal(array, other)


def test_codes_at_the_same_distance_keep_their_order():
    codes = np.zeros((100, 8), np.uint8)
    codes[::2, 0] = 1
    indices, distances = find_nearest_codes(codes, np.zeros((1, 8), np.uint8), 60)
    assert indices[0].tolist() == [*range(1, 100, 2), *range(0, 20, 2)]
    assert distances[0].tolist() == [0] * 50 + [1] * 10


def test_opposite_codes_have_the_largest_distance():
    codes = np.array([[0] * 32, [255] * 32], np.uint8)
    indices, distances = find_nearest_codes(codes, codes, 2)
    assert indices.tolist() == [[0, 1], [1, 0]]
    assert distances.tolist() == [[0, 256], [0, 256]]


@pytest.mark.parametrize(
    ("codes", "queries", "k", "message"),
    [
        (np.zeros((3, 8), np.int8), np.zeros((1, 8), np.uint8), 1, "codes must be uint8"),
        (np.zeros((3, 8), np.uint8), np.zeros(8, np.uint8), 1, "queries must be uint8"),
        (np.zeros((3, 9), np.uint8), np.zeros((1, 9), np.uint8), 1, "a multiple of 64"),
        (np.zeros((3, 8), np.uint8), np.zeros((1, 16), np.uint8), 1, "64 bits .* of 128 bits"),
        (np.zeros((3, 0), np.uint8), np.zeros((1, 0), np.uint8), 1, "codes of 0 bits"),
        (np.zeros((3, 8), np.uint8), np.zeros((1, 8), np.uint8), 0, "at least 1, got 0"),
    ],
)
def test_impossible_arguments_are_refused(codes, queries, k, message):
    with pytest.raises(ValueError, match=message):
        find_nearest_codes(codes, queries, k)
