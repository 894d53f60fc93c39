"""The networks by name (NETS), and the layers of each with their costs (`list_layers`).

One file has the networks of one paper or program, and reads like its figure:

    alexnet.py    the paper as printed          lowres.py   2012 code, with a low-resolution path
    original.py   2012 code, the paper's tables    cifar.py    2012 code, on CIFAR-10
    torchvision.py   torchvision's alexnet      caffe.py    Caffe's bvlc_alexnet and caffenet

`Net.build` builds a network and draws its first weights with its method `initialize`; `build` here
leaves them to the caller, for trainings and for weights that are copied. A network is run by
`forward(x, hook)`, which calls `hook(name, output)` for every named layer. `layers.py` and
`local.py` have the layers that torch.nn does not have; `drawing.py` prints a network;
`variations.py` builds the network of a recipe. Only `variations.py` knows recipes; nothing here
knows data or training.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from alexnet.nets import caffe, cifar, lowres, original, torchvision
from alexnet.nets.alexnet import AlexNet
from alexnet.nets.layers import Weighted, get_fan_in
from alexnet.validate import suggest


@dataclass(frozen=True)
class Net:
    """How to build a network, and the images and classes that it is made for."""

    make: Callable[..., nn.Module]
    """(classes, size, dropout, **variations) → the network, its weights not yet drawn."""
    paper: str
    """Where the network comes from."""
    size: int = 224
    """Side of its images in pixels, by default."""
    classes: int = 1000
    """Number of classes, by default."""

    @property
    def variations(self) -> tuple[str, ...]:
        """The names of its variations: its arguments besides classes, size and dropout."""
        parameters = inspect.signature(self.make).parameters.values()
        return tuple(p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY)

    def build(
        self,
        classes: int | None = None,
        size: int | None = None,
        dropout: float = 0.5,
        *,
        initialization: str = "printed",
        seed: int | None = None,
        generator: torch.Generator | None = None,
        **variations: Any,
    ) -> nn.Module:
        """Build the network on the CPU, with first weights: (N, 3, size, size) → (N, classes).

        initialization: "printed", as the paper says (for AlexNet, section 5: Gaussians of standard
            deviation 0.01, biases of 1 in conv2, conv4, conv5, fc6 and fc7, of 0 elsewhere), or
            "variance", with which each layer keeps the variance of its inputs.
        seed: the weights are then those that a training with this seed begins with, and torch's
            default generator is left as it is. Without `seed` and `generator`, the weights are
            drawn from torch's default generator: `torch.manual_seed` makes them repeat.
        generator: a generator that a seed is drawn from.
        variations: those in `self.variations`, as `towers=1`.

        Raises ValueError for a variation that the network does not have, and if both a seed and a
        generator are given.

        >>> network = alexnet.NETS["alexnet"].build(10, seed=0)
        >>> round(network.conv1.weight.std().item(), 3), network.conv2.bias.unique().tolist()
        (0.01, [1.0])
        """
        if seed is not None and generator is not None:
            raise ValueError("a seed and a generator were given: give one of them")
        if generator is not None:
            seed = int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))
        drawn_apart = seed is not None
        with torch.random.fork_rng(devices=[], enabled=drawn_apart):
            if seed is not None:
                torch.manual_seed(seed)
            network: Any = self.make_checked(classes, size, dropout, **variations)
            network.initialize(initialization)
        return network

    def make_checked(
        self, classes: int | None, size: int | None, dropout: float, **variations: Any
    ) -> nn.Module:
        """Build the network, its weights not yet drawn.

        Raises ValueError for a variation that the network does not have.
        """
        if unknown := sorted(set(variations) - set(self.variations)):
            known = ", ".join(self.variations) or "nothing but classes, size and dropout"
            name = next((name for name, net in NETS.items() if net is self), "the network")
            raise ValueError(f"{name} cannot vary {', '.join(unknown)}; it can vary {known}")
        side = size or self.size
        network: Any = self.make(classes or self.classes, side, dropout, **variations)
        network.image_side = side
        return network


NETS: dict[str, Net] = {
    "alexnet": Net(AlexNet, "Krizhevsky, Sutskever & Hinton 2012, Figure 2"),
    "cifar": Net(cifar.Cifar, "2012 code, CIFAR-10: cifar-19pct", 32, 10),
    "original-145": Net(original.Net145, "2012 code, net 145: the paper's tables"),
    "original-145-half": Net(original.Net145Half, "2012 code, one tower of net 145"),
    "original-147": Net(original.Net147, "2012 code, net 145 with pools that do not overlap"),
    "original-148": Net(original.Net148, "2012 code, net 145 without norms"),
    "original-150": Net(original.Net150, "2012 code, net 145 with towers that meet in fc8"),
    "original-167": Net(original.Net167, "2012 code, net 145 without the norms of layer 2"),
    "original-146": Net(original.Net146, "2012 code, pre-trained: net 145 and conv6"),
    "original-146-2011": Net(
        original.Net146Wide, "2012 code, net 146 for ImageNet Fall 2011", classes=21_843
    ),
    "original-120": Net(lowres.Net120, "2012 code, low-resolution path, norm after pool"),
    "original-131": Net(lowres.Net131, "2012 code, low-resolution path"),
    "original-135": Net(lowres.Net135, "2012 code, low-resolution path, k = 2"),
    "original-137": Net(lowres.Net137, "2012 code, low-resolution path, no contrast norm"),
    "cifar-80sec": Net(cifar.Cifar80sec, "2012 code, CIFAR-10: 26 % in 80 seconds", 32, 10),
    "cifar-19pct": Net(cifar.Cifar, "2012 code, CIFAR-10: 19 %", 32, 10),
    "cifar-18pct": Net(cifar.Cifar18pct, "2012 code, CIFAR-10: 18 %, norms within maps", 32, 10),
    "cifar-13pct": Net(cifar.Cifar13pct, "2012 code, CIFAR-10: 13 %, local layers", 24, 10),
    "cifar-11pct": Net(cifar.Cifar11pct, "2014 code, CIFAR-10: 11 %, section 3.3", 24, 10),
    "figure1-relu": Net(
        partial(cifar.Cifar, unit="relu"), "Figure 1's four layers, reconstructed", 32, 10
    ),
    "figure1-tanh": Net(
        partial(cifar.Cifar, unit="tanh"), "Figure 1's four layers, reconstructed", 32, 10
    ),
    "torchvision": Net(torchvision.TorchvisionAlexNet, "torchvision's alexnet (arXiv 1404.5997)"),
    "bvlc-alexnet": Net(caffe.BvlcAlexNet, "Caffe's bvlc_alexnet, norm before pool", 227),
    "caffenet": Net(caffe.CaffeNet, "Caffe's reference network, norm after pool", 227),
}
"""All networks by name; `alexnet networks` prints them."""


@dataclass(frozen=True)
class Layer:
    """One named layer of a network, and what it costs."""

    name: str
    shape: tuple[int, ...]
    """Shape of its output for one image, without the batch."""
    parameters: int
    """Number of its weights and biases."""
    multiply_adds: int
    """Number of multiplications of a weight, for one image in the forward pass."""


def build(
    name: str,
    classes: int | None = None,
    size: int | None = None,
    dropout: float = 0.5,
    **variations: Any,
) -> nn.Module:
    """Build the network called `name`, its weights not initialized.

    Raises ValueError for an unknown name, for a variation that the network does not have and for a
    value that a variation cannot have.
    """
    return find(name).make_checked(classes, size, dropout, **variations)


def find(name: str) -> Net:
    """Return the entry of NETS. Raises ValueError for an unknown name, with the known ones."""
    if name not in NETS:
        raise ValueError(
            f"no network is called {name!r}.{suggest(name, NETS)} There are {', '.join(NETS)}"
        )
    return NETS[name]


def list_layers(
    name: str, classes: int | None = None, size: int | None = None, **variations: Any
) -> list[Layer]:
    """Return the named layers in order, with their costs for one image.

    The forward pass runs on fake tensors: nothing is computed or allocated.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    units: dict[nn.Module, int] = {}
    side = size or find(name).size

    def note_shape(layer: str, x: Tensor) -> Tensor:
        shapes[layer] = tuple(x.shape[1:])
        return x

    def count_units(module: nn.Module, _: object, y: Tensor) -> None:
        units[module] = y.numel()

    with FakeTensorMode():
        network = build(name, classes, size, **variations).eval()
        for module in network.children():
            module.register_forward_hook(count_units)
        network(torch.empty(1, 3, side, side), note_shape)
    modules = dict(network.named_children())
    return [_make_layer(layer, shape, modules.get(layer), units) for layer, shape in shapes.items()]


def _make_layer(
    name: str, shape: tuple[int, ...], module: nn.Module | None, units: dict[nn.Module, int]
) -> Layer:
    if not isinstance(module, Weighted):
        return Layer(name, shape, 0, 0)
    parameters = sum(p.numel() for p in module.parameters())
    return Layer(name, shape, parameters, units[module] * get_fan_in(module))
