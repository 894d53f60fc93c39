"""The networks by name, and what each consists of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from alexnet.nets.alexnet import AlexNet
from alexnet.nets.cifar import Cifar


@dataclass(frozen=True)
class Net:
    """A network that can be asked for by name."""

    build: Callable[..., nn.Module]
    """(classes, size, dropout) → the network, its weights not yet drawn."""
    paper: str
    size: int
    """Side of its images in pixels, unless told otherwise."""
    classes: int
    """Classes, unless told otherwise."""


NETS: dict[str, Net] = {
    "alexnet": Net(AlexNet, "Krizhevsky, Sutskever & Hinton 2012, Figure 2", 224, 1000),
    "cifar": Net(Cifar, "the 2012 code's example for CIFAR-10 (19 %)", 32, 10),
}


@dataclass(frozen=True)
class Layer:
    """One named layer of a network: what comes out of it for one image, and what it costs."""

    name: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


def build(
    name: str, classes: int | None = None, size: int | None = None, dropout: float = 0.5
) -> nn.Module:
    """The network called `name`, weights not yet drawn. Raises ValueError for an unknown name."""
    net = find(name)
    return net.build(classes or net.classes, size or net.size, dropout)


def find(name: str) -> Net:
    """The entry of `name` in NETS. Raises ValueError, with the names there are, for another."""
    if name not in NETS:
        raise ValueError(f"no network is called {name!r}; there are {', '.join(NETS)}")
    return NETS[name]


def layers(name: str, classes: int | None = None, size: int | None = None) -> list[Layer]:
    """Every named layer in order, counted for one image. Nothing is computed or allocated."""
    net, shapes, costs = find(name), {}, {}
    side = size or net.size

    def shape_of(layer: str, x: Tensor) -> Tensor:
        shapes[layer] = tuple(x.shape[1:])
        return x

    def cost_of(module: nn.Module, _: object, y: Tensor) -> None:
        costs[module] = y.numel() * module.weight[0].numel()

    with FakeTensorMode():
        network = build(name, classes, size).eval()
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(cost_of)
        network(torch.empty(1, 3, side, side), shape_of)
    modules = dict(network.named_children())
    return [_layer(layer, shape, modules.get(layer), costs) for layer, shape in shapes.items()]


def _layer(
    name: str, shape: tuple[int, ...], module: nn.Module | None, costs: dict[nn.Module, int]
) -> Layer:
    if module is None:
        return Layer(name, shape, 0, 0)
    parameters = sum(p.numel() for p in module.parameters())
    return Layer(name, shape, parameters, costs.get(module, 0))
