"""Parts of a network: layers cut into parts, and their parameters cut and joined by name.

A whole layer of P parts is cut in one of two ways, which `Cuts` names for each layer:

    "units"     part p has a P-th of the units, with all their inputs        conv1 … conv5, fc6, fc7
    "inputs"    part p has all units, with a P-th of their inputs; their     fc8
                biases belong to part 0

    whole name       names in parts
    conv2.weight     conv2.0.weight, conv2.1.weight

So a parameter of a part belongs to the layer of the same name, as `training.sgd` wants it, and a
checkpoint has the whole parameters under their own names. `towers` and `hybrid` cut layers;
`training` joins parameters for a checkpoint and cuts those of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from alexnet.kernels.dropout.operator import keep_mask
from alexnet.nets.layers import Convolution, Dropout, Strided
from alexnet.parallel.exchange import Parts

Cuts = Mapping[str, Literal["units", "inputs"]]
"""For each layer that is cut, by name, how."""


class Each(nn.ModuleDict):
    """The parts of a layer that this process holds: each reads the tensor of its own part."""

    def __init__(self, parts: Parts, make: Callable[[int], nn.Module]) -> None:
        """`make` returns the module of a part."""
        super().__init__({str(part): make(part) for part in parts.own})

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Tensors (N, …) of the own parts → tensors (N, …) of the own parts."""
        return [module(x) for module, x in zip(self.values(), inputs, strict=True)]

    def count_inputs(self) -> int:
        """Return the number of inputs of a fully connected layer in units."""
        first = next(iter(self.values()))
        assert isinstance(first, nn.Linear)
        return first.in_features


class PartialDropout(Dropout):
    """Dropout over one part's units of a layer: the mask is that part of the whole layer's mask."""

    def __init__(self, whole: nn.Module, part: int, total: int) -> None:
        """`whole`: the Dropout of the whole layer."""
        assert isinstance(whole, Dropout)
        super().__init__(whole.p, whole.layer)
        self.part, self.total = part, total

    def mask(self, x: Tensor) -> Tensor:
        """Return which units of this part are kept: (N, C / total) of bool."""
        self.draw_key()
        units = x.shape[1]
        whole = keep_mask(self.draw, len(x), units * self.total, layer=self.layer, p=self.p)
        return whole[:, self.part * units :][:, :units]


def cut_layer(layer: nn.Module, parts: Parts, how: Literal["units", "inputs"] = "units") -> Each:
    """Return the own parts of a layer, with their part of its weights.

    A convolution of `total` groups loses its groups, as each part is one of them.
    """
    named = {"layer." + name: p.detach() for name, p in layer.named_parameters()}
    own = cut_parameters(named, {"layer": how}, parts)

    def make(part: int) -> nn.Module:
        prefix = f"layer.{part}."
        tensors = {k.removeprefix(prefix): x for k, x in own.items() if k.startswith(prefix)}
        module = _make_like(layer, tensors)
        module.load_state_dict(tensors, assign=True)
        return module.train(layer.training)

    return Each(parts, make)


def _make_like(layer: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return a layer of the same kind as `layer` for the shapes of `tensors`, without memory."""
    outputs, inputs = tensors["weight"].shape[:2]
    with torch.device("meta"):
        if isinstance(layer, Strided):
            return Strided(inputs, outputs, layer.kernel_size[0], stride=layer.stride[0])
        if isinstance(layer, Convolution):
            padding = cast(int, layer.padding[0])
            return Convolution(inputs, outputs, layer.kernel_size[0], padding=padding)
        return nn.Linear(inputs, outputs, bias="bias" in tensors)


def cut_parameters(whole: Mapping[str, Tensor], cuts: Cuts, parts: Parts) -> dict[str, Tensor]:
    """Return the parameters of the own parts, copied, by the names that they have in a part.

    Parameters of layers that are not cut are returned as they are.
    """
    own = {}
    for name, x in whole.items():
        layer, _, kind = name.partition(".")
        if layer not in cuts:
            own[name] = x
            continue
        dim = _find_dim(cuts[layer], kind)
        for part in parts.own:
            if dim is not None:
                own[f"{layer}.{part}.{kind}"] = x.chunk(parts.total, dim)[part].clone()
            elif part == 0:
                own[f"{layer}.{part}.{kind}"] = x.clone()
    return own


def join_parameters(own: Mapping[str, Tensor], cuts: Cuts, parts: Parts) -> dict[str, Tensor]:
    """Return the whole parameters under their own names, on the CPU, on process 0.

    `own` has this process's parts by name, as `cut_parameters` returned them. All processes have to
    call this together. The others get an empty dict: one parameter at a time is gathered and
    dropped there, so that no process but 0 needs memory for all.
    """
    whole = {}
    for name in _list_whole_names(own, cuts):
        layer, _, kind = name.partition(".")
        if layer not in cuts:
            joined = own[name]
        elif (dim := _find_dim(cuts[layer], kind)) is None:
            joined = own.get(f"{layer}.0.{kind}", torch.empty(0))  # process 0 has part 0
        else:
            mine = torch.stack([own[f"{layer}.{part}.{kind}"].detach() for part in parts.own])
            joined = torch.cat(torch.cat(parts.peers.all_gather(mine)).unbind(), dim)
        if parts.peers.rank == 0:
            whole[name] = joined.detach().cpu()
    return whole


def _list_whole_names(own: Mapping[str, Tensor], cuts: Cuts) -> list[str]:
    """Return the names of the whole parameters in order; the same on all processes."""
    names = []
    for name in own:
        layer, *middle, kind = name.split(".")
        names.append(f"{layer}.{kind}" if layer in cuts else ".".join((layer, *middle, kind)))
    biases = (f"{layer}.bias" for layer, how in cuts.items() if how == "inputs")
    return sorted({*names, *biases})


def _find_dim(how: str, kind: str) -> int | None:
    """Return the dimension along which a weight or bias is cut; None if part 0 has all of it."""
    if how == "units":
        return 0
    return 1 if kind == "weight" else None
