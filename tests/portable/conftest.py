"""A network that has been trained for a few seconds; no tests where its libraries are missing."""

import pytest

from alexnet.learn.train import train
from alexnet.recipe import Recipe

LIBRARIES = "onnx", "onnxruntime", "openvino", "nncf"
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


@pytest.fixture(scope="session", autouse=True)
def libraries():
    """Skip where the `export` extra is not installed."""
    from alexnet.portable.libraries import library

    for name in LIBRARIES:
        try:
            library(name)
        except RuntimeError as error:
            pytest.skip(str(error))


@pytest.fixture(scope="session")
def run(tiny_pack, tmp_path_factory):
    """The folder of a run on the tiny pack."""
    return train(tiny_pack, tmp_path_factory.mktemp("runs") / "run", RECIPE, device="cpu").run
