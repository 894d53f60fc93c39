"""Replicas with shards equal a loop over slices in one process, and have its bits on any number."""

import pytest
import torch
import torch.nn.functional as F
from tests.parallel.worlds import run_in_processes, run_with_one_thread

from alexnet import nets
from alexnet.nets.layers import set_key
from alexnet.parallel.exchange import cut_rows
from alexnet.parallel.hybrid import Hybrid, Passes, compute_gradients
from alexnet.parallel.parts import join_parameters
from alexnet.processes import ALONE

SIDE, CLASSES, IMAGES, SLICES = 63, 5, 7, 4
RATE = 1e-3


def make_network(dtype):
    torch.manual_seed(0)
    network = nets.build("alexnet", CLASSES, SIDE)
    network.initialize("variance")
    return network.to(dtype).to(memory_format=torch.channels_last)


def draw_batch(step, dtype, n_images=IMAGES):
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(n_images, 3, SIDE, SIDE, generator=generator).to(dtype)
    labels = torch.randint(CLASSES, (n_images,), generator=generator)
    return images.contiguous(memory_format=torch.channels_last), labels


@torch.no_grad()
def update(parameters):
    for p in parameters:
        if p.grad is not None:
            p -= RATE * p.grad
            p.grad = None


def train_hybrid(world, dtype, steps, period, sizes=(IMAGES,), note=lambda: None):
    network = Hybrid(make_network(dtype), world, SLICES)
    shards = [p for name, p in network.named_parameters() if name.startswith("fc")]
    losses = []
    for step in range(steps):
        n_images = sizes[step % len(sizes)]
        images, labels = draw_batch(step, dtype, n_images)
        rows = cut_rows(n_images, SLICES)
        own = [slice(rows[i].start, rows[i].stop) for i in network.parts.own]
        passes = Passes(n_images, rows, period, 1000 + step)
        losses.append(
            compute_gradients(
                network,
                [images[i] for i in own],
                [labels[i] for i in own],
                passes,
                lambda loss: update(shards),
            )
        )
        update(network.parameters())
        note()
    parameters = dict(network.named_parameters())
    logits = network.eval()(draw_batch(99, dtype)[0]).detach()
    return torch.stack(losses), join_parameters(parameters, network.cuts, network.parts), logits


def train_serially(dtype, steps, period):
    """Whole layers in one process, a slice at a time, as the system of 2014 is described."""
    network = make_network(dtype)
    named = dict(network.named_parameters())
    convolutions = [p for name, p in named.items() if name.startswith("conv")]
    connected = [p for name, p in named.items() if name.startswith("fc")]
    losses = []
    for step in range(steps):
        images, labels = draw_batch(step, dtype)
        sums, total = [torch.zeros_like(p) for p in convolutions], 0.0
        rows = cut_rows(IMAGES, SLICES)
        for first in range(0, SLICES, period):
            group = rows[first : first + period]
            for part in group:
                chosen = slice(part.start, part.stop)
                set_key(network, 1000 + step, part.start)
                loss = F.cross_entropy(network(images[chosen]), labels[chosen], reduction="sum")
                gradients = torch.autograd.grad(loss, [*convolutions, *connected])
                total += loss.detach() / IMAGES
                for s, gradient in zip(sums, gradients, strict=False):
                    s += gradient / IMAGES
                for p, gradient in zip(connected, gradients[len(sums) :], strict=True):
                    share = gradient / sum(map(len, group))
                    p.grad = share if p.grad is None else p.grad + share
            update(connected)
        for p, s in zip(convolutions, sums, strict=True):
            p.grad = s
        update(convolutions)
        losses.append(total)
    return torch.stack(losses), {k: p.detach() for k, p in named.items()}


@pytest.mark.parametrize("period", [1, 2, SLICES])
def test_hybrid_equals_its_serial_reference(period):
    losses, weights, _ = train_hybrid(ALONE, torch.float64, 3, period)
    wanted, whole = train_serially(torch.float64, 3, period)
    torch.testing.assert_close(losses, wanted, rtol=1e-10, atol=0)
    assert weights.keys() == whole.keys()
    for name, x in whole.items():
        torch.testing.assert_close(weights[name], x, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("size", "period"), [(2, 1), (2, SLICES), (4, 1), (4, SLICES)])
def test_hybrid_has_the_same_bits_on_any_number_of_processes(tmp_path, size, period):
    arguments = torch.float32, 3, period, (IMAGES, 3)  # one of the slices of 3 images is empty
    losses, weights, logits = run_with_one_thread(train_hybrid, ALONE, *arguments)
    for rank, found in enumerate(run_in_processes(size, train_hybrid, tmp_path, *arguments)):
        assert torch.equal(found[0], losses)
        assert torch.equal(found[2], logits)
        assert found[1].keys() == (set() if rank else weights.keys())
        assert all(torch.equal(found[1][name], weights[name]) for name in found[1])


@pytest.mark.parametrize(
    ("name", "variations", "message"),
    [
        ("torchvision", {}, "TorchvisionAlexNet cannot be cut .* The network `alexnet` can be"),
        ("alexnet", {"without": ("fc7",)}, "without one of fc6, fc7, fc8 cannot be cut"),
    ],
)
def test_networks_whose_layers_cannot_be_cut_are_refused(name, variations, message):
    with pytest.raises(ValueError, match=message):
        Hybrid(nets.build(name, CLASSES, SIDE, **variations), ALONE, SLICES)


def test_a_number_of_shards_that_is_no_power_of_two_is_refused():
    with pytest.raises(ValueError, match="6 parts: the number has to be a power of two"):
        Hybrid(nets.build("alexnet", CLASSES, SIDE), ALONE, 6)
