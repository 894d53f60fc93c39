"""The two towers of Figure 2 as two networks, one for each of two processes.

Each tower has half of the kernels of conv1 to conv5, half of the units of fc6 and fc7, and half of
the inputs of fc8. "The GPUs communicate only in certain layers" (section 3.1): here, before conv3,
fc6 and fc7 each tower receives the units of the other; fc8 adds the shares of both.

             ┌ conv1 ─ conv2 ┐ ┌ conv3 ─ conv4 ─ conv5 ┐ ┌ fc6 ┐ ┌ fc7 ┐ ┌ fc8 ┐
    image ───┤               ├─┤                       ├─┤     ├─┤     ├─┤     + ── logits
             └ conv1 ─ conv2 ┘ └ conv3 ─ conv4 ─ conv5 ┘ └ fc6 ┘ └ fc7 ┘ └ fc8 ┘

One process can hold both towers; the results have the same bits then. They differ from those of
`nets.AlexNet` by rounding, as sums are formed in another order. Called by `training`.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from alexnet.nets.alexnet import AlexNet, Pool
from alexnet.parallel.exchange import Parts, Peers, gather_parts, sum_parts
from alexnet.parallel.parts import Cuts, Each, PartialDropout, cut_layer

CUTS: Cuts = {
    **dict.fromkeys(("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"), "units"),
    "fc8": "inputs",
}


class Towers(nn.Module):
    """The towers of a network that this process holds, two or one of them.

    Images minus the mean → logits, (N, 3, size, size) → (N, classes). All processes are given the
    same images, and get the same logits.
    """

    cuts = CUTS

    def __init__(self, network: nn.Module, peers: Peers, wire: torch.dtype | None = None) -> None:
        """Take the own towers out of a network; its weights are copied.

        `wire`: the type in which units and gradients are exchanged, such as torch.bfloat16; by
        default the one they have. Raises ValueError for a network that is not two towers, or for
        more than two processes.
        """
        super().__init__()
        network = check_towers(network)
        self.parts = parts = Parts(2, peers, wire)
        cut = partial(cut_layer, parts=parts)
        self.conv1, self.conv2 = cut(network.conv1), cut(network.conv2)
        self.conv3, self.conv4, self.conv5 = map(cut, (network.conv3, network.conv4, network.conv5))
        self.fc6, self.fc7 = cut(network.fc6), cut(network.fc7)
        self.fc8 = cut(network.fc8, how="inputs")
        self.pool1, self.pool2, self.pool5 = (
            Each(parts, partial(_make_pool, whole))
            for whole in (network.pool1, network.pool2, network.pool5)
        )
        unit = network.unit3
        self.unit = Each(parts, lambda part: unit)
        self.dropout6, self.dropout7 = (
            Each(parts, partial(PartialDropout, whole, total=2))
            for whole in (network.dropout6, network.dropout7)
        )

    # fmt: off
    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, classes)."""              # in each tower:  N   3 224 224
        x = self.pool1(self.conv1([images] * self.parts.each))          # N  48  27  27
        x = self.pool2(self.conv2(x))                                   # N 128  13  13
        x = self.unit(self.conv3(gather_parts(x, self.parts)))          # N 192  13  13
        x = self.unit(self.conv4(x))                                    # N 192  13  13
        x = self.pool5(self.conv5(x))                                   # N 128   6   6
        x = [whole.contiguous().flatten(1) for whole in gather_parts(x, self.parts)]
        x = self.dropout6(self.unit(self.fc6(x)))                       # N 2048
        x = self.dropout7(self.unit(self.fc7(gather_parts(x, self.parts))))     # N 2048
        return sum_parts(self.fc8(x), self.parts)                       # N classes
    # fmt: on


def _make_pool(whole: Pool, part: int) -> Pool:
    """Return the stages of one tower: its response norms see its own maps only."""
    return Pool(whole.unit, whole.norm, whole.size == 3)


def check_towers(network: nn.Module) -> AlexNet:
    """Return the network. Raises ValueError unless it is two towers as in Figure 2."""
    cure = (
        "The network `alexnet` can be (--network alexnet, without the variations towers=1 and "
        "without=…); any network can be trained with --devices replicas"
    )
    if type(network) is not AlexNet:
        raise ValueError(
            f"{type(network).__name__} cannot be spread over two processes as towers: where its "
            f"halves are and where they read each other is only known for Figure 2. {cure}"
        )
    if network.conv1.out_channels != 96:
        raise ValueError(f"a network with towers=1 has no second tower to put elsewhere. {cure}")
    if any(isinstance(getattr(network, name), nn.Identity) for name in CUTS):
        raise ValueError(
            "a network in which layers are left out (without=…) cannot be spread over two "
            f"processes: its towers read each other elsewhere than in Figure 2. {cure}"
        )
    return network
