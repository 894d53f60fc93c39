"""Records on their way to a device: every one arrives, at its place, however they are divided."""

import numpy as np
import pytest
import torch

from alexnet.batches import loaders as homes
from alexnet.batches.augment import Preprocessing
from alexnet.batches.batches import Batches
from alexnet.batches.loaders import Gatherers, Resident, choose_loader, fill
from alexnet.device import Machine
from alexnet.packs.pack import Split
from alexnet.recipes.recipe import Recipe

RECORD = 2, 3, 3
RECIPE = Recipe(crop=28, batch_size=32, color_noise=0.1)


def shards_of(*counts):
    """Shards of so many records of noise."""
    chance = np.random.default_rng(0)
    return [chance.integers(0, 256, (count, *RECORD), np.uint8) for count in counts]


@pytest.fixture
def split(tmp_path):
    """A split of four shards of different sizes."""
    shards = shards_of(7, 10, 1, 5)
    for number, shard in enumerate(shards):
        with open(tmp_path / f"{number}.npy", "wb") as file:
            np.save(file, shard)
    return Split(tmp_path, RECORD, ("0.npy", "1.npy", "2.npy", "3.npy"), (7, 10, 1, 5), 3)


@pytest.mark.parametrize("counts", [(7, 10, 1, 5), (4,), (8, 8), (1, 1, 1, 1), (0, 3), ()])
@pytest.mark.parametrize("block_records", [1, 3, 4, 8, 1000])
def test_the_shards_arrive_whole_however_they_are_divided(counts, block_records):
    shards = shards_of(*counts)
    records = torch.full((sum(counts), *RECORD), 99, dtype=torch.uint8)
    fill(records, iter(shards), block_bytes=block_records * 18 + 17)
    assert np.array_equal(records.numpy(), np.concatenate([*shards, np.empty((0, *RECORD))]))


def test_no_more_of_the_shards_is_held_than_two_blocks(monkeypatch):
    made, empty = [], torch.empty
    monkeypatch.setattr(
        homes.torch, "empty", lambda *args, **how: made.append(empty(*args, **how)) or made[-1]
    )
    fill(torch.zeros((100, *RECORD), dtype=torch.uint8), shards_of(60, 40), block_bytes=18 * 8)
    assert [x.nbytes for x in made] == [18 * 8] * 2


def test_a_buffer_is_written_again_only_when_its_block_has_crossed(monkeypatch):
    """A copy that happens as late as it may: when somebody waits for it."""

    def late(self, target, source):
        return lambda: target.copy_(source)

    monkeypatch.setattr(homes.Crossing, "copy", late)
    shards = shards_of(7, 10, 1, 5)
    records = torch.zeros((23, *RECORD), dtype=torch.uint8)
    fill(records, shards, block_bytes=18 * 3)
    assert np.array_equal(records.numpy(), np.concatenate(shards))


def test_a_shard_that_cannot_be_read_stops_the_filling():
    class Gone(np.ndarray):
        def __array_function__(self, function, *_):
            raise OSError("the disk is gone")

    shards = [*shards_of(3), np.zeros((3, *RECORD), np.uint8).view(Gone)]
    with pytest.raises(OSError, match="the disk is gone"):
        fill(torch.zeros((6, *RECORD), dtype=torch.uint8), shards, block_bytes=18 * 2)


@pytest.mark.parametrize("threads", [1, 2, 3, 8, 40])
def test_several_threads_gather_what_one_gathers(threads, split):
    members = np.random.default_rng(1).permutation(23)[:17]
    out = np.zeros((17, *RECORD), np.uint8)
    Gatherers(threads).gather(split, members, out)
    assert np.array_equal(out, split.gather(members))
    Gatherers(threads).gather(split, members[:0], out[:0])


def test_an_error_of_a_gathering_thread_is_raised(split):
    with pytest.raises(IndexError, match=r"indices from 23 to 23 .* of 23 images"):
        Gatherers(3).gather(split, np.array([0, 1, 23]), np.zeros((3, *RECORD), np.uint8))


def test_resident_records_give_the_batches_of_the_host(tiny_pack):
    split, how = tiny_pack.splits["train"], Preprocessing.of(tiny_pack, RECIPE)
    machine = Machine(torch.device("cpu"))
    host, resident = (Batches(split, how, RECIPE, machine) for _ in range(2))
    resident.loader = Resident(split, how, RECIPE.batch_size, machine)
    for mine, theirs in zip(resident.epoch(1), host.epoch(1), strict=True):
        assert torch.equal(mine.images, theirs.images)
        assert torch.equal(mine.labels, theirs.labels)


@pytest.mark.parametrize(
    ("resident", "free", "room", "home"),
    [
        ("auto", 1000, 585, "Resident"),
        ("auto", 1000, 586, "Streamed"),
        ("auto", 414, 0, "Streamed"),
        ("yes", 415, 1 << 40, "Resident"),
        ("no", 1 << 40, 0, "Streamed"),
    ],
)
def test_records_live_on_a_gpu_where_training_fits_beside_them(
    resident, free, room, home, split, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 1 << 40))
    for name in "Resident", "Streamed":
        monkeypatch.setattr(homes, name, lambda *_, name=name: name)
    machine = Machine(torch.device("cuda:0"), resident=resident)
    assert choose_loader(split, None, 4, machine, room) == home


def test_records_that_must_be_on_a_gpu_and_do_not_fit_are_refused(split, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (400, 1 << 40))
    machine = Machine(torch.device("cuda:0"), resident="yes")
    with pytest.raises(MemoryError, match=r"of 23 training images .* Leave --resident yes out"):
        choose_loader(split, None, 4, machine)
