"""How many bytes of a GPU a training takes, counted before it takes them.

`batches.choose_loader` keeps the training images in the memory of the GPU if they fit in addition
to the memory that is counted here. Nothing is allocated and no GPU is needed.

    weights, momenta            float32, all the time
    gradients, activations      of a step; two sets of them (STEPS)
    largest activation          its gradients, two at once (LARGEST_AT_ONCE)
    images                      three batches (IMAGES)
    MARGIN                      what cannot be counted
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from alexnet.device import Machine, Precision, prepare_layers
from alexnet.nets.variations import network_of
from alexnet.recipes.recipe import Recipe

MARGIN = 2 << 30
"""Bytes for what is not counted: workspaces of cuBLAS and cuDNN (up to some hundred MB each), what
the allocator's blocks are larger than was asked for, labels and random numbers of an epoch (about
60 bytes per image), and the views of validation images."""
LARGEST_AT_ONCE = 2
"""Gradients of the size of the largest activation that exist at once, in the backward pass of a
layer: that of its output and that of its input."""
STEPS = 2
"""Sets of activations and gradients. The CUDA graph of the step keeps its set as long as it exists;
the last, shorter batch of an epoch runs without the graph and takes another set, at most as large.
Validation takes less: its activations are freed layer by layer."""
IMAGES = 3
"""Batches of images: the input of the graph, the batch that is prefetched, the last, short one."""


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes on the device, by what they hold."""

    weights: int
    momenta: int
    gradients: int
    """Of one step; as many as the weights."""
    activations: int
    """Of one step: what the forward pass keeps for the backward pass."""
    largest: int
    """The largest of the tensors in `activations`."""
    images: int
    """One batch, in the type that the network is given, and its labels."""

    @property
    def steps(self) -> int:
        """What training takes beside weights and momenta, with a margin."""
        step = self.gradients + self.activations + LARGEST_AT_ONCE * self.largest
        return STEPS * step + IMAGES * self.images + MARGIN

    @property
    def whole(self) -> int:
        """All memory that training takes, without the training images."""
        return self.weights + self.momenta + self.steps


def count_step_memory(recipe: Recipe, classes: int, machine: Machine) -> int:
    """Return the bytes of a GPU that training needs beside weights and momenta; 0 on a CPU.

    So many have to stay free when the records of the training images are put there.
    """
    if machine.device.type != "cuda":
        return 0
    return count_training_memory(recipe, classes, machine.precision).steps


def count_training_memory(recipe: Recipe, classes: int, precision: Precision) -> TrainingMemory:
    """Count the memory of a training with this recipe, number of classes, and precision.

    A forward pass on fake tensors, which have shapes and no memory, shows what is kept for the
    backward pass. It takes the path of a CPU, which keeps what a GPU keeps or a little more (the
    positions of maxima).
    """
    machine = Machine(torch.device("cpu"), precision)
    with FakeTensorMode():
        network = network_of(recipe, classes).train()
        prepare_layers(network, machine.dtype)
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
    """Return the bytes of each tensor that a forward pass keeps for the backward pass.

    Weights, images and labels are not among them. Tensors that share memory count once.
    """
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage  # kept, so that no other storage gets this address
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor), machine.cast():
        F.cross_entropy(network(images).float(), labels)
    others = {x.untyped_storage()._cdata for x in (images, labels, *network.parameters())}
    return [storage.nbytes() for address, storage in kept.items() if address not in others]
