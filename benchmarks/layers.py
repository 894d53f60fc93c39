"""Time the five convolutions of the paper's network, each in the ways a library can compute it.

python benchmarks/layers.py --batch 128 --dtype bfloat16

conv2, conv4 and conv5 have two groups (Figure 2). They are computed as one grouped convolution, as
two convolutions on halves of the channels, and as a dense one whose weights between the groups are
zero. conv1 is computed as a strided convolution and by space to depth. Timed are the forward pass,
and the forward and backward pass together: the gradients of the weights, the biases and, except for
conv1, the input. All ways of a layer take turns.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.nets.layers import convolve_space_to_depth, round_up
from interleave import Turn, machine, options, timed, times_for, write_json

Way = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Input (N, C, H, W), weight (M, C / groups, k, k), bias (M) → (N, M, H', W')."""
LEAST_ON_GPU = 0.5
"""Shortest turn on a GPU, in seconds: clocks need a while to settle."""


@dataclass(frozen=True)
class Layer:
    """One convolution of Figure 2."""

    name: str
    inputs: int
    """Channels of the input."""
    outputs: int
    """Channels of the output."""
    side: int
    """Height and width of the input."""
    kernel: int
    """Height and width of a filter."""
    groups: int = 1
    stride: int = 1

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the grouped convolution for one image, forward."""
        side = math.ceil((self.side - self.kernel) / 4) + 1 if self.stride == 4 else self.side
        return side**2 * self.outputs * self.inputs // self.groups * self.kernel**2

    @property
    def ways(self) -> dict[str, Way]:
        """The ways to compute the layer, by name. All have the same result."""
        if self.stride > 1:
            kernel, stride = self.kernel, self.stride
            return {
                "dense": lambda x, w, b: F.conv2d(round_up(x, kernel, stride), w, b, stride),
                "space to depth": lambda x, w, b: convolve_space_to_depth(x, w, b, stride),
            }
        padding = self.kernel // 2
        if self.groups == 1:
            return {"dense": partial(F.conv2d, padding=padding)}
        return {
            "grouped": partial(F.conv2d, padding=padding, groups=self.groups),
            "split": partial(convolve_halves, padding=padding),
            "dense": partial(convolve_dense, padding=padding),
        }


LAYERS = [
    Layer("conv1", 3, 96, 224, 11, stride=4),
    Layer("conv2", 96, 256, 27, 5, groups=2),
    Layer("conv3", 256, 384, 13, 3),
    Layer("conv4", 384, 384, 13, 3, groups=2),
    Layer("conv5", 384, 256, 13, 3, groups=2),
]


def convolve_halves(x: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
    """Compute a convolution in two groups as two convolutions, each of half the channels."""
    parts = zip(x.chunk(2, 1), weight.chunk(2), bias.chunk(2), strict=True)
    return torch.cat([F.conv2d(*part, padding=padding) for part in parts], 1)


def convolve_dense(x: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
    """Compute a convolution in two groups as one, with zero weights from one group to the other.

    weight   w₁  0       (M, C, k, k) instead of (M, C / 2, k, k)
             0   w₂
    """
    first, second = weight.chunk(2)
    inputs = weight.shape[1]
    padded = [F.pad(first, (0, 0, 0, 0, 0, inputs)), F.pad(second, (0, 0, 0, 0, inputs, 0))]
    return F.conv2d(x, torch.cat(padded), bias, padding=padding)


@dataclass
class Timing:
    """What was measured of one layer, computed in one way."""

    layer: str
    way: str
    images: int
    multiply_adds: int
    forward: list[float] = field(default_factory=list)
    """Seconds per batch of the forward pass, one number for each round."""
    both: list[float] = field(default_factory=list)
    """Seconds per batch of the forward and backward pass together."""
    difference: float = 0.0
    """The largest difference of outputs and gradients from those of the first way, relative to the
    largest number in the tensor."""

    def format(self) -> str:
        """Format as a line: microseconds per image forward, backward, both; TFLOP/s of both."""
        forward, both = (
            1e6 * statistics.median(s) / self.images for s in (self.forward, self.both)
        )
        passes = 2 if self.layer == "conv1" else 3  # the gradient of the images is not needed
        rate = passes * 2 * self.multiply_adds / both / 1e6
        times = f"{forward:10.2f}{both - forward:10.2f}{both:10.2f}"
        return f"{self.layer:<7}{self.way:<16}{times}{rate:10.2f}{self.difference:10.0e}"


@dataclass
class Data:
    """Inputs of a layer, and the gradient of its outputs, all channels_last."""

    inputs: list[Tensor]
    """Images (N, C, H, W), weight, bias."""
    gradient: Tensor

    @classmethod
    def of(cls, layer: Layer, batch: int, device: str, dtype: torch.dtype) -> Data:
        """Draw random inputs for a layer, always the same."""
        torch.manual_seed(0)
        x = torch.randn(batch, layer.inputs, layer.side, layer.side)
        weight = torch.randn(
            layer.outputs, layer.inputs // layer.groups, layer.kernel, layer.kernel
        )
        weight /= math.sqrt(weight[0].numel())
        x, weight = (t.to(device, dtype, memory_format=torch.channels_last) for t in (x, weight))
        bias = torch.randn(layer.outputs).to(device, dtype)
        x.requires_grad_(layer.name != "conv1")
        inputs = [x, weight.requires_grad_(), bias.requires_grad_()]
        outputs = next(iter(layer.ways.values()))(*inputs)
        return cls(inputs, torch.randn_like(outputs))

    def run_forward(self, way: Way) -> int:
        """Run the forward pass; return the number of images."""
        with torch.no_grad():
            way(*self.inputs)
        return len(self.gradient)

    def run_both(self, way: Way) -> int:
        """Run the forward and the backward pass; return the number of images."""
        compute_gradients(way, self.inputs, self.gradient)
        return len(self.gradient)


def measure(layer: Layer, batch: int, rounds: int, device: str, dtype: torch.dtype) -> list[Timing]:
    """Measure all ways of a layer, which take turns."""
    ways, data = layer.ways, Data.of(layer, batch, device, dtype)
    results = [compute_gradients(way, data.inputs, data.gradient) for way in ways.values()]
    rows = [
        Timing(layer.name, name, batch, layer.multiply_adds, difference=compare(result, results[0]))
        for name, result in zip(ways, results, strict=True)
    ]
    for one_pass, seconds in (data.run_forward, "forward"), (data.run_both, "both"):
        turns = [partial(one_pass, way) for way in ways.values()]
        times = [count_repetitions(turn, device) for turn in turns]
        for _ in range(rounds):
            for row, turn, n in zip(rows, turns, times, strict=True):
                getattr(row, seconds).append(timed(turn, device, n)[1] / n)
    return rows


def count_repetitions(turn: Turn, device: str) -> int:
    """Return how often to repeat a turn to make it long enough. It is warmed up afterwards."""
    timed(turn, device)
    if not device.startswith("cuda"):
        return 1
    few = times_for(LEAST_ON_GPU / 10, timed(turn, device)[1])
    return times_for(LEAST_ON_GPU, timed(turn, device, few)[1] / few)


def compare(results: list[Tensor], expected: list[Tensor]) -> float:
    """Return the largest difference, relative to the largest number of the tensor it is in."""
    pairs = zip(results, expected, strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def compute_gradients(way: Way, inputs: list[Tensor], gradient: Tensor) -> list[Tensor]:
    """Return the outputs, and the gradients of all inputs that require one."""
    y = way(*inputs)
    required = [x for x in inputs if x.requires_grad]
    return [y.detach(), *torch.autograd.grad(y, required, gradient)]


def main() -> None:
    parser = options(__doc__, batch=128, rounds=4)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="bfloat16 on CUDA")
    args = parser.parse_args()
    name = args.dtype or ("bfloat16" if args.device.startswith("cuda") else "float32")
    torch.backends.cudnn.deterministic = True  # as in training
    print(f"{name}, {args.batch} images, microseconds per image")
    titles = "forward", "backward", "both", "TFLOP/s", "differs"
    print(f"{'':<23}" + "".join(f"{title:>10}" for title in titles))
    rows: list[Timing] = []
    facts = {"batch": args.batch, "dtype": name}
    for number, layer in enumerate(LAYERS, 1):
        measured = measure(layer, args.batch, args.rounds, args.device, getattr(torch, name))
        print("\n".join(row.format() for row in measured), flush=True)
        rows += measured
        if args.json:
            finished = {"finished": number == len(LAYERS), "rows": [vars(row) for row in rows]}
            write_json(args.json, {**machine(args.device), **facts, **finished})


if __name__ == "__main__":
    main()
