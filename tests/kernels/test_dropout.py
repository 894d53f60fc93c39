"""The masks of dropout: Philox against its published words, the kernels against the formula."""

import math
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from alexnet.kernels import references_only
from alexnet.kernels.dropout.operator import (
    keep_mask,
    keep_mask_formula,
    kept_units,
    least_kept,
    philox,
)

# Random123's kat_vectors, "philox4x32 10": counter, key, words.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
DRAWS = [(0, 0), (2**63 - 1, 5), (1234567890123456789, 2**32 - 2), (1, 3 * 2**32 + 7)]
SHAPES = [(1, 1), (3, 4), (4, 7), (2, 2051), (0, 5), (5, 0)]

needs_numba = pytest.mark.skipif(
    find_spec("numba") is None, reason="calls the kernel itself, which Numba compiles"
)


def as_signed(key):
    """64 bits as the int64 that has them."""
    return int(np.uint64(key).astype(np.int64))


def drawing(key, first_row=0):
    return torch.tensor([key, first_row])


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_the_words_are_the_published_ones(counter, key, words):
    whole = torch.tensor(as_signed(key[0] | key[1] << 32))
    found = philox(tuple(torch.tensor([word]) for word in counter), whole)
    assert tuple(int(word) for word in found) == words


@pytest.mark.parametrize("layer", [0, 7])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("draw", DRAWS)
def test_the_cpu_keeps_what_the_formula_keeps(draw, shape, p, layer):
    found = keep_mask(drawing(*draw), *shape, layer=layer, p=p)
    with references_only():
        wanted = keep_mask(drawing(*draw), *shape, layer=layer, p=p)
    assert found.dtype == wanted.dtype == torch.bool
    assert found.shape == wanted.shape == shape
    assert torch.equal(found, wanted)
    assert torch.equal(keep_mask_formula(drawing(*draw), *shape, layer, least_kept(p)), wanted)
    assert wanted.all() if p == 0 else p < 1 or not wanted.any()


@pytest.mark.parametrize("p", [0.5, 0.2, 1e-3])
def test_the_share_kept_is_that_asked_for(p):
    mask = keep_mask(drawing(42), 256, 4096, layer=6, p=p)
    error = math.sqrt(p * (1 - p) / mask.numel())
    assert abs(mask.double().mean().item() - (1 - p)) < 4 * error


@needs_numba
def test_a_word_of_exactly_the_limit_is_kept():
    with references_only():
        word = int(philox(tuple(torch.tensor([c]) for c in (0, 6, 0, 0)), torch.tensor(1))[0])
    for least, kept in (word, True), (word + 1, False):
        assert kept_units(drawing(1), 1, 1, 6, least).item() == kept
        assert keep_mask_formula(drawing(1), 1, 1, 6, least).item() == kept
    assert (least_kept(0.5), least_kept(0.0), least_kept(1.0)) == (2**31, 0, 2**32)


@pytest.mark.parametrize("first_row", [0, 2**32 - 3])
def test_the_parts_of_a_batch_have_the_masks_of_the_whole(first_row):
    how = {"layer": 7, "p": 0.5}
    whole = keep_mask(drawing(9, first_row), 10, 33, **how)
    parts = [
        keep_mask(drawing(9, first_row + begin), rows, 33, **how)
        for begin, rows in ((0, 4), (4, 6))
    ]
    assert torch.equal(whole, torch.cat(parts))


def test_keys_layers_and_rows_have_masks_of_their_own():
    how = {"layer": 6, "p": 0.5}
    mask = keep_mask(drawing(1), 64, 1024, **how)
    others = [
        keep_mask(drawing(2), 64, 1024, **how),
        keep_mask(drawing(1 + 2**32), 64, 1024, **how),
        keep_mask(drawing(1), 64, 1024, layer=7, p=0.5),
        keep_mask(drawing(1, 1), 64, 1024, **how),
        mask.roll(1, 0),
        mask.roll(1, 1),
    ]
    for other in others:
        same = (mask == other).double().mean().item()
        assert same == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(mask.numel()))


@needs_numba
def test_pytorch_accepts_the_operator():
    torch.library.opcheck(kept_units, (drawing(3, 1), 4, 9, 6, 2**31))
