"""What decided: which places of an image speak for a class.

Two ways that check each other. Grad-CAM asks the gradient of the class's logit in the last
convolutional layer; occlusion covers one place after the other and measures what that costs, and
needs no gradient. `show.heat_maps` draws both; `show.figures` and the page call this module.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

PATCHES_PER_BATCH = 64
"""Covered copies of an image that the network is given at a time."""


def find_last_convolution(network: nn.Module, image: Tensor) -> str:
    """Return the name of the last convolutional layer of a network: conv5 of the paper's.

    `image` is (1, 3, crop, crop). It is the last named layer that starts with "conv" and has maps,
    else the last that has maps of more than one pixel. Raises ValueError if no layer has.
    """
    with_maps: list[str] = []

    def note(name: str, x: Tensor) -> Tensor:
        if x.ndim == 4 and x.shape[-1] > 1:
            with_maps.append(name)
        return x

    with torch.no_grad():
        network(image, note)
    convolutions = [name for name in with_maps if name.startswith("conv")]
    if not with_maps:
        raise ValueError("the network has no layer with maps, so there is no Grad-CAM of it")
    return (convolutions or with_maps)[-1]


def compute_grad_cam(
    network: nn.Module, images: Tensor, labels: Tensor, layer: str | None = None
) -> NDArray[np.float32]:
    """Compute Grad-CAM of images for the class of each (arXiv 1610.02391, equations 1 and 2)::

        αₖ = mean over places of ∂ logit / ∂ Aₖ        A: the maps of the layer, after its ReLU
        L  = ReLU(Σₖ αₖ Aₖ)

    Args:
        network: in evaluation mode; `forward(x, hook)` shows every layer.
        images: network input, float (N, 3, crop, crop), on the network's device.
        labels: the class to explain for each image, int64 (N,), on the same device.
        layer: the layer whose maps are used; by default `find_last_convolution`.

    Returns float32 (N, height, width), ≥ 0, of the size of the layer's maps. Raises ValueError for
    a layer that the network does not have or that has no maps.
    """
    layer = layer or find_last_convolution(network, images[:1])
    with torch.no_grad():
        expected = network(images)
    for nonlinearity in (F.relu, torch.clone):
        maps, logits = _run_with_maps(network, images, layer, nonlinearity)
        if torch.allclose(logits, expected, rtol=1e-3, atol=1e-3):
            break  # the layer is followed by a ReLU, so a second one changes nothing
    chosen = logits.gather(1, labels[:, None]).sum()
    (gradient,) = torch.autograd.grad(chosen, maps)
    weights = gradient.float().mean((2, 3), keepdim=True)
    return F.relu((weights * maps.detach().float()).sum(1)).cpu().numpy()


def _run_with_maps(
    network: nn.Module, images: Tensor, layer: str, nonlinearity: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Run the network; return a layer's maps, from which gradients begin, and the logits.

    Networks show a convolution before its ReLU. `nonlinearity` is put in between.
    """
    found: list[Tensor] = []

    def begin(name: str, x: Tensor) -> Tensor:
        if name != layer:
            return x
        found.append(nonlinearity(x).detach().requires_grad_())
        return found[0].clone()  # a layer after it may work in place

    with torch.enable_grad():
        logits = network(images, begin)
    if not found or found[0].ndim != 4:
        raise ValueError(f"the network has no layer {layer!r} with maps")
    return found[0], logits.float()


@torch.inference_mode()
def compute_occlusion(
    network: nn.Module,
    image: Tensor,
    label: int,
    *,
    patch: int | None = None,
    stride: int | None = None,
) -> NDArray[np.float32]:
    """Measure how much probability of a class is lost where an image is covered.

    A square is put on one place after the other, as in section 4.2 of Zeiler & Fergus (arXiv
    1311.2901), also where it reaches beyond the edge, so that the corners count as much as the
    middle::

        ┌──┐                  the square has the color of the mean image, which is 0 in the
        │▒▒│────────┐         network's input
        └──┘  …     │
          │         │         place (y, x) of the result: the mean loss of probability over all
          └─────────┘         squares that cover pixel (y, x)

    Args:
        network: in evaluation mode.
        image: network input, float (3, crop, crop), on the network's device.
        label: the class.
        patch: side of the square in pixels; by default a quarter of the crop.
        stride: distance between places in pixels; by default a third of the square.

    Returns float32 (crop, crop), from −1 to 1.
    """
    side = image.shape[-1]
    patch = patch or max(2, side // 4)
    stride = stride or max(1, patch // 3)
    starts = range(-patch // 2, side - patch // 2 + 1, stride)
    places = [(top, left) for top in starts for left in starts]
    whole = float(network(image[None]).float().softmax(1)[0, label])
    loss, covered = np.zeros((side, side)), np.zeros((side, side))
    for first in range(0, len(places), PATCHES_PER_BATCH):
        part = places[first : first + PATCHES_PER_BATCH]
        batch = image.repeat(len(part), 1, 1, 1)
        for copy, (top, left) in zip(batch, part, strict=True):
            copy[:, max(0, top) : top + patch, max(0, left) : left + patch] = 0
        batch = batch.contiguous(memory_format=torch.channels_last)
        likely = network(batch).float().softmax(1)[:, label].cpu().numpy()
        for p, (top, left) in zip(likely, part, strict=True):
            window = slice(max(0, top), top + patch), slice(max(0, left), left + patch)
            loss[window] += whole - p
            covered[window] += 1
    return (loss / np.maximum(covered, 1)).astype(np.float32)
