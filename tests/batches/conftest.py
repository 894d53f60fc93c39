"""Small shards and a split of them."""

import numpy as np
import pytest

from alexnet.packs.pack import Split

RECORD = 2, 3, 3
"""The shape of a record."""


def make_shards(*counts):
    """Make shards of random records, with `counts` records each."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (count, *RECORD), np.uint8) for count in counts]


@pytest.fixture
def split(tmp_path):
    """A split of four shards of different sizes."""
    shards = make_shards(7, 10, 1, 5)
    for number, shard in enumerate(shards):
        with open(tmp_path / f"{number}.npy", "wb") as file:
            np.save(file, shard)
    return Split(tmp_path, RECORD, ("0.npy", "1.npy", "2.npy", "3.npy"), (7, 10, 1, 5), 3)
