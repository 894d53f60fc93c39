"""A training that takes a second."""

import pytest

from alexnet.recipe import Recipe

QUICK = Recipe(
    network="cifar",
    initialization="variance",
    crop=28,
    dropout=0.3,
    epochs=3,
    batch_size=16,
    learning_rate=0.02,
    pixel_scale=1 / 64,
)


@pytest.fixture
def quick() -> Recipe:
    """Three epochs of ten steps, with every kind of chance in them."""
    return QUICK
