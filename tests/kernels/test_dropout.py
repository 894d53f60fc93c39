"""The masks of dropout: Philox against its published words, the kernels against the reference."""

import math
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from alexnet.kernels import references_only
from alexnet.kernels.dropout.operator import draw_keep_mask, keep_mask
from alexnet.kernels.dropout.reference import (
    compute_keep_threshold,
    keep_mask_reference,
    philox,
)

# From Random123's file kat_vectors, lines "philox4x32 10": counter, key, words.
PUBLISHED = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
# Keys and first rows; the last two cross or lie beyond 2³², where the row takes a second word.
KEYS_AND_ROWS = [(0, 0), (2**63 - 1, 5), (1234567890123456789, 2**32 - 2), (1, 3 * 2**32 + 7)]
SHAPES = [(1, 1), (3, 4), (4, 7), (2, 2051), (0, 5), (5, 0)]

needs_numba = pytest.mark.skipif(
    find_spec("numba") is None, reason="calls the kernel itself, which Numba compiles"
)


def key_and_row(key, first_row=0):
    return torch.tensor([key, first_row])


@pytest.mark.parametrize(("counter", "key", "words"), PUBLISHED)
def test_philox_gives_the_published_words(counter, key, words):
    bits = np.uint64(key[0] | key[1] << 32)
    key = torch.tensor(int(bits.astype(np.int64)))  # the same 64 bits, signed
    result = philox(tuple(torch.tensor([word]) for word in counter), key)
    assert tuple(int(word) for word in result) == words


@pytest.mark.parametrize("layer", [0, 7])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("start", KEYS_AND_ROWS)
def test_the_cpu_kernel_equals_the_reference(start, shape, p, layer):
    mask = keep_mask(key_and_row(*start), *shape, layer=layer, p=p)
    with references_only():
        expected = keep_mask(key_and_row(*start), *shape, layer=layer, p=p)
    assert mask.dtype == expected.dtype == torch.bool
    assert mask.shape == expected.shape == shape
    assert torch.equal(mask, expected)
    threshold = compute_keep_threshold(p)
    assert torch.equal(keep_mask_reference(key_and_row(*start), *shape, layer, threshold), expected)
    assert expected.all() if p == 0 else p < 1 or not expected.any()


@pytest.mark.parametrize("p", [0.5, 0.2, 1e-3])
def test_the_share_of_units_kept_is_1_minus_p(p):
    mask = keep_mask(key_and_row(42), 256, 4096, layer=6, p=p)
    deviation = math.sqrt(p * (1 - p) / mask.numel())
    assert abs(mask.double().mean().item() - (1 - p)) < 4 * deviation


@needs_numba
def test_a_word_equal_to_the_threshold_keeps_its_unit():
    counter = tuple(torch.tensor([c]) for c in (0, 6, 0, 0))
    word = int(philox(counter, torch.tensor(1))[0])
    for threshold, kept in (word, True), (word + 1, False):
        assert draw_keep_mask(key_and_row(1), 1, 1, 6, threshold).item() == kept
        assert keep_mask_reference(key_and_row(1), 1, 1, 6, threshold).item() == kept


def test_thresholds_of_the_extreme_probabilities():
    assert [compute_keep_threshold(p) for p in (0.5, 0.0, 1.0)] == [2**31, 0, 2**32]


@pytest.mark.parametrize("first_row", [0, 2**32 - 3])
def test_the_parts_of_a_batch_have_the_masks_of_the_whole(first_row):
    whole = keep_mask(key_and_row(9, first_row), 10, 33, layer=7, p=0.5)
    parts = [
        keep_mask(key_and_row(9, first_row + start), rows, 33, layer=7, p=0.5)
        for start, rows in ((0, 4), (4, 6))
    ]
    assert torch.equal(whole, torch.cat(parts))


def test_masks_of_other_keys_layers_rows_and_units_are_independent():
    settings = {"layer": 6, "p": 0.5}
    mask = keep_mask(key_and_row(1), 64, 1024, **settings)
    others = [
        keep_mask(key_and_row(2), 64, 1024, **settings),
        keep_mask(key_and_row(1 + 2**32), 64, 1024, **settings),
        keep_mask(key_and_row(1), 64, 1024, layer=7, p=0.5),
        keep_mask(key_and_row(1, 1), 64, 1024, **settings),
        mask.roll(1, 0),
        mask.roll(1, 1),
    ]
    for other in others:
        share_equal = (mask == other).double().mean().item()
        assert share_equal == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(mask.numel()))


@needs_numba
def test_the_operator_passes_opcheck():
    torch.library.opcheck(draw_keep_mask, (key_and_row(3, 1), 4, 9, 6, 2**31))
