"""How a training is divided among processes: which part of the network each has, and its step.

    Division           one process with the whole network; what the others inherit
    ReplicasDivision   each process has the whole network and a part of each batch (`replicas`)
    TowersDivision     each process has one tower (`parallel.towers`)
    HybridDivision     whole convolutions, shards of the rest (`parallel.hybrid`)

`make_division` chooses by the name that `--devices` gives. The training loop divides the network,
its optimizer and its momenta with it, and puts them together again for a checkpoint, which is the
same file whatever the division. All processes do the same steps; process 0 alone writes files and
shows progress. Nothing here knows files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from alexnet.device import Machine
from alexnet.parallel.exchange import Parts, cut_rows
from alexnet.parallel.hybrid import CUTS as SHARDS
from alexnet.parallel.hybrid import Hybrid, Passes, compute_gradients
from alexnet.parallel.parts import Cuts, cut_parameters, join_parameters
from alexnet.parallel.towers import CUTS as TOWERS
from alexnet.parallel.towers import Towers
from alexnet.processes import ALONE, World
from alexnet.recipes.recipe import Recipe
from alexnet.training.replicas import BucketedStep, ChunkedSGD, SlicedStep
from alexnet.training.schedule import Rates
from alexnet.training.sgd import SGD
from alexnet.training.step import TrainingStep, make_step

Devices = Literal["replicas", "towers", "hybrid"]
Reduction = Literal["tree", "bucketed"]


class Division:
    """One process, or several that all have the whole network."""

    cuts: Cuts | None = None
    """The layers that are cut, and how; None: none are."""
    n_parts = 1
    """Into how many parts."""
    n_slices = 1
    """Into how many slices a batch is cut, which the processes share."""

    def __init__(self, world: World = ALONE) -> None:
        self.world = world

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and shows the progress."""
        return self.world.rank == 0

    @property
    def parts(self) -> Parts:
        """The parts of this process."""
        return Parts(self.n_parts, self.world)

    def find_rows(self, n_images: int) -> range:
        """Return the rows of a batch that this process computes: those of its slices."""
        rows, own = cut_rows(n_images, self.n_slices), Parts(self.n_slices, self.world).own
        return range(rows[own.start].start, rows[own.stop - 1].stop)

    @property
    def sharing_evaluation(self) -> World:
        """The processes that share the images of an evaluation: those with a whole network."""
        return ALONE

    def divide(self, network: nn.Module) -> nn.Module:
        """Return this process's part of a network that is whole.

        Raises ValueError for a network that cannot be divided.
        """
        return network

    def cut(self, whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return this process's part of whole weights or momenta, by name."""
        return cut_parameters(whole, self.cuts, self.parts) if self.cuts else dict(whole)

    def join(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return whole weights or momenta on process 0; all processes call this together."""
        return join_parameters(own, self.cuts, self.parts) if self.cuts else dict(own)

    def make_sgd(self, network: nn.Module, recipe: Recipe) -> SGD:
        """Return the update rule for this process's part of the network."""
        return SGD(network, recipe)

    def make_step(
        self, network: nn.Module, sgd: SGD, machine: Machine, shape: tuple[int, ...]
    ) -> TrainingStep:
        """Return the training step for this process's part of the network."""
        return make_step(network, machine, shape)


class ReplicasDivision(Division):
    """Each process has the whole network and computes some of the slices of a batch."""

    def __init__(self, world: World, slices: int, reduction: Reduction = "tree") -> None:
        """Raises ValueError where so many slices cannot be shared by these processes."""
        super().__init__(world)
        self.is_bucketed = reduction == "bucketed"
        if self.is_bucketed:
            if slices > 1:
                raise ValueError(
                    f"{slices} slices and --reduction bucketed: it computes each process's part of "
                    "a batch at once. Leave --slices away, or --reduction"
                )
            return
        if slices & (slices - 1) or slices % world.size:
            raise ValueError(_explain_slices(slices, world.size))
        self.n_slices = slices

    @property
    def sharing_evaluation(self) -> World:
        """All processes."""
        return self.world

    def find_rows(self, n_images: int) -> range:
        """Return the rows of the own slices."""
        if self.is_bucketed:  # any number of processes, which need not be a power of two
            return cut_rows(n_images, self.world.size)[self.world.rank]
        return super().find_rows(n_images)

    def make_sgd(self, network: nn.Module, recipe: Recipe) -> SGD:
        """Return the update rule for the own chunk of the weights, or for all of them."""
        if self.is_bucketed or self.world.size == 1:
            return SGD(network, recipe)
        return ChunkedSGD(network, recipe, self.world)

    def make_step(
        self, network: nn.Module, sgd: SGD, machine: Machine, shape: tuple[int, ...]
    ) -> TrainingStep:
        """Return the step in slices, or with DistributedDataParallel."""
        if self.is_bucketed:
            return BucketedStep(network, machine, self.world)
        return SlicedStep(network, sgd, machine, shape, Parts(self.n_slices, self.world))


def _explain_slices(slices: int, size: int) -> str:
    """What to do where processes cannot share slices."""
    text = "the number of slices has to be a power of two that the number of processes divides"
    if size & (size - 1):
        fitting = 1 << (size.bit_length() - 1)
        return (
            f"{size} processes cannot share the slices of a batch ({slices}): {text}. Start "
            f"{fitting} (torchrun --nproc-per-node {fitting}, --slices {max(fitting, 1)}), or give "
            "--reduction bucketed, which needs no slices"
        )
    fitting = max(size, 1 << (slices.bit_length() - 1))
    return (
        f"{size} processes cannot share {slices} slices of a batch: {text}. Set --slices "
        f"{fitting}, which changes the last bits of the result, or give --reduction bucketed, "
        "whose last bits depend on the number of processes"
    )


class TowersDivision(Division):
    """Each of two processes has one tower; both are given all images."""

    cuts, n_parts = TOWERS, 2

    def __init__(self, world: World, wire: torch.dtype | None = None) -> None:
        """`wire`: the type in which units and gradients are exchanged. Raises ValueError for more
        processes than towers."""
        super().__init__(world)
        self.wire = wire
        Parts(self.n_parts, world)  # checks the number of processes

    def find_rows(self, n_images: int) -> range:
        """Return all rows: each tower is given all images."""
        return range(n_images)

    def divide(self, network: nn.Module) -> nn.Module:
        """Return the towers of this process."""
        return Towers(network, self.world, self.wire)

    def make_step(
        self, network: nn.Module, sgd: SGD, machine: Machine, shape: tuple[int, ...]
    ) -> TrainingStep:
        """Return a step without a CUDA graph, which could not wait for the other process."""
        return TrainingStep(network, machine)


class HybridDivision(Division):
    """Each process has the convolutions for its slices, and some shards of the other layers."""

    cuts = SHARDS

    def __init__(self, world: World, recipe: Recipe) -> None:
        """Raises ValueError where the recipe's slices cannot be shared by these processes."""
        super().__init__(world)
        self.n_parts = self.n_slices = recipe.slices
        self.period = recipe.fc_period or recipe.slices
        if recipe.slices & (recipe.slices - 1) or recipe.slices % world.size:
            fitting = max(4, 1 << (world.size - 1).bit_length())
            raise ValueError(
                f"{world.size} processes cannot share {recipe.slices} slices of a batch and as "
                "many shards of 4096 units: the number of slices has to be a power of two that the "
                f"number of processes divides. Set --slices {fitting}"
            )

    def divide(self, network: nn.Module) -> nn.Module:
        """Return the network with this process's shards."""
        return Hybrid(network, self.world, self.n_parts)

    def make_sgd(self, network: nn.Module, recipe: Recipe) -> SGD:
        """Return the update rule, in which the shards can be updated alone."""
        return ShardedSGD(network, recipe)

    def make_step(
        self, network: nn.Module, sgd: SGD, machine: Machine, shape: tuple[int, ...]
    ) -> TrainingStep:
        """Return the step in passes; it updates the shards in between."""
        assert isinstance(network, Hybrid)
        assert isinstance(sgd, ShardedSGD)
        return HybridStep(network, sgd, machine, self.period)


class ShardedSGD(SGD):
    """The update rule for the convolutions; `shards` is that of the fully connected layers."""

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        layers = {name.split(".")[0] for name, _ in network.named_parameters()}
        super().__init__(network, recipe, layers - set(SHARDS))
        self.shards = SGD(network, recipe, set(SHARDS))

    @property
    def layers(self) -> list[str]:
        """The names of the layers that have weights."""
        return [*super().layers, *self.shards.layers]

    def step(self, loss: Tensor, rates: Rates | float) -> None:
        """Update all weights."""
        self.shards.step(loss, rates)
        super().step(loss, rates)

    def set_trained(self, *rates_to_come: Rates) -> tuple[bool, int]:
        """As SGD, over all groups."""
        (changed, n), (also, more) = (
            super().set_trained(*rates_to_come),
            self.shards.set_trained(*rates_to_come),
        )
        return changed or also, n + more

    def momenta(self) -> dict[str, Tensor]:
        """Return the momentum buffers of all weights."""
        return {**super().momenta(), **self.shards.momenta()}

    def restore(self, momenta: dict[str, Tensor], rate: float, rates: dict[str, float]) -> None:
        """Continue from saved buffers."""
        self.shards.restore({k: momenta[k] for k in self.shards.momenta()}, rate, rates)
        super().restore(momenta, rate, rates)


class HybridStep(TrainingStep):
    """A step in passes: the convolutions of the own slices, the own shards for all slices."""

    def __init__(self, network: Hybrid, sgd: ShardedSGD, machine: Machine, period: int) -> None:
        super().__init__(network, machine)
        self.hybrid, self.sgd, self.period = network, sgd, period

    def __call__(self, images: Tensor, labels: Tensor, share: float = 1.0) -> Tensor:
        """Return the mean loss of the batch of all processes; leave its gradients.

        images, labels: those of the own slices. The loss is the same on all processes.
        """
        rows = cut_rows(self.n_images, self.hybrid.parts.total)
        sizes = [len(rows[i]) for i in self.hybrid.parts.own]
        return compute_gradients(
            self.hybrid,
            images.split(sizes),
            labels.split(sizes),
            Passes(self.n_images, rows, self.period, self.key),
            lambda loss: self.sgd.shards.step(loss, self.rates),
            self.machine.cast,
        )


WHOLE = Division()
"""One process with the whole network."""


def make_division(
    devices: Devices | None,
    world: World,
    recipe: Recipe,
    wire: torch.dtype | None = None,
    reduction: Reduction = "tree",
) -> Division:
    """Return the division that `--devices` names; by default replicas, if there is what to share.

    Raises ValueError where the recipe or the number of processes does not fit it.
    """
    if devices != "hybrid" and recipe.fc_period:
        raise ValueError(
            f"the recipe updates the fully connected layers every {recipe.fc_period} passes "
            "(fc_period), which only --devices hybrid does"
        )
    if reduction == "bucketed" and devices not in (None, "replicas"):
        raise ValueError(f"--reduction is for replicas, not for --devices {devices}: leave it away")
    if devices == "towers":
        return TowersDivision(world, wire)
    if wire is not None:
        raise ValueError("what is exchanged can be rounded between towers only (--devices towers)")
    if devices == "hybrid":
        return HybridDivision(world, recipe)
    if world.size == 1 and (recipe.slices == 1 or reduction == "bucketed"):
        return Division(world)
    return ReplicasDivision(world, recipe.slices, reduction)
