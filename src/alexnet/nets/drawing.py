"""A network as text: `print(network)` shows its layers in order, as the paper's Figure 2 does.

    AlexNet: 3×224×224 → 10 outputs, 56,909,194 parameters
      conv1   96×55×55   11×11 convolution of 3 maps, stride 4               34,944
      pool1   96×27×27   relu, response norm (…), max pooling 3×3 at stride 2
      …

The networks of `alexnet.nets` inherit `Drawn`. The shapes come from a forward pass on fake tensors:
nothing is computed, and no random number is drawn.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from alexnet.nets.layers import Dropout


class Drawn(nn.Module):
    """A network that is printed as a table of its layers."""

    image_side = 0
    """Side of the images that it was built for, in pixels; 0 if that is not known."""

    def __repr__(self) -> str:
        """Return the table of the layers, or torch's own text if they cannot be run."""
        if self.image_side:
            try:
                return draw_network(self, self.image_side)
            except Exception:  # noqa: BLE001 - the user may have replaced layers by others
                pass
        return super().__repr__()


def draw_network(network: nn.Module, side: int) -> str:
    """Return one line for each named layer: its output, what it does, its weights and biases.

    Raises what the network raises if it cannot be run on images of `side`×`side` pixels.
    """
    shapes, modules = find_shapes(network, side), dict(network.named_children())
    rows = [
        (name, "×".join(map(str, shape)), _describe(name, modules), _count(modules.get(name)))
        for name, shape in shapes.items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"  {name:<{widths[0]}}   {shape:<{widths[1]}}   {text:<{widths[2]}}   {n:>{widths[3]}}"
        for name, shape, text, n in rows
    ]
    total = sum(p.numel() for p in network.parameters())
    sizes = f"3×{side}×{side} → {rows[-1][1]} outputs"
    head = f"{type(network).__name__}: {sizes}, {total:,} parameters"
    return "\n".join((head, *(line.rstrip() for line in lines)))


def find_shapes(network: nn.Module, side: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of the output of each named layer for one image, without the batch."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note_shape(name: str, x: Tensor) -> Tensor:
        shapes[name] = tuple(x.shape[1:])
        return x

    with FakeTensorMode(), torch.no_grad():
        tensors: dict[str, Any] = {
            name: torch.empty(x.shape, dtype=x.dtype, device="cpu")
            for name, x in (*network.named_parameters(), *network.named_buffers())
        }
        functional_call(network, tensors, (torch.empty(1, 3, side, side), note_shape))
    return shapes


def _describe(name: str, modules: dict[str, nn.Module]) -> str:
    """Return what a layer does, with the nonlinearity and the dropout of the same number."""
    number = (re.search(r"\d+$", name) or [""])[0]
    parts = [_describe_module(modules[name])] if name in modules else []
    if parts and not name.startswith("pool"):
        unit, dropout = modules.get(f"unit{number}"), modules.get(f"dropout{number}")
        parts += [type(unit).__name__.lower()] if isinstance(unit, nn.ReLU | nn.Tanh) else []
        parts += [f"dropout {dropout.p}"] if isinstance(dropout, Dropout) and dropout.p else []
    return ", ".join(parts)


def _describe_module(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        kernel, stride, maps = module.kernel_size, module.stride[0], module.in_channels
        text = f"{kernel[0]}×{kernel[1]} convolution of {maps // module.groups} maps"
        text += f", stride {stride}" if stride > 1 else ""
        return text + (f", {module.groups} towers" if module.groups > 1 else "")
    if isinstance(module, nn.Linear):
        return f"fully connected to {module.in_features} inputs"
    if isinstance(module, nn.Identity):
        return "left out"
    return module.extra_repr() or type(module).__name__


def _count(module: nn.Module | None) -> str:
    count = 0 if module is None else sum(p.numel() for p in module.parameters())
    return f"{count:,}" if count else ""
