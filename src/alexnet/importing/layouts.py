"""Which network a file holds; its names and shapes become those of this package.

    torchvision      features.0, .3, .6, .8, .10, classifier.1, .4, .6   → conv1 … conv5, fc6 … fc8
    Caffe            five Convolution and three InnerProduct layers, in that order, whatever their
                     names; where the LRN layers stand tells bvlc_alexnet from caffenet

The weights are still those of the file: `conversion` changes them. Every shape is compared with
that of the network, and Caffe's parameters (stride, padding, LRN) with what the network computes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from alexnet import nets
from alexnet.importing.caffe_files import CaffeLayer, read_caffemodel
from alexnet.importing.torch_files import read_pth, read_safetensors
from alexnet.sources.names import quote_names

PARTS = "weight", "bias"
"""The arrays of a layer, in Caffe's order."""
LAYERS = "conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"
TORCHVISION = dict(
    zip(
        (
            *("features.0", "features.3", "features.6", "features.8", "features.10"),
            *("classifier.1", "classifier.4", "classifier.6"),
        ),
        LAYERS,
        strict=True,
    )
)
"""torchvision's name of each layer → this package's."""

ORDERS = {"bvlc-alexnet": "C L P C L P C C C P I I I", "caffenet": "C P L C P L C C C P I I I"}
"""Network → the order of its convolutions, LRNs, poolings and inner products, by first letter."""
LETTERS = {"Convolution": "C", "LRN": "L", "Pooling": "P", "InnerProduct": "I"}


class Parameter(NamedTuple):
    """A number that a layer of Caffe has to have."""

    name: str
    field: int
    """Its number in caffe.proto."""
    default: float
    wanted: float


LRN = (
    Parameter("local_size", 1, 5, 5),
    Parameter("alpha", 2, 1, 1e-4),
    Parameter("beta", 3, 0.75, 0.75),
    Parameter("norm_region", 4, 0, 0),
    Parameter("k", 5, 1, 1),
)
POOLING = (
    Parameter("pool (0: MAX)", 1, 0, 0),
    Parameter("kernel_size", 2, 0, 3),
    Parameter("stride", 3, 1, 2),
    Parameter("pad", 4, 0, 0),
)
PADDING_AND_STRIDE = (0, 4), (2, 1), (1, 1), (1, 1), (1, 1)
"""Of each convolution, in order."""


@dataclass(frozen=True, eq=False)
class ForeignWeights:
    """The weights of another program's network, by this package's names."""

    network: str
    """Its name in `nets.NETS`: torchvision, bvlc-alexnet or caffenet."""
    weights: dict[str, Tensor]
    """float32, by this package's names and in its shapes, with the values of the file."""

    @property
    def n_classes(self) -> int:
        """The number of classes of the network."""
        return len(self.weights["fc8.bias"])


def read_weights(path: Path) -> ForeignWeights:
    """Read a file of weights; its extension says how.

    .pth, .pt, .bin or .safetensors: torchvision's network; .caffemodel: one of Caffe's. Raises
    FileNotFoundError or OSError if it cannot be read, ValueError if it is damaged or holds another
    network.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if path.suffix in (".pth", ".pt", ".bin"):
        return rename_torchvision(read_pth(path), path)
    if path.suffix == ".safetensors":
        return rename_torchvision(read_safetensors(path), path)
    if path.suffix == ".caffemodel":
        return rename_caffe(read_caffemodel(path), path)
    raise ValueError(
        f"{path.name!r} has to end in .pth, .pt, .bin or .safetensors (torchvision's alexnet), or "
        "in .caffemodel (Caffe's bvlc_alexnet and caffenet)"
    )


def rename_torchvision(tensors: dict[str, Tensor], path: Path) -> ForeignWeights:
    """Give torchvision's weights the names of this package.

    Raises ValueError if names or shapes are not those of torchvision's alexnet.
    """
    wanted = {
        f"{old}.{part}": f"{new}.{part}" for old, new in TORCHVISION.items() for part in PARTS
    }
    if "conv1.weight" in tensors:
        raise ValueError(f"{path} is a checkpoint of this program, which needs no import")
    if tensors.keys() != wanted.keys():
        raise ValueError(
            f"{path} is not torchvision's alexnet: it lacks "
            f"{quote_names(sorted(wanted.keys() - tensors.keys())) or 'nothing'} and has besides "
            f"{quote_names(sorted(tensors.keys() - wanted.keys())) or 'nothing'}"
        )
    renamed = {new: tensors[old] for old, new in wanted.items()}
    _check_shapes("torchvision", renamed, path)
    return ForeignWeights("torchvision", _as_float32(renamed, path))


def rename_caffe(layers: list[CaffeLayer], path: Path) -> ForeignWeights:
    """Find out which of Caffe's networks this is, and give its weights the names of this package.

    Raises ValueError if it is neither, or if a layer computes something else than the network.
    """
    known = [layer for layer in layers if layer.type in LETTERS]
    order = " ".join(LETTERS[layer.type] for layer in known)
    network = next((name for name, wanted in ORDERS.items() if wanted == order), None)
    if network is None:
        raise ValueError(
            f"{path} is neither bvlc_alexnet nor caffenet: the order of its layers is "
            f"{order[:80] or 'empty'}, not {' or '.join(ORDERS.values())} (C convolution, L LRN, "
            "P pooling, I inner product)"
        )
    for layer in known:
        _check_parameters(layer, {"LRN": LRN, "Pooling": POOLING}.get(layer.type, ()), path)
    weighted = [layer for layer in known if layer.type in ("Convolution", "InnerProduct")]
    for layer, (padding, stride) in zip(weighted, PADDING_AND_STRIDE, strict=False):
        own = Parameter("pad", 3, 0, padding), Parameter("stride", 6, 1, stride)
        _check_parameters(layer, own, path)
    weights: dict[str, Tensor] = {}
    for name, layer in zip(LAYERS, weighted, strict=True):
        if len(layer.blobs) != len(PARTS):
            raise ValueError(
                f"layer {quote_names([layer.name])} of {path} has {len(layer.blobs)} arrays, not "
                "weights and biases"
            )
        for part, blob in zip(PARTS, layer.blobs, strict=True):
            weights[f"{name}.{part}"] = torch.from_numpy(blob)
    weights = _drop_leading_ones(weights)
    _check_shapes(network, weights, path)
    return ForeignWeights(network, _as_float32(weights, path))


def _check_parameters(layer: CaffeLayer, wanted: tuple[Parameter, ...], path: Path) -> None:
    """Raise ValueError if a layer of Caffe has other numbers than the network computes with."""
    for x in wanted:
        found = layer.parameters.get(x.field, x.default)
        if not math.isclose(found, x.wanted, rel_tol=1e-5):
            raise ValueError(
                f"layer {quote_names([layer.name])} of {path} has {x.name} {found:g}, and the "
                f"networks that can be imported have {x.wanted:g}"
            )


def _drop_leading_ones(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give arrays of Caffe's first formats, which always have four dimensions, their own number.

    A bias (1, 1, 1, 96) becomes (96,), the weights (1, 1, 4096, 9216) of fc6 become (4096, 9216).
    """

    def own_shape(name: str, x: Tensor) -> Tensor:
        if name.endswith("bias"):
            return x.flatten()
        return x.flatten(0, -2) if name.startswith("fc") and x.dim() > 2 else x

    return {name: own_shape(name, x) for name, x in weights.items()}


def _check_shapes(network: str, weights: dict[str, Tensor], path: Path) -> None:
    """Raise ValueError unless the weights have the shapes of the network; nothing is copied."""
    bias = weights["fc8.bias"]
    if not bias.numel() or not bias.dim():
        raise ValueError(f"{path} has a last layer without classes")
    with torch.device("meta"):
        wanted = nets.build(network, len(bias)).state_dict()
    for name, like in wanted.items():
        if weights[name].shape != like.shape:
            raise ValueError(
                f"{path} does not fit the network {network!r}: {name} has the shape "
                f"{tuple(weights[name].shape)}, not {tuple(like.shape)}"
            )


def _as_float32(weights: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the weights as float32, each whole in memory.

    Raises ValueError for integers and for numbers that are not finite.
    """
    if other := [name for name, x in weights.items() if not x.is_floating_point() or x.is_meta]:
        raise ValueError(f"{path} has no floating-point numbers in {', '.join(other)}")
    if other := [name for name, x in weights.items() if not bool(x.isfinite().all())]:
        raise ValueError(
            f"{path} holds numbers in {', '.join(other)} that are not finite: it is damaged"
        )
    return {name: x.detach().float().contiguous() for name, x in weights.items()}
