"""How much memory of a GPU a training takes, counted before it is taken.

The training images live on the GPU if they fit beside everything that is counted here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from alexnet.device import Machine, Precision
from alexnet.nets.variations import network_of
from alexnet.recipes.recipe import Recipe

MARGIN = 2 << 30
"""Bytes for what is not counted: workspaces of cuBLAS and cuDNN (up to some hundred MB each), the
allocator's blocks that are larger than what is asked for, labels and random draws of an epoch
(about 60 bytes an image), and the views of validation images."""
LARGEST_AT_ONCE = 2
"""Gradients of the largest activation that exist at once: of a layer's output and of its input."""
STEPS = 2
"""Sets of activations and gradients. The recorded step keeps its own for as long as it exists;
the last, shorter batch of an epoch runs launch by launch and takes another set, at most as large.
Validation, whose activations are freed layer by layer, takes less."""
IMAGES = 3
"""Batches of images: the recorded step's own, the one that is made next, the short batch's copy."""


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes on the device, by what they hold."""

    weights: int
    momenta: int
    gradients: int
    """Of one step: as many as the weights."""
    activations: int
    """Of one step: all that the forward pass keeps for the backward pass."""
    largest: int
    """The largest of these tensors."""
    images: int
    """One batch and its labels, as the network gets them."""

    @property
    def steps(self) -> int:
        """What training takes after the weights and momenta are there, with a margin."""
        step = self.gradients + self.activations + LARGEST_AT_ONCE * self.largest
        return STEPS * step + IMAGES * self.images + MARGIN

    @property
    def whole(self) -> int:
        """What a training takes in all, without its records."""
        return self.weights + self.momenta + self.steps


def count_step_memory(recipe: Recipe, classes: int, machine: Machine) -> int:
    """Bytes of a GPU to keep free of records once the weights and momenta are there; else 0."""
    if machine.device.type != "cuda":
        return 0
    return count_training_memory(recipe, classes, machine.precision).steps


def count_training_memory(recipe: Recipe, classes: int, precision: Precision) -> TrainingMemory:
    """Count the memory of a training with these recipe, classes and precision.

    A forward pass on tensors without memory shows what is kept for the backward pass. It is that
    of a CPU, which keeps what a GPU keeps, or a little more (the positions of maxima).
    """
    machine = Machine(torch.device("cpu"), precision)
    with FakeTensorMode():
        network = network_of(recipe, classes).train()
        for layer in network.modules():
            if prepare := getattr(layer, "prepare", None):
                prepare(machine.dtype)
        shape = recipe.batch_size, 3, recipe.crop, recipe.crop
        images = torch.empty(shape, dtype=machine.dtype, memory_format=torch.channels_last)
        labels = torch.empty(recipe.batch_size, dtype=torch.int64)
        kept = list_kept_for_backward(network, images, labels, machine)
        weights = sum(p.nbytes for p in network.parameters())
        batch = images.nbytes + labels.nbytes
    return TrainingMemory(weights, weights, weights, sum(kept), max(kept), batch)


def list_kept_for_backward(
    network: nn.Module, images: Tensor, labels: Tensor, machine: Machine
) -> list[int]:
    """The bytes of each piece of memory that a forward pass keeps, besides weights and images."""
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage  # held, so that no other gets the same address
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor), machine.cast():
        F.cross_entropy(network(images).float(), labels)
    others = {x.untyped_storage()._cdata for x in (images, labels, *network.parameters())}
    return [storage.nbytes() for address, storage in kept.items() if address not in others]
