"""The state of a training at one moment: `Position` in the schedule, and `Checkpoint`, all of it.

Only data, and what can be made of it; `checkpoint.file` writes and reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated

import torch
from torch import Tensor, nn

from alexnet.batches.preprocessing import Preprocessing
from alexnet.nets.variations import network_of
from alexnet.packs.pack import Pack
from alexnet.recipes.recipe import Recipe
from alexnet.validate import NOT_FINITE, Range

Measured = int | Annotated[float, NOT_FINITE]
"""A number that was measured after an epoch: a count, or a loss, which may be infinite or NaN."""
Count = Annotated[int, Range(0)]
Number = Annotated[float, Range(0)]
VALIDATED = {"val_loss", "val_top1", "val_top5"}
"""What is measured on validation images: all of them or none."""


@dataclass(frozen=True)
class Position:
    """The position of a training, and its measurements so far."""

    epoch: Count = 0
    """The current epoch, from 0, which is the number of epochs that are done."""
    step: Count = 0
    """The number of its steps that are done."""
    rate: Number = 0.0
    """Learning rate of the last step."""
    rates: dict[str, Number] = field(default_factory=dict)
    """For every group of weights or biases, the rate of the last step that moved it."""
    loss_sum: float = 0.0
    """Sum of the losses of this epoch's images so far."""
    history: tuple[dict[str, Measured], ...] = ()
    """What was measured after each finished epoch: train_loss, val_loss, val_top1, val_top5, …"""

    def __post_init__(self) -> None:
        """Raise ValueError if the history has not one complete entry per finished epoch."""
        if len(self.history) != self.epoch:
            raise ValueError(f"{len(self.history)} epochs were measured, and {self.epoch} are done")
        for i, measured in enumerate(self.history):
            wanted = {"train_loss"} | (VALIDATED if VALIDATED & measured.keys() else set())
            if missing := sorted(wanted - measured.keys()):
                raise ValueError(f"history[{i}] lacks {', '.join(missing)}")


@dataclass(frozen=True)
class Checkpoint:
    """Everything that is needed to resume a training or to use the network as a classifier."""

    recipe: Recipe
    classes: tuple[str, ...]
    wordnet_ids: tuple[str, ...] | None
    """One for each class, in ImageNet; else None."""
    pack_checksum: str
    """Of the pack that it was trained on."""
    preprocessing: Preprocessing
    position: Position
    weights: dict[str, Tensor] = field(repr=False)
    """The network's state_dict: float32, on any device."""
    momenta: dict[str, Tensor] = field(repr=False)
    """Momentum buffers (`training.sgd`), by the name and with the shape of their weights.
    Empty for imported weights."""

    def build_network(self) -> nn.Module:
        """Build the network with these weights, on the CPU, in evaluation mode.

        It shares the memory of `weights`.
        """
        with torch.device("meta"):
            network = network_of(self.recipe, len(self.classes))
        network.load_state_dict(self.weights, assign=True)
        return network.eval()

    def adapt_preprocessing(self, pack: Pack) -> Preprocessing:
        """Return the preprocessing of this network for the images of another pack.

        Mean and crop are those it was trained with; how pixels are stored is the pack's. Raises
        ValueError if the images were packed at another size.
        """
        preprocessing = self.preprocessing
        if pack.size != (side := preprocessing.side):
            raise ValueError(
                f"the network was trained on {side}×{side} images, and those of {pack.path} are "
                f"{pack.size}×{pack.size}. Pack them again with --size {side}"
            )
        return replace(preprocessing, pixels=pack.pixels)
