"""Forward and backward of one batch: launched one by one, or all at once as a CUDA graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.device import Machine
from alexnet.nets.layers import Dropout, find_dropouts

WARMUP = 3


class TrainingStep:
    """Loss and gradients of a batch: images N 3 H W, labels N → loss; gradients in the network.

    Weights and gradients are float32 whatever the precision: bf16 is autocast (arXiv 1710.03740,
    without loss scaling, which bf16 does not need); tf32 rounds the inputs of products.
    """

    def __init__(self, network: nn.Module, machine: Machine) -> None:
        self.network, self.machine = network, machine
        self.forward = torch.compile(network) if machine.compiled else network

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Run one batch and return its detached mean loss."""
        with self.machine.cast():
            loss = F.cross_entropy(self.forward(images).float(), labels)
        loss.backward()
        return loss.detach()


class GraphedStep(TrainingStep):
    """The same, recorded once as a CUDA graph and replayed: one launch instead of a hundred.

    Batches of another size than the recorded one (the last of an epoch) run launch by launch.
    Gradients live in the graph's memory, and are the network's again after every replay. Dropout
    reads its key from a tensor that is written before a replay (`layers.set_key`).
    """

    def __init__(self, network: nn.Module, machine: Machine, shape: tuple[int, ...]) -> None:
        super().__init__(network, machine)
        self.dropouts = find_dropouts(network)
        images = torch.zeros(shape, dtype=machine.dtype, device=machine.device)
        self.images = images.contiguous(memory_format=torch.channels_last)
        self.labels = torch.zeros(shape[0], dtype=torch.int64, device=machine.device)
        with keys_written_outside(self.dropouts):
            self._record()
        self.gradients = {p: p.grad for p in network.parameters()}

    def _record(self) -> None:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARMUP):
                super().__call__(self.images, self.labels)
                self.network.zero_grad()
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = super().__call__(self.images, self.labels)

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Replay the graph on a batch; the loss is a copy that the next step leaves alone."""
        if images.shape != self.images.shape:
            self.network.zero_grad()
            return super().__call__(images, labels)
        self.images.copy_(images)
        self.labels.copy_(labels)
        for dropout in self.dropouts:
            dropout.draw_key()
        self.graph.replay()
        for p, gradient in self.gradients.items():
            p.grad = gradient
        return self.loss.clone()


@contextmanager
def keys_written_outside(layers: list[Dropout]) -> Iterator[None]:
    """Within it dropout draws no key of its own, so that a graph does not record the drawing."""
    had_key = [layer.has_key for layer in layers]
    for layer in layers:
        layer.has_key = True
    try:
        yield
    finally:
        for layer, had in zip(layers, had_key, strict=True):
            layer.has_key = had


def make_step(network: nn.Module, machine: Machine, shape: tuple[int, ...]) -> TrainingStep:
    """The fastest step there is on a machine for batches of this shape (N 3 H W)."""
    if machine.device.type == "cuda":
        return GraphedStep(network, machine, shape)
    return TrainingStep(network, machine)
