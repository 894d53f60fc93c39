"""Records on their way to the device: each arrives at its index, however they are divided."""

import numpy as np
import pytest
import torch
from tests.batches.conftest import RECORD, make_shards

from alexnet.batches import transfer
from alexnet.batches.transfer import GatherThreads, fill_from_shards, prefetch


@pytest.mark.parametrize("counts", [(7, 10, 1, 5), (4,), (8, 8), (1, 1, 1, 1), (0, 3), ()])
@pytest.mark.parametrize("block_records", [1, 3, 4, 8, 1000])
def test_all_records_arrive_for_every_block_size(counts, block_records):
    shards = make_shards(*counts)
    records = torch.full((sum(counts), *RECORD), 99, dtype=torch.uint8)
    fill_from_shards(records, iter(shards), block_bytes=block_records * 18 + 17)
    assert np.array_equal(records.numpy(), np.concatenate([*shards, np.empty((0, *RECORD))]))


def test_the_host_holds_two_blocks_of_the_shards_at_most(monkeypatch):
    made, empty = [], torch.empty
    monkeypatch.setattr(
        transfer.torch,
        "empty",
        lambda *args, **options: made.append(empty(*args, **options)) or made[-1],
    )
    fill_from_shards(
        torch.zeros((100, *RECORD), dtype=torch.uint8), make_shards(60, 40), block_bytes=18 * 8
    )
    assert [x.nbytes for x in made] == [18 * 8] * 2


def test_a_buffer_is_overwritten_only_after_its_block_has_been_copied(monkeypatch):
    """With a copy that happens as late as possible: when somebody waits for it."""

    def late(self, target, source):
        return lambda: target.copy_(source)

    monkeypatch.setattr(transfer.CopyStream, "copy", late)
    shards = make_shards(7, 10, 1, 5)
    records = torch.zeros((23, *RECORD), dtype=torch.uint8)
    fill_from_shards(records, shards, block_bytes=18 * 3)
    assert np.array_equal(records.numpy(), np.concatenate(shards))


def test_an_error_while_a_shard_is_read_is_raised():
    class Gone(np.ndarray):
        def __array_function__(self, function, *_):
            raise OSError("the disk is gone")

    shards = [*make_shards(3), np.zeros((3, *RECORD), np.uint8).view(Gone)]
    with pytest.raises(OSError, match="the disk is gone"):
        fill_from_shards(torch.zeros((6, *RECORD), dtype=torch.uint8), shards, block_bytes=18 * 2)


@pytest.mark.parametrize("threads", [1, 2, 3, 8, 40])
def test_several_threads_gather_the_same_records_as_one(threads, split):
    indices = np.random.default_rng(1).permutation(23)[:17]
    out = np.zeros((17, *RECORD), np.uint8)
    GatherThreads(threads).gather(split, indices, out)
    assert np.array_equal(out, split.gather(indices))
    GatherThreads(threads).gather(split, indices[:0], out[:0])


def test_an_error_in_a_gathering_thread_is_raised(split):
    with pytest.raises(IndexError, match="23 to 23"):
        GatherThreads(3).gather(split, np.array([0, 1, 23]), np.zeros((3, *RECORD), np.uint8))


def test_an_error_in_the_background_reaches_the_foreground():
    def make(step):
        if step == 2:
            raise OSError("the disk is gone")
        return step

    found = []
    with pytest.raises(OSError, match="the disk is gone"):
        found.extend(step for step, _ in prefetch(map(make, range(5))))
    assert list(prefetch(map(make, range(0)))) == []


def test_prefetch_yields_every_item_in_order():
    assert [item for item, _ in prefetch(iter(range(20)))] == list(range(20))
