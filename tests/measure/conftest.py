"""A network that has been trained for a few seconds."""

import pytest

from alexnet.learn.train import train
from alexnet.recipe import Recipe

RECIPE = Recipe(
    network="cifar",
    initialization="variance",
    crop=28,
    dropout=0.0,
    epochs=4,
    batch_size=16,
    learning_rate=0.02,
    pixel_scale=1 / 64,
)


@pytest.fixture(scope="session")
def run(tiny_pack, tmp_path_factory):
    """The folder of a run on the tiny pack."""
    return train(tiny_pack, tmp_path_factory.mktemp("runs") / "run", RECIPE, device="cpu").run
