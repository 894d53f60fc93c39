"""Each kernel beside its formula, beside what PyTorch has, and beside the bytes that it must move.

python benchmarks/kernels.py                  # on the CPU, or on CUDA if there is one
python benchmarks/kernels.py --threads 1

Everyone takes a turn in every round; of a block of a network it is the forward and backward pass.
The bytes are those of reading every input and writing every result once; the machine's copy rate
stands below the table.
"""

from __future__ import annotations

import copy
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.device import keep_memory
from alexnet.kernels import crop, norm_pool, references_only, relu_pool
from alexnet.kernels.runtime.layout import count_windows, to_channels_last
from alexnet.kernels.within_channel.operator import within_channel_norm
from alexnet.nets.layers import Convolution, Strided, by_depth, round_up
from alexnet.nets.local import Local
from interleave import machine, options, times_for, write_json

LEAST_ON_GPU = 0.1
"""Seconds of a turn there: hundreds of launches, so that starting the first does not count."""
KERNEL, FORMULA, PLAIN, LAST = "ours", "formula", "PyTorch, NCHW", "PyTorch, channels_last"


@dataclass
class Case:
    """One operation and the ways to compute it."""

    name: str
    images: int
    bytes: int
    """That must be moved for an image."""
    ways: dict[str, Callable[[], Any]]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    peak_device: dict[str, int] = field(default_factory=dict)
    note: str = ""
    """For the line below."""


def block(
    name: str, operation: Any, eager: Any, shape: tuple[int, ...], dtype: torch.dtype
) -> Case:
    """Forward and backward of `operation`, its formula, and PyTorch's `eager` on N C H W."""
    images, maps, size, _ = shape
    plain, small = torch.randn(shape).to(DEVICE, dtype), count_windows(size, 3, 2)
    gradient = torch.randn(images, maps, small, small).to(DEVICE, dtype)
    inputs = [plain, gradient]
    lasting = [to_channels_last(x) for x in inputs]
    ways = {
        KERNEL: partial(step, operation, *lasting),
        FORMULA: partial(by_formula, step, operation, *lasting),
        PLAIN: partial(step, eager, *inputs),
        LAST: partial(step, eager, *lasting),
    }
    floats = 3 * size * size + 2 * small * small  # x twice, its gradient; results, their gradients
    positions = 2 * small * small
    return Case(name, images, maps * (dtype.itemsize * floats + positions), ways)


def step(operation: Callable[[Tensor], Tensor], x: Tensor, gradient: Tensor) -> None:
    x = x.detach().requires_grad_()
    operation(x).backward(gradient)


def by_formula(work: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    with references_only():
        work(*arguments, **options)


def eager_norm_pool(x: Tensor) -> Tensor:
    x = F.local_response_norm(F.relu(x), 5, alpha=5e-4, beta=0.75, k=2.0)
    return F.max_pool2d(x, 3, 2, ceil_mode=True)


def eager_max(x: Tensor) -> Tensor:
    return F.max_pool2d(F.relu(x), 3, 2, ceil_mode=True)


def eager_avg(x: Tensor) -> Tensor:
    return F.avg_pool2d(F.relu(x), 3, 2, ceil_mode=True, count_include_pad=False)


def local(images: int, dtype: torch.dtype) -> Case:
    """A locally connected layer of the 2012 code, beside the convolution of the same size."""
    layer, shared = Local(64, 64, side=6), nn.Conv2d(64, 64, 3, padding=1)
    layer, shared = (way.to(DEVICE, dtype) for way in (layer, shared))
    shared = shared.to(memory_format=torch.channels_last)
    lasting = [to_channels_last(torch.randn(images, 64, 6, 6).to(DEVICE, dtype)) for _ in range(2)]
    work = partial(train, layer, *lasting)
    ways = {
        KERNEL: work,
        FORMULA: partial(by_formula, work),
        "convolution, channels_last": partial(train, shared, *lasting),
    }
    weights = sum(parameters.numel() for parameters in layer.parameters())
    floats = 3 * weights // images + 5 * 64 * 6 * 6
    return Case("locally connected  64× 6× 6", images, floats * dtype.itemsize, ways)


def train(layer: nn.Module, x: Tensor, gradient: Tensor) -> None:
    layer.zero_grad()
    step(layer, x, gradient)


def first_layer(images: int, dtype: torch.dtype) -> Case:
    """conv1 of the large networks: as the network computes it, and both ways there are."""
    layer = Strided(3, 96, 11, stride=4).to(DEVICE, memory_format=torch.channels_last)
    layer.prepare(dtype)
    weights = layer.weight, layer.bias
    x, gradient = torch.randn(images, 3, 224, 224), torch.randn(images, 96, 55, 55)
    x, gradient = to_channels_last(x.to(DEVICE)), to_channels_last(gradient.to(DEVICE, dtype))

    def by(way: Callable[[], Tensor]) -> None:
        layer.zero_grad()
        with torch.autocast(DEVICE, dtype, enabled=dtype != torch.float32):
            result = way()
        result.backward(gradient)

    ways = {
        KERNEL: partial(by, lambda: layer(x)),
        "11×11, stride 4": partial(by, lambda: nn.Conv2d.forward(layer, round_up(x, 11, 4))),
        "by space to depth": partial(by, lambda: by_depth(x.to(dtype), *weights, 4)),
    }
    floats = 2 * x[0].numel() + 2 * gradient[0].numel()
    return Case("conv1, trained   96×55×55", images, floats * dtype.itemsize, ways)


def convolutions(images: int) -> Iterator[Case]:
    """conv2, conv3 and conv4 beside the library's, where the network has a way of its own."""
    for name, layer, side in (
        ("conv2, trained 256×27×27", Convolution(96, 256, 5, padding=2, groups=2), 27),
        ("conv3, trained 384×13×13", Convolution(256, 384, 3, padding=1), 13),
        ("conv4, trained 384×13×13", Convolution(384, 384, 3, padding=1, groups=2), 13),
    ):
        layer.to(memory_format=torch.channels_last)
        x = to_channels_last(torch.randn(images, layer.in_channels, side, side))
        gradient = torch.randn_like(layer(x))
        work = partial(train, layer, x, gradient)
        ways = {KERNEL: work, "the library's": partial(by_formula, work)}
        floats = 3 * (x.numel() + gradient.numel() + layer.weight.numel()) // images
        yield Case(name, images, 4 * floats, ways, note=rounding(layer, x, gradient))


def rounding(layer: nn.Module, x: Tensor, gradient: Tensor) -> str:
    """How far outputs and gradients are from exact ones, as parts of their size: the worst."""
    exact = outcome(copy.deepcopy(layer).double(), x.double(), gradient.double())
    found = [outcome(layer, x, gradient)]
    with references_only():
        found.append(outcome(layer, x, gradient))
    ours, theirs = (
        max(((a - b).norm() / b.norm()).item() for a, b in zip(one, exact, strict=True))
        for one in found
    )
    return f"  rounding of outputs and gradients: ours {ours:.0e}, the library's {theirs:.0e}"


def outcome(layer: nn.Module, x: Tensor, gradient: Tensor) -> list[Tensor]:
    """Outputs, and the gradients of the input and the weights."""
    x = x.detach().requires_grad_()
    y = layer(x)
    return [y, *torch.autograd.grad(y, [x, *layer.parameters()], gradient)]


def within_maps(images: int, dtype: torch.dtype) -> Case:
    """The response norm of the 2012 code's CIFAR networks, over 9×9 pixels of one map."""
    lasting = [
        to_channels_last(torch.randn(images, 64, 12, 12).to(DEVICE, dtype)) for _ in range(2)
    ]
    work = partial(step, partial(within_channel_norm, n=9, alpha=0.001), *lasting)
    ways = {KERNEL: work, FORMULA: partial(by_formula, work)}
    return Case("norm within maps   64×12×12", images, 5 * 64 * 144 * dtype.itemsize, ways)


def crops(pixels: str, images: int, dtype: torch.dtype) -> Case:
    """Random 224×224 crops of 256×256 records, ours and its formula."""
    shape = (256, 256, 3) if pixels == "rgb" else (98304,)
    records = torch.randint(0, 256, (2 * images, *shape), dtype=torch.uint8, device=DEVICE)
    draw = {
        "tops": torch.randint(0, 33, (images,)),
        "lefts": torch.randint(0, 33, (images,)),
        "flips": torch.rand(images) < 0.5,
        "shifts": torch.randn(images, 3),
        "mean": torch.rand(256, 256, 3) * 255,
    }
    draw = {name: value.to(DEVICE) for name, value in draw.items()}
    chosen = torch.randperm(2 * images)[:images].to(DEVICE)
    out = torch.empty(images, 3, 224, 224, dtype=dtype, device=DEVICE)
    how = {**draw, "size": 224, "side": 256, "scale": 1.0, "pixels": pixels}
    work = partial(crop, records, chosen, out=to_channels_last(out), **how)
    ways = {KERNEL: work, FORMULA: partial(by_formula, work)}
    read = 224 * 224 * 3 // (1 if pixels == "rgb" else 2)
    return Case(f"crops, {pixels}", images, read + 224 * 224 * 3 * dtype.itemsize, ways)


def cases(batch: int, dtype: torch.dtype) -> list[Case]:
    norm = partial(norm_pool, towers=1)
    average = partial(relu_pool, kind="avg")
    return [
        block("ReLU, norm, pool  96×55×55", norm, eager_norm_pool, (batch, 96, 55, 55), dtype),
        block("ReLU, norm, pool 256×27×27", norm, eager_norm_pool, (batch, 256, 27, 27), dtype),
        block("ReLU, max pool   256×13×13", relu_pool, eager_max, (8 * batch, 256, 13, 13), dtype),
        block("ReLU, max pool    32×32×32", relu_pool, eager_max, (8 * batch, 32, 32, 32), dtype),
        block("ReLU, mean pool   64× 8× 8", average, eager_avg, (32 * batch, 64, 8, 8), dtype),
        first_layer(4 * batch, dtype),
        *(convolutions(4 * batch) if DEVICE == "cpu" and dtype == torch.float32 else ()),
        within_maps(8 * batch, dtype),
        local(8 * batch, dtype),
        crops("rgb", 4 * batch, dtype),
        crops("yuv420", 4 * batch, dtype),
    ]


def timed(work: Callable[[], Any], times: int = 1) -> float:
    """Seconds of one of so many turns, with everything that they put on the device done."""
    wait()
    began = time.perf_counter()
    for _ in range(times):
        work()
    wait()
    return (time.perf_counter() - began) / times


def wait() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def measure(case: Case, rounds: int) -> None:
    """Let every way warm up, then take turns; without those that PyTorch does not have."""
    for name, work in list(case.ways.items()):
        if DEVICE == "cuda":
            torch.cuda.reset_peak_memory_stats()
        try:
            timed(work)
        except NotImplementedError:
            del case.ways[name]
            continue
        case.peak_device[name] = torch.cuda.max_memory_allocated() if DEVICE == "cuda" else 0
        case.seconds[name] = []
    least = LEAST_ON_GPU if DEVICE == "cuda" else 0.0
    times = {name: times_for(least, timed(work)) for name, work in case.ways.items() if least}
    for _ in range(rounds):
        for name, work in case.ways.items():
            case.seconds[name].append(timed(work, times.get(name, 1)))


def rows(case: Case) -> list[str]:
    """A line for each way: time an image, times slower than ours, bytes a second."""
    ours, lines = case.seconds[KERNEL], []
    for name, seconds in case.seconds.items():
        each = [1e6 * s / case.images for s in seconds]
        slower = statistics.median(s / o for s, o in zip(seconds, ours, strict=True))
        speed = case.bytes * case.images / statistics.median(seconds) / 1e9
        spread = f"{statistics.median(each):,.1f} [{min(each):,.1f}–{max(each):,.1f}]"
        memory = f"{case.peak_device[name] / 2**30:8.2f}G" if case.peak_device[name] else ""
        lines.append(f"  {name:<26}{spread:>30}{slower:>9.1f}×{speed:>9.1f}{memory}")
    title = f"{case.name}, {case.images} images, {case.bytes / 1e6:.2f} MB an image"
    return [title, *lines, *filter(None, [case.note])]


def copy_rate(rounds: int) -> float:
    """GB/s, read and written, of copying 256 MiB."""
    source = torch.zeros(2**28, dtype=torch.uint8, device=DEVICE)
    target = torch.ones_like(source)
    return (
        2 * source.numel() / min(timed(lambda: target.copy_(source)) for _ in range(rounds)) / 1e9
    )


def main() -> None:
    global DEVICE
    parser = options(__doc__, rounds=7, batch=0, threads=0)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="bfloat16 on CUDA")
    chosen = parser.parse_args()
    DEVICE, cuda = chosen.device, chosen.device == "cuda"
    torch.set_num_threads(chosen.threads or torch.get_num_threads())
    keep_memory()  # as the program does: fresh pages would be most of some blocks' time
    dtype = getattr(torch, chosen.dtype or ("bfloat16" if cuda else "float32"))
    found = cases(chosen.batch or (512 if cuda else 16), dtype)
    print(f"{str(dtype)[6:]}, {torch.get_num_threads()} threads")
    print(f"{'':<28}{'µs an image':>30}{'× ours':>10}{'GB/s':>9}{'  device' if cuda else ''}")
    for number, case in enumerate(found, 1):
        measure(case, chosen.rounds)
        print("\n".join(rows(case)), flush=True)
        if chosen.json:
            write(chosen.json, found[:number], dtype=str(dtype), finished=False)
    copied = copy_rate(chosen.rounds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"copying: {copied:.1f} GB/s; peak resident: {peak / 2**30:.2f} GiB")
    if chosen.json:
        more = {"copy_gb_per_second": copied, "peak_resident": peak, "finished": True}
        write(chosen.json, found, dtype=str(dtype), **more)


def write(path: Any, found: list[Case], **more: Any) -> None:
    names = "name", "images", "bytes", "seconds", "peak_device"
    numbers = [{name: getattr(case, name) for name in names} for case in found]
    write_json(path, {**machine(DEVICE), **more, "rows": numbers})


DEVICE = "cpu"

if __name__ == "__main__":
    main()
