"""One training step up to the gradients: forward pass, loss, backward pass of a batch.

`training.loop` chooses the step once, with `make_step`, and calls it for every batch; the weights
are then updated by `training.sgd`. On a CPU the operations are called one after the other; on a GPU
they are recorded once as a CUDA graph and replayed. Nothing here knows data, rates or files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.device import Machine
from alexnet.nets.layers import Dropout, find_dropouts, set_key
from alexnet.training.schedule import Rates

WARMUP = 3
"""Steps before the recording, in which libraries choose their kernels and take their memory."""


class TrainingStep:
    """Computes the loss of a batch, and its gradients into the network's parameters.

    Weights and gradients are float32 with every precision. With bf16 the forward pass is autocast
    (mixed precision, arXiv 1710.03740; bf16 has the exponents of float32 and needs no loss
    scaling). With tf32 the inputs of matrix products are rounded.
    """

    def __init__(self, network: nn.Module, machine: Machine) -> None:
        self.network, self.machine = network, machine
        self.forward = torch.compile(network) if machine.compiled else network
        self.key, self.rates, self.n_images = 0, Rates(0.0, 0.0), 0

    def begin(self, key: int, rates: Rates, n_images: int = 0) -> None:
        """Set what the next step needs beside its batch: the key of its dropout masks; where
        weights are updated within a step, the rates; and where the batch is shared by several
        processes, the number of images that all of them have."""
        self.key, self.rates, self.n_images = key, rates, n_images
        set_key(self.network, key)

    def __call__(self, images: Tensor, labels: Tensor, share: float = 1.0) -> Tensor:
        """Return the mean loss of a batch, detached; add its gradients to those of the network.

        images: (N, 3, crop, crop), of the machine's type; labels: (N,), int64. The loss is a
        scalar on the device; reading it waits for the GPU. It is multiplied by `share`, the part
        that these images are of a larger batch.
        """
        return self._compute(images, labels, share)

    def _compute(self, images: Tensor, labels: Tensor, share: float | Tensor) -> Tensor:
        with self.machine.cast():
            loss = F.cross_entropy(self.forward(images).float(), labels)
        if isinstance(share, Tensor) or share != 1:
            loss = loss * share
        loss.backward()
        return loss.detach()


class GraphedStep(TrainingStep):
    """The same step as a CUDA graph: one launch instead of about a hundred.

        images, labels ──copy──► self.images, self.labels ─┐
        share of the batch ────► self.share ───────────────┤
        dropout's key ───write─► layer.draw ───────────────┤ replay ► self.loss, self.gradients
        weights (updated in place) ────────────────────────┘

    A graph is recorded with fixed addresses, so every input is copied to a fixed tensor before a
    replay. The graph writes the gradients to fixed tensors, too; after every replay they are set
    as the `.grad` of the parameters again, because the optimizer clears that. Batches of another
    size than the recorded one (the last of an epoch) run without the graph.
    """

    def __init__(self, network: nn.Module, machine: Machine, shape: tuple[int, ...]) -> None:
        super().__init__(network, machine)
        self.dropouts = find_dropouts(network)
        images = torch.zeros(shape, dtype=machine.dtype, device=machine.device)
        self.images = images.contiguous(memory_format=torch.channels_last)
        self.labels = torch.zeros(shape[0], dtype=torch.int64, device=machine.device)
        self.share = torch.ones((), device=machine.device)
        with keys_written_outside(self.dropouts):
            self._record()
        self.gradients = {p: p.grad for p in network.parameters()}

    def _record(self) -> None:
        """Record the graph, after some steps on another stream, as the CUDA documentation asks."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARMUP):
                self._compute(self.images, self.labels, self.share)
                self.network.zero_grad()
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = self._compute(self.images, self.labels, self.share)

    def __call__(self, images: Tensor, labels: Tensor, share: float = 1.0) -> Tensor:
        """As TrainingStep; the loss is a copy, which the next replay does not overwrite."""
        if images.shape != self.images.shape:
            self.network.zero_grad()
            return super().__call__(images, labels, share)
        self.images.copy_(images)
        self.labels.copy_(labels)
        self.share.fill_(share)
        for dropout in self.dropouts:
            dropout.draw_key()
        self.graph.replay()
        for p, gradient in self.gradients.items():
            p.grad = gradient
        return self.loss.clone()


@contextmanager
def keys_written_outside(layers: list[Dropout]) -> Iterator[None]:
    """While entered, dropout layers draw no key, so that a graph does not record the drawing."""
    had_key = [layer.has_key for layer in layers]
    for layer in layers:
        layer.has_key = True
    try:
        yield
    finally:
        for layer, had in zip(layers, had_key, strict=True):
            layer.has_key = had


def make_step(network: nn.Module, machine: Machine, shape: tuple[int, ...]) -> TrainingStep:
    """Return the step for a machine and batches of this shape, (N, 3, crop, crop)."""
    if machine.device.type == "cuda":
        return GraphedStep(network, machine, shape)
    return TrainingStep(network, machine)
