"""Sums over a fixed tree, and updates of a chunk, have the bits of one process."""

import pytest
import torch

from alexnet.parallel.chunks import ALIGNMENT, Chunks, PairwiseSum, Row
from alexnet.parallel.exchange import sum_pairwise
from alexnet.processes import World
from alexnet.training.loop import new_network
from alexnet.training.replicas import ChunkedSGD
from alexnet.training.sgd import SGD
from tests.conftest import QUICK


def draw_gradients(network, seed):
    torch.manual_seed(seed)
    return {name: torch.randn_like(p) for name, p in network.named_parameters()}


@pytest.mark.parametrize("n", [1, 2, 8])
def test_sums_one_after_the_other_have_the_bits_of_the_tree(n):
    terms = [torch.randn(100, dtype=torch.float32) for _ in range(n)]
    total = PairwiseSum()
    for term in terms:
        total.add([term.clone()])
    assert torch.equal(total.take()[0], sum_pairwise(terms))


@pytest.mark.parametrize("size", [1, 2, 4])
def test_every_element_belongs_to_one_process_and_parts_begin_at_multiples_of_64(size):
    network = new_network(QUICK, 3).to(memory_format=torch.channels_last)
    row = Row(dict(network.named_parameters()), size)
    for name, p in network.named_parameters():
        parts = [row.find_own(name, rank) for rank in range(size)]
        assert sum(part.stop - part.start for part in parts) == p.numel()
        assert all(part.start % ALIGNMENT == 0 for part in parts if part.start < part.stop)


def test_a_row_has_the_numbers_of_a_tensor_in_its_memory_layout():
    x = torch.randn(5, 3, 4, 4).to(memory_format=torch.channels_last)
    row = Row({"x": x, "y": torch.zeros(3)}, 2)
    memory = torch.zeros(row.length)
    row.view(memory, "x").copy_(x)
    assert torch.equal(memory[: x.numel()], x.permute(0, 2, 3, 1).flatten())


class OneOfTwo(World):
    """Rank 0 or 1 of a world in which the other one has no gradients."""

    def exchange_chunks(self, row, out):
        terms = [torch.zeros_like(row.view(2, -1)[0])] * 2
        terms[self.rank] = row.view(2, -1)[self.rank]
        return torch.stack(terms)

    def all_gather(self, tensor):
        return [tensor.clone()] * self.size


@pytest.mark.parametrize("rank", [0, 1])
def test_the_fused_update_of_a_chunk_has_the_bits_of_the_whole_update(rank):
    whole, cut = (new_network(QUICK, 3).to(memory_format=torch.channels_last) for _ in range(2))
    sgd = SGD(whole, QUICK)
    chunked = ChunkedSGD(cut, QUICK, OneOfTwo(rank=rank, size=2))
    chunked.chunks.share_weights = lambda: None
    for step in range(3):
        gradients = draw_gradients(whole, step)
        for name, p in whole.named_parameters():
            p.grad = gradients[name].clone(memory_format=torch.preserve_format)
        sgd.step(torch.ones(()), 0.01)
        chunked.sum_gradients(gradients)
        chunked.step(torch.ones(()), 0.01)
    wanted = Chunks(dict(whole.named_parameters()), OneOfTwo(rank=rank, size=2)).own
    assert wanted.keys() == chunked.own.keys()
    assert all(torch.equal(wanted[name], part) for name, part in chunked.own.items())
