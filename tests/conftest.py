"""Pictures that a network tells apart in seconds; a pack of them, a recipe and a trained run."""

import dataclasses
import signal
from pathlib import Path

import numpy as np
import pytest

from alexnet.packing.pack import pack
from alexnet.packs.pack import Pack
from alexnet.recipes.recipe import Recipe
from alexnet.sources.entry import Entry, Source

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
"""Three epochs of ten steps on the pictures, with every kind of chance in them."""
TRAINED = dataclasses.replace(QUICK, dropout=0.0, epochs=4)
"""What the fixture `run` was trained with."""

# Under `nohup` SIGHUP, and in the background of a script SIGINT, is ignored by the tests and by the
# programs that they start and stop.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

CLASSES = "rings", "stripes", "spots"


def picture(label: int, number: int, side: int = 32) -> np.ndarray:
    """A noisy picture of one of the three classes: uint8 side side 3."""
    chance = np.random.default_rng([label, number])
    y, x = np.mgrid[:side, :side] - chance.uniform(side / 4, 3 * side / 4, 2)[:, None, None]
    shape = [np.hypot(x, y), x + y, np.maximum(abs(x), abs(y))][label]
    waves = 127 + 70 * np.sin(shape * chance.uniform(0.7, 1.2))
    noisy = waves[..., None] + chance.normal(0, 20, (side, side, 3))
    return noisy.clip(0, 255).astype(np.uint8)


def pictures(train: int = 50, val: int = 20, side: int = 32, classes=CLASSES) -> Source:
    """A source of such pictures, so many of each class."""

    def stream(split):
        for number in range({"train": train, "val": val}[split]):
            for label in range(3):
                place = number + 10_000 * (split == "val")
                name = f"{split}/{classes[label]}/{number}.png"
                yield Entry(split, name, label, picture(label, place, side))

    splits = ("train", "val") if val else ("train",)
    return Source("pictures", Path("pictures"), tuple(classes), None, splits, (), side, stream)


@pytest.fixture(scope="session")
def tiny_pack(tmp_path_factory) -> Pack:
    """150 training and 60 validation pictures of 32×32 pixels."""
    return pack(pictures(), tmp_path_factory.mktemp("packs") / "tiny.pack", processes=1)


@pytest.fixture
def quick() -> Recipe:
    """Three epochs of ten steps, with every kind of chance in them."""
    return QUICK


@pytest.fixture(scope="session")
def run(tiny_pack, tmp_path_factory) -> Path:
    """The folder of a run on the tiny pack, of a few seconds."""
    from alexnet.training.train import train

    return train(tiny_pack, tmp_path_factory.mktemp("runs") / "run", TRAINED, device="cpu").run
