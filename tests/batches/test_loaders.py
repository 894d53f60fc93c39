"""The loaders give the same batches; the fastest one that fits is chosen."""

import pytest
import torch

from alexnet.batches import loaders
from alexnet.batches.epochs import Batches
from alexnet.batches.loaders import ResidentLoader, choose_loader
from alexnet.batches.preprocessing import Preprocessing
from alexnet.device import Machine
from alexnet.recipes.recipe import Recipe

RECIPE = Recipe(crop=28, batch_size=32, color_noise=0.1)


def test_the_resident_loader_gives_the_batches_of_the_host_loader(tiny_pack):
    split, preprocessing = tiny_pack.splits["train"], Preprocessing.of(tiny_pack, RECIPE)
    machine = Machine(torch.device("cpu"))
    host, resident = (Batches(split, preprocessing, RECIPE, machine) for _ in range(2))
    resident.loader = ResidentLoader(split, preprocessing, RECIPE.batch_size, machine)
    for one, other in zip(resident.epoch(1), host.epoch(1), strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize(
    ("resident", "free", "reserved_bytes", "loader"),
    [
        ("auto", 1000, 585, "ResidentLoader"),
        ("auto", 1000, 586, "StreamingLoader"),
        ("auto", 414, 0, "StreamingLoader"),
        ("yes", 415, 1 << 40, "ResidentLoader"),
        ("no", 1 << 40, 0, "StreamingLoader"),
    ],
)
def test_records_are_resident_if_training_fits_next_to_them(
    resident, free, reserved_bytes, loader, split, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 1 << 40))
    for name in "ResidentLoader", "StreamingLoader":
        monkeypatch.setattr(loaders, name, lambda *_, name=name: name)
    machine = Machine(torch.device("cuda:0"), resident=resident)
    assert choose_loader(split, None, 4, machine, reserved_bytes) == loader


def test_resident_records_that_do_not_fit_are_refused(split, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (400, 1 << 40))
    machine = Machine(torch.device("cuda:0"), resident="yes")
    with pytest.raises(MemoryError, match=r"of 23 training images .* Leave --resident yes out"):
        choose_loader(split, None, 4, machine)
