"""Two towers in two processes equal two towers in one, and the whole network."""

import pytest
import torch
import torch.nn.functional as F

from alexnet import nets
from alexnet.nets.layers import set_key
from alexnet.parallel.exchange import Parts
from alexnet.parallel.parts import join_parameters
from alexnet.parallel.towers import Towers
from tests.parallel.worlds import Alone, run_in_processes

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
    """The logits and the joined gradients of the first step, and the weights and logits at the end."""
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
    towers = train_towers(Alone(), torch.float64, 3, None, variations)
    torch.testing.assert_close(towers[0], whole[0], rtol=1e-10, atol=1e-10)
    assert_close(towers[1], whole[1])
    assert_close(towers[2], whole[2])
