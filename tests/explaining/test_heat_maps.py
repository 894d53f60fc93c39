"""Grad-CAM and occlusion: against their formulas, and on pictures whose answer is known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from alexnet.explaining.heat_maps import (
    compute_grad_cam,
    compute_occlusion,
    find_last_convolution,
)
from alexnet.nets import build
from alexnet.nets.layers import pass_through


class Corner(nn.Module):
    """Class 0 is the brightness of the top left quarter, class 1 is nothing."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        self.conv.weight.data = torch.tensor([[1.0, 1, 1], [-1, -1, -1]])[..., None, None]

    def forward(self, x, hook=pass_through):
        maps = F.relu(hook("conv1", self.conv(x)))
        side = x.shape[-1] // 2
        bright = maps[:, 0, :side, :side].mean((1, 2))
        return hook("fc2", torch.stack([bright, torch.zeros_like(bright)], 1))


SIDES = {"alexnet": 67, "cifar-11pct": 24}


def make_network(name):
    """A network of five classes with weights; of the paper's, only the convolutions, for speed."""
    without = {"without": ("fc6", "fc7")} if name == "alexnet" else {}
    network = build(name, 5, SIDES.get(name, 32), **without).eval()
    network.initialize("variance")
    return network


def test_the_last_convolution_is_found_by_its_name():
    network = make_network("alexnet")
    assert find_last_convolution(network, torch.zeros(1, 3, 67, 67)) == "conv5"
    assert find_last_convolution(Corner(), torch.zeros(1, 3, 8, 8)) == "conv1"


@pytest.mark.parametrize("name", ["alexnet", "cifar", "cifar-11pct", "figure1-tanh"])
def test_grad_cam_is_its_formula(name):
    torch.manual_seed(0)
    network, side = make_network(name), SIDES.get(name, 32)
    images = torch.randn(2, 3, side, side).contiguous(memory_format=torch.channels_last)
    layer = find_last_convolution(network, images[:1])
    kept = {}

    def keep(layer_name, x):
        if layer_name == layer:
            kept["maps"] = x if name == "figure1-tanh" else F.relu(x)
            kept["maps"].retain_grad()
            return kept["maps"]
        return x

    network(images, keep)[[0, 1], [3, 1]].sum().backward()
    maps, gradient = kept["maps"].detach(), kept["maps"].grad
    alpha = gradient.mean((2, 3), keepdim=True)
    expected = F.relu((alpha * maps).sum(1)).numpy()
    found = compute_grad_cam(network, images, torch.tensor([3, 1]))
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-5 * float(expected.max() + 1e-9))
    assert found.min() >= 0
    assert found.any()


def test_grad_cam_and_occlusion_point_to_what_decides():
    image = torch.ones(1, 3, 16, 16)
    cam = compute_grad_cam(Corner(), image, torch.tensor([0]))[0]
    assert cam.shape == (16, 16)
    lost = compute_occlusion(Corner(), image[0], 0, patch=4, stride=2)
    assert lost.shape == (16, 16)
    assert lost[:6, :6].min() > 10 * abs(lost[10:, 10:]).max()
    assert np.abs(lost[11:, 11:]).max() < 1e-6


def test_an_occlusion_is_the_mean_loss_of_the_squares_that_cover_a_pixel():
    torch.manual_seed(1)
    network, image = Corner(), torch.rand(3, 6, 6)
    found = compute_occlusion(network, image, 0, patch=2, stride=1)
    whole = network(image[None]).softmax(1)[0, 0].detach()
    losses = []
    for top in (2, 3):  # the squares that cover pixel (3, 3)
        for left in (2, 3):
            covered = image.clone()
            covered[:, top : top + 2, left : left + 2] = 0
            losses.append(float(whole - network(covered[None]).softmax(1)[0, 0].detach()))
    assert found[3, 3] == pytest.approx(np.mean(losses), abs=1e-6)


def test_a_layer_without_maps_is_refused():
    images = torch.zeros(1, 3, 32, 32)
    with pytest.raises(ValueError, match="no layer 'fc4' with maps"):
        compute_grad_cam(build("cifar").eval(), images, torch.tensor([0]), "fc4")
    with pytest.raises(ValueError, match="no layer 'conv9'"):
        compute_grad_cam(build("cifar").eval(), images, torch.tensor([0]), "conv9")
