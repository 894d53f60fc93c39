"""Packs in ImageNet's form and a network of the large ones' layers, both small enough for tests."""

import dataclasses
import shlex

import pytest
import torch.nn.functional as F
from tests.conftest import CLASSES, pictures
from torch import nn

from alexnet import nets
from alexnet.cli import main
from alexnet.packing.pack import pack

SIDE, CROP = 72, 64
SMALL = f"--epochs 1 --crop {CROP} --batch-size 16 --device cpu"
INNER = "conv2", "low2", "conv3", "conv4", "conv5", "conv6"
PACKS = {
    "ilsvrc2010": "ilsvrc2010",
    "ilsvrc2012": "ilsvrc2012",
    "fall2009": "folder",
    "fall2011": "folder",
    "cifar10": "cifar10",
}


class Miniature(nn.Module):
    """The layers of the large networks by name, a thousandth of their size, every option taken."""

    def __init__(
        self,
        classes=3,
        size=CROP,
        dropout=0.0,
        *,
        towers=2,
        norm=True,
        overlap=True,
        without=(),
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4 * towers, 16, stride=16)
        for name in INNER:
            layer = nn.Conv2d(4 * towers, 4 * towers, 1)
            setattr(self, name, nn.Identity() if name in without else layer)
        self.fc6 = nn.Linear(4 * towers * (size // 16) ** 2, 8)
        self.fc7, self.linear8 = nn.Linear(8, 8), nn.Linear(8, 8)
        self.fc8 = nn.Linear(8, classes)

    def initialize(self, how):
        """Leave the weights as PyTorch draws them."""

    def forward(self, x, hook=lambda name, x: x):
        for name in ("conv1", *INNER):
            x = hook(name, F.relu(getattr(self, name)(x)))
        x = hook("fc6", F.relu(self.fc6(x.contiguous().flatten(1))))
        x = hook("fc7", F.relu(self.fc7(x)))
        return hook("fc8", self.fc8(self.linear8(x)))


@pytest.fixture
def miniatures(monkeypatch):
    """Every large network is the miniature, so that a training takes a tenth of a second."""
    large = {name for name, net in nets.NETS.items() if net.size == 224}
    small = nets.Net(Miniature, "for tests", CROP, 3)
    monkeypatch.setattr(
        nets, "NETS", {n: small if n in large else net for n, net in nets.NETS.items()}
    )


@pytest.fixture(scope="session")
def packs(tmp_path_factory):
    """A folder of packs, named as the commands of the claims name them."""
    folder = tmp_path_factory.mktemp("claims")
    for name, kind in PACKS.items():
        classes = ("coats", "hats", "ties") if kind == "folder" else CLASSES
        side = 32 if kind == "cifar10" else SIDE
        source = pictures(train=8, val=4, side=side, classes=classes)
        source = dataclasses.replace(source, kind=kind)
        pack(source, folder / f"{name}.pack", processes=1)
    return folder


@pytest.fixture
def folder(packs, tmp_path, monkeypatch):
    """An empty folder to be in, but for the packs."""
    for path in packs.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command):
    """The exit status of a command as it stands in the table."""
    with pytest.raises(SystemExit) as end:
        main(shlex.split(command)[1:])
    return end.value.code
