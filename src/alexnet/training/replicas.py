"""Training with replicas: every process has the whole network and computes a part of each batch.

    SlicedStep      a batch in V slices, gradients summed over a fixed tree     --reduction tree
    ChunkedSGD      each process updates its own chunk of all weights
    BucketedStep    a part of the batch a process, gradients averaged by        --reduction bucketed
                    PyTorch's DistributedDataParallel

With slices, the bits of a training do not depend on the number of processes N:

    slices of the batch     0   1   2   3        of the same shape, through the same kernels
    computed by (N = 2)     └ 0 ┘   └ 1 ┘        dropout's masks follow from the row in the batch
    gradients              (0 + 1) + (2 + 3)     in float32, the same tree for every N

The loss of a slice is its mean, times its share of the batch. With bucketed reduction the order of
the sums, and so the last bits, depend on N. `training.division` calls this module.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from alexnet.device import Machine
from alexnet.nets.layers import set_key
from alexnet.parallel.chunks import Chunks, PairwiseSum
from alexnet.parallel.exchange import Parts, cut_rows, sum_pairwise
from alexnet.processes import World
from alexnet.recipes.recipe import Recipe
from alexnet.training.schedule import Rates
from alexnet.training.sgd import SGD
from alexnet.training.step import GraphedStep, TrainingStep, make_step


class SlicedStep(TrainingStep):
    """A step in slices: the own ones are computed here, one after the other.

    On a GPU, the CUDA graph of a slice is replayed for each.
    """

    def __init__(
        self, network: nn.Module, sgd: SGD, machine: Machine, shape: tuple[int, ...], parts: Parts
    ) -> None:
        """`shape`: of the whole batch. `parts`: the slices."""
        self.network, self.machine, self.parts, self.sgd = network, machine, parts, sgd
        self.key, self.rates, self.n_images = 0, Rates(0.0, 0.0), 0
        n_images = -(-shape[0] // parts.total)
        self.compute = make_step(network, machine, (n_images, *shape[1:]))
        self.trained = {n: p for n, p in network.named_parameters() if p.requires_grad}

    def __call__(self, images: Tensor, labels: Tensor, share: float = 1.0) -> Tensor:
        """Return the mean loss of the batch of all processes; leave its gradients.

        images, labels: those of the own slices. The loss is the same on all processes.
        """
        slices = cut_rows(self.n_images, self.parts.total)
        first, total, losses = slices[self.parts.own.start].start, PairwiseSum(), []
        for i in self.parts.own:
            own = slice(slices[i].start - first, slices[i].stop - first)
            losses.append(self._compute_slice(images[own], labels[own], slices[i].start))
            total.add(self._take_gradients())
        gradients = dict(zip(self.trained, total.take(), strict=True))
        if isinstance(self.sgd, ChunkedSGD):
            self.sgd.sum_gradients(gradients)
        else:
            for name, p in self.trained.items():
                p.grad = gradients[name]
        own_losses = torch.stack(losses)
        return sum_pairwise(torch.cat(self.parts.peers.all_gather(own_losses)).unbind())

    def _compute_slice(self, images: Tensor, labels: Tensor, row: int) -> Tensor:
        """Compute the gradients of one slice; return its loss. An empty one adds nothing."""
        if not len(images):
            return torch.zeros((), device=images.device)
        set_key(self.network, self.key, row)
        return self.compute(images, labels, len(images) / self.n_images)

    def _take_gradients(self) -> list[Tensor]:
        """Return the gradients of the last slice and clear them; the next does not change them."""
        gradients = []
        for p in self.trained.values():
            gradient, p.grad = p.grad, None
            if gradient is None:
                gradient = torch.zeros_like(p)
            elif isinstance(self.compute, GraphedStep):
                gradient = gradient.clone()  # the next replay writes to the same memory
            gradients.append(gradient)
        return gradients


class ChunkedSGD(SGD):
    """The update rule, in which a process has the momenta of its own chunk, and updates it."""

    def __init__(self, network: nn.Module, recipe: Recipe, world: World) -> None:
        super().__init__(network, recipe)
        self.whole = dict(network.named_parameters())
        self.chunks = Chunks(self.whole, world)
        self.own = {name: nn.Parameter(part) for name, part in self.chunks.own.items()}
        for group in self.optimizer.param_groups:  # those of `groups` stay whole
            names = [self.names[p] for p in group["params"]]
            group["params"] = [self.own[name] for name in names if name in self.own]
        self.names = {part: name for name, part in self.own.items()}
        self.optimizer.state.clear()
        for part in self.own.values():
            self.optimizer.state[part]["momentum_buffer"] = torch.zeros_like(part)

    @property
    def layers(self) -> list[str]:
        """The names of the layers that have weights."""
        return list(dict.fromkeys(name.split(".")[0] for name in self.whole))

    def sum_gradients(self, gradients: dict[str, Tensor]) -> None:
        """Give the own parts their gradients, summed over all processes."""
        for name, gradient in self.chunks.sum_gradients(gradients).items():
            self.own[name].grad = gradient

    def step(self, loss: Tensor, rates: Rates | float) -> None:
        """Update the own parts, and share them."""
        super().step(loss, rates)
        self.chunks.share_weights()

    def join_momenta(self) -> dict[str, Tensor]:
        """Return whole momenta; all processes call this together."""
        return self.chunks.join(self.momenta())

    def restore(self, momenta: dict[str, Tensor], rate: float, rates: dict[str, float]) -> None:
        """Continue from whole momenta."""
        if missing := self.whole.keys() - momenta.keys():
            raise ValueError(f"the checkpoint has no momentum of {', '.join(sorted(missing))}")
        super().restore(self.chunks.cut(momenta), rate, rates)


class BucketedStep(TrainingStep):
    """A step whose gradients PyTorch's DistributedDataParallel averages while they are computed."""

    def __init__(self, network: nn.Module, machine: Machine, world: World) -> None:
        super().__init__(network, machine)
        self.world, self.forward = world, world.replicate(network)

    def __call__(self, images: Tensor, labels: Tensor, share: float = 1.0) -> Tensor:
        """Return the mean loss of the batch of all processes; leave its gradients.

        images, labels: those of this process. Gradients are averaged, not summed, so the share of
        this process in the loss is multiplied by the number of processes.
        """
        rows, n = cut_rows(self.n_images, self.world.size)[self.world.rank], self.world.size
        set_key(self.network, self.key, rows.start)
        if not rows:  # all processes have to compute something: one image that counts nothing
            images = images.new_zeros(1, *images.shape[1:])
            labels = labels.new_zeros(1)
        loss = super().__call__(images, labels, len(rows) / self.n_images * n)
        return torch.stack(self.world.all_gather(loss)).sum() / n
