"""Two towers in two processes equal two towers in one, and the whole network."""

import pytest
import torch
import torch.nn.functional as F
from tests.parallel.worlds import run_in_processes, run_with_one_thread

from alexnet import nets
from alexnet.nets.layers import set_key
from alexnet.parallel.exchange import Parts
from alexnet.parallel.parts import join_parameters
from alexnet.parallel.towers import Towers
from alexnet.processes import ALONE, World

SIDE, CLASSES, IMAGES = 63, 5, 3


def make_network(dtype, initialization="variance", **variations):
    torch.manual_seed(0)
    network = nets.build("alexnet", CLASSES, SIDE, **variations)
    network.initialize(initialization)
    return network.to(dtype).to(memory_format=torch.channels_last)


def draw_batch(step, dtype):
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(IMAGES, 3, SIDE, SIDE, generator=generator).to(dtype)
    labels = torch.randint(CLASSES, (IMAGES,), generator=generator)
    return images.contiguous(memory_format=torch.channels_last), labels


def take_step(network, step, dtype, rate=1e-3):
    """One step of SGD; the logits and the gradients, which are then applied."""
    images, labels = draw_batch(step, dtype)
    set_key(network, 1000 + step)
    logits = network(images)
    network.zero_grad()
    F.cross_entropy(logits.float() if dtype != torch.float64 else logits, labels).backward()
    gradients = {name: p.grad.clone() for name, p in network.named_parameters()}
    with torch.no_grad():
        for p in network.parameters():
            p -= rate * p.grad
    return logits.detach(), gradients


def train_towers(world, dtype, steps, wire=None, variations=()):
    """The first logits and whole gradients, then the weights and logits at the end."""
    network = Towers(make_network(dtype, **dict(variations)), world, wire)
    logits, gradients = take_step(network, 0, dtype)
    for step in range(1, steps):
        last, _ = take_step(network, step, dtype)
    own = {name: p.detach() for name, p in network.named_parameters()}
    joined = (join_parameters(x, network.cuts, network.parts) for x in (gradients, own))
    return logits, *joined, last


def train_whole(dtype, steps, variations=()):
    network = make_network(dtype, **dict(variations))
    logits, gradients = take_step(network, 0, dtype)
    for step in range(1, steps):
        last, _ = take_step(network, step, dtype)
    return logits, gradients, dict(network.named_parameters()), last


def assert_close(found, wanted, tolerance=1e-10):
    assert found.keys() == wanted.keys()
    for name, x in wanted.items():
        scale = x.abs().max()
        assert (found[name] - x).abs().max() <= tolerance * scale, name


@pytest.mark.parametrize("variations", [(), (("unit", "tanh"), ("overlap", False))])
def test_towers_have_the_outputs_and_gradients_of_the_whole_network(variations):
    whole = train_whole(torch.float64, 3, variations)
    towers = train_towers(ALONE, torch.float64, 3, None, variations)
    torch.testing.assert_close(towers[0], whole[0], rtol=1e-10, atol=1e-10)
    assert_close(towers[1], whole[1])
    assert_close(towers[2], whole[2])


@pytest.mark.parametrize("wire", [None, torch.bfloat16])
def test_two_processes_have_the_same_bits_as_one(tmp_path, wire):
    alone = run_with_one_thread(train_towers, ALONE, torch.float32, 4, wire)
    first, second = run_in_processes(2, train_towers, tmp_path, torch.float32, 4, wire)
    assert torch.equal(first[0], alone[0])
    assert torch.equal(first[3], alone[3])
    assert torch.equal(second[3], alone[3])
    for found, wanted in zip(first[1:3], alone[1:3], strict=True):
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], x) for name, x in wanted.items())
    assert second[1] == second[2] == {}


def test_two_processes_stay_equal_to_the_whole_network_for_20_steps(tmp_path):
    whole = train_whole(torch.float64, 20)
    towers, _ = run_in_processes(2, train_towers, tmp_path, torch.float64, 20)
    torch.testing.assert_close(towers[3], whole[3], rtol=1e-9, atol=1e-9)
    assert_close(towers[2], whole[2])


def test_exchange_in_bf16_rounds_what_is_exchanged_only():
    exact = train_towers(ALONE, torch.float32, 2)
    rounded = train_towers(ALONE, torch.float32, 2, torch.bfloat16)
    assert not torch.equal(exact[0], rounded[0])
    torch.testing.assert_close(exact[0], rounded[0], rtol=0.05, atol=0.05)


def test_the_masks_of_two_towers_are_the_halves_of_the_whole_mask():
    whole = make_network(torch.float32).train()
    towers = Towers(whole, ALONE).train()
    set_key(whole, 7, first_row=5)
    set_key(towers, 7, first_row=5)
    halves = towers.dropout7([torch.ones(3, 2048)] * 2)
    assert torch.equal(torch.cat(halves, 1), whole.dropout7(torch.ones(3, 4096)))


@pytest.mark.parametrize(
    ("name", "variations", "message"),
    [
        ("original-145", {}, "Net145 cannot be spread .* The network `alexnet` can be"),
        ("alexnet", {"towers": 1}, "no second tower"),
        ("alexnet", {"without": ("conv3",)}, "layers are left out"),
    ],
)
def test_networks_that_are_not_two_towers_are_refused(name, variations, message):
    with pytest.raises(ValueError, match=message):
        Towers(nets.build(name, CLASSES, SIDE, **variations), ALONE)


def test_three_processes_cannot_share_two_towers():
    three = World(size=3)
    with pytest.raises(ValueError, match=r"3 processes cannot share .* in 2 parts: start 1 or 2"):
        Parts(2, three)
