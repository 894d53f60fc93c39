"""Time each kernel, its reference and PyTorch's own operators, beside the bytes that it must move.

python benchmarks/kernels.py                  # on the CPU, or on CUDA if there is one
python benchmarks/kernels.py --threads 1

All ways of computing an operation take a turn in every round; for the blocks of a network a turn is
the forward and backward pass. The bytes are those of reading every input and writing every result
once; the rate at which the machine copies memory stands below the table.
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
from alexnet.nets.layers import Convolution, Strided, convolve_space_to_depth, round_up
from alexnet.nets.local import Local
from interleave import machine, options, times_for, write_json

LEAST_ON_GPU = 0.1
"""Shortest turn on a GPU, in seconds: hundreds of launches, so that starting the first does not
count."""
KERNEL, REFERENCE = "ours", "reference"
PYTORCH, PYTORCH_LAST = "PyTorch, NCHW", "PyTorch, channels_last"
"""Names of the ways to compute an operation."""


@dataclass
class Case:
    """One operation, the ways to compute it, and what was measured of them."""

    name: str
    images: int
    bytes: int
    """Bytes that must be moved for one image."""
    ways: dict[str, Callable[[], Any]]
    """Name → a function that computes it once."""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """Seconds of a turn, one number for each round."""
    peak_device: dict[str, int] = field(default_factory=dict)
    """Bytes of GPU memory."""
    note: str = ""
    """Printed below the table of the case."""


def make_block(
    name: str, operation: Any, eager: Any, shape: tuple[int, ...], dtype: torch.dtype
) -> Case:
    """Make a case of a network's block: `operation`, its reference, and PyTorch's `eager`.

    shape: (N, C, H, W). Each is timed forward and backward.
    """
    images, channels, size, _ = shape
    plain, small = torch.randn(shape).to(DEVICE, dtype), count_windows(size, 3, 2)
    gradient = torch.randn(images, channels, small, small).to(DEVICE, dtype)
    inputs = [plain, gradient]
    inputs_last = [to_channels_last(x) for x in inputs]
    ways = {
        KERNEL: partial(run_both, operation, *inputs_last),
        REFERENCE: partial(run_reference, run_both, operation, *inputs_last),
        PYTORCH: partial(run_both, eager, *inputs),
        PYTORCH_LAST: partial(run_both, eager, *inputs_last),
    }
    floats = 3 * size * size + 2 * small * small  # x twice, its gradient; results, their gradients
    indices = 2 * small * small  # of the maxima, a byte each, written and read
    return Case(name, images, channels * (dtype.itemsize * floats + indices), ways)


def run_both(operation: Callable[[Tensor], Tensor], x: Tensor, gradient: Tensor) -> None:
    """Run the forward and the backward pass."""
    x = x.detach().requires_grad_()
    operation(x).backward(gradient)


def run_reference(work: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """Call `work` with the PyTorch references instead of the kernels."""
    with references_only():
        work(*arguments, **options)


def norm_pool_by_pytorch(x: Tensor) -> Tensor:
    x = F.local_response_norm(F.relu(x), 5, alpha=5e-4, beta=0.75, k=2.0)
    return F.max_pool2d(x, 3, 2, ceil_mode=True)


def max_pool_by_pytorch(x: Tensor) -> Tensor:
    return F.max_pool2d(F.relu(x), 3, 2, ceil_mode=True)


def avg_pool_by_pytorch(x: Tensor) -> Tensor:
    return F.avg_pool2d(F.relu(x), 3, 2, ceil_mode=True, count_include_pad=False)


def make_local(images: int, dtype: torch.dtype) -> Case:
    """Make a case of a locally connected layer of the 2012 code and a convolution of its size."""
    layer, shared = Local(64, 64, side=6), nn.Conv2d(64, 64, 3, padding=1)
    layer, shared = (way.to(DEVICE, dtype) for way in (layer, shared))
    shared = shared.to(memory_format=torch.channels_last)
    inputs = [to_channels_last(torch.randn(images, 64, 6, 6).to(DEVICE, dtype)) for _ in range(2)]
    work = partial(train_layer, layer, *inputs)
    ways = {
        KERNEL: work,
        REFERENCE: partial(run_reference, work),
        "convolution, channels_last": partial(train_layer, shared, *inputs),
    }
    weights = sum(parameters.numel() for parameters in layer.parameters())
    floats = 3 * weights // images + 5 * 64 * 6 * 6
    return Case("locally connected  64× 6× 6", images, floats * dtype.itemsize, ways)


def train_layer(layer: nn.Module, x: Tensor, gradient: Tensor) -> None:
    """Run the forward and the backward pass of a layer with weights."""
    layer.zero_grad()
    run_both(layer, x, gradient)


def make_first_layer(images: int, dtype: torch.dtype) -> Case:
    """Make a case of conv1 of the large networks: the network's way, and both possible ways."""
    layer = Strided(3, 96, 11, stride=4).to(DEVICE, memory_format=torch.channels_last)
    layer.prepare(dtype)
    weights = layer.weight, layer.bias
    x, gradient = torch.randn(images, 3, 224, 224), torch.randn(images, 96, 55, 55)
    x, gradient = to_channels_last(x.to(DEVICE)), to_channels_last(gradient.to(DEVICE, dtype))

    def train_by(way: Callable[[], Tensor]) -> None:
        layer.zero_grad()
        with torch.autocast(DEVICE, dtype, enabled=dtype != torch.float32):
            result = way()
        result.backward(gradient)

    ways = {
        KERNEL: partial(train_by, lambda: layer(x)),
        "11×11, stride 4": partial(train_by, lambda: nn.Conv2d.forward(layer, round_up(x, 11, 4))),
        "by space to depth": partial(
            train_by, lambda: convolve_space_to_depth(x.to(dtype), *weights, 4)
        ),
    }
    floats = 2 * x[0].numel() + 2 * gradient[0].numel()
    return Case("conv1, trained   96×55×55", images, floats * dtype.itemsize, ways)


def make_convolutions(images: int) -> Iterator[Case]:
    """Make cases of conv2, conv3 and conv4, by Winograd's method and by the library."""
    for name, layer, side in (
        ("conv2, trained 256×27×27", Convolution(96, 256, 5, padding=2, groups=2), 27),
        ("conv3, trained 384×13×13", Convolution(256, 384, 3, padding=1), 13),
        ("conv4, trained 384×13×13", Convolution(384, 384, 3, padding=1, groups=2), 13),
    ):
        layer.to(memory_format=torch.channels_last)
        x = to_channels_last(torch.randn(images, layer.in_channels, side, side))
        gradient = torch.randn_like(layer(x))
        work = partial(train_layer, layer, x, gradient)
        ways = {KERNEL: work, "the library's": partial(run_reference, work)}
        floats = 3 * (x.numel() + gradient.numel() + layer.weight.numel()) // images
        yield Case(name, images, 4 * floats, ways, note=describe_rounding(layer, x, gradient))


def describe_rounding(layer: nn.Module, x: Tensor, gradient: Tensor) -> str:
    """Return the largest relative error of outputs and gradients, of ours and of the library's.

    The error of a tensor is the norm of its difference from the float64 result over its norm.
    """
    exact = compute_gradients(copy.deepcopy(layer).double(), x.double(), gradient.double())
    results = [compute_gradients(layer, x, gradient)]
    with references_only():
        results.append(compute_gradients(layer, x, gradient))
    ours, library = (
        max(((a - b).norm() / b.norm()).item() for a, b in zip(result, exact, strict=True))
        for result in results
    )
    return f"  rounding of outputs and gradients: ours {ours:.0e}, the library's {library:.0e}"


def compute_gradients(layer: nn.Module, x: Tensor, gradient: Tensor) -> list[Tensor]:
    """Return the outputs, and the gradients of the input and the weights."""
    x = x.detach().requires_grad_()
    y = layer(x)
    return [y, *torch.autograd.grad(y, [x, *layer.parameters()], gradient)]


def make_within_channel(images: int, dtype: torch.dtype) -> Case:
    """Make a case of the response norm within channels of the 2012 code, over 9×9 pixels."""
    inputs = [to_channels_last(torch.randn(images, 64, 12, 12).to(DEVICE, dtype)) for _ in range(2)]
    work = partial(run_both, partial(within_channel_norm, n=9, alpha=0.001), *inputs)
    ways = {KERNEL: work, REFERENCE: partial(run_reference, work)}
    return Case("within-channel norm 64×12×12", images, 5 * 64 * 144 * dtype.itemsize, ways)


def make_crops(pixels: str, images: int, dtype: torch.dtype) -> Case:
    """Make a case of random 224×224 crops of 256×256 records, by the kernel and the reference."""
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
    indices = torch.randperm(2 * images)[:images].to(DEVICE)
    out = torch.empty(images, 3, 224, 224, dtype=dtype, device=DEVICE)
    options = {**draw, "size": 224, "side": 256, "scale": 1.0, "pixels": pixels}
    work = partial(crop, records, indices, out=to_channels_last(out), **options)
    ways = {KERNEL: work, REFERENCE: partial(run_reference, work)}
    read = 224 * 224 * 3 // (1 if pixels == "rgb" else 2)
    return Case(f"crops, {pixels}", images, read + 224 * 224 * 3 * dtype.itemsize, ways)


def make_cases(batch: int, dtype: torch.dtype) -> list[Case]:
    """Make all cases, for `batch` images of the largest layer and more of the smaller ones."""
    norm = partial(norm_pool, towers=1)
    average = partial(relu_pool, kind="avg")
    return [
        make_block(
            "ReLU, norm, pool  96×55×55", norm, norm_pool_by_pytorch, (batch, 96, 55, 55), dtype
        ),
        make_block(
            "ReLU, norm, pool 256×27×27", norm, norm_pool_by_pytorch, (batch, 256, 27, 27), dtype
        ),
        make_block(
            "ReLU, max pool   256×13×13",
            relu_pool,
            max_pool_by_pytorch,
            (8 * batch, 256, 13, 13),
            dtype,
        ),
        make_block(
            "ReLU, max pool    32×32×32",
            relu_pool,
            max_pool_by_pytorch,
            (8 * batch, 32, 32, 32),
            dtype,
        ),
        make_block(
            "ReLU, mean pool   64× 8× 8",
            average,
            avg_pool_by_pytorch,
            (32 * batch, 64, 8, 8),
            dtype,
        ),
        make_first_layer(4 * batch, dtype),
        *(make_convolutions(4 * batch) if DEVICE == "cpu" and dtype == torch.float32 else ()),
        make_within_channel(8 * batch, dtype),
        make_local(8 * batch, dtype),
        make_crops("rgb", 4 * batch, dtype),
        make_crops("yuv420", 4 * batch, dtype),
    ]


def time_work(work: Callable[[], Any], times: int = 1) -> float:
    """Return the mean seconds of `times` calls, until the device has done everything."""
    wait()
    began = time.perf_counter()
    for _ in range(times):
        work()
    wait()
    return (time.perf_counter() - began) / times


def wait() -> None:
    """Wait until the device has done everything that it was given."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def measure(case: Case, rounds: int) -> None:
    """Warm up every way, then let them take turns; drop those that PyTorch does not implement."""
    for name, work in list(case.ways.items()):
        if DEVICE == "cuda":
            torch.cuda.reset_peak_memory_stats()
        try:
            time_work(work)
        except NotImplementedError:
            del case.ways[name]
            continue
        case.peak_device[name] = torch.cuda.max_memory_allocated() if DEVICE == "cuda" else 0
        case.seconds[name] = []
    least = LEAST_ON_GPU if DEVICE == "cuda" else 0.0
    times = {name: times_for(least, time_work(work)) for name, work in case.ways.items() if least}
    for _ in range(rounds):
        for name, work in case.ways.items():
            case.seconds[name].append(time_work(work, times.get(name, 1)))


def format_case(case: Case) -> list[str]:
    """Format a line for each way: time per image, how many times slower than ours, GB/s."""
    ours, lines = case.seconds[KERNEL], []
    for name, seconds in case.seconds.items():
        each = [1e6 * s / case.images for s in seconds]
        slower = statistics.median(s / o for s, o in zip(seconds, ours, strict=True))
        speed = case.bytes * case.images / statistics.median(seconds) / 1e9
        spread = f"{statistics.median(each):,.1f} [{min(each):,.1f}–{max(each):,.1f}]"
        memory = f"{case.peak_device[name] / 2**30:8.2f}G" if case.peak_device[name] else ""
        lines.append(f"  {name:<26}{spread:>30}{slower:>9.1f}×{speed:>9.1f}{memory}")
    title = f"{case.name}, {case.images} images, {case.bytes / 1e6:.2f} MB per image"
    return [title, *lines, *filter(None, [case.note])]


def measure_copying(rounds: int) -> float:
    """Return the GB/s, read and written, of copying 256 MiB."""
    source = torch.zeros(2**28, dtype=torch.uint8, device=DEVICE)
    target = torch.ones_like(source)
    return (
        2
        * source.numel()
        / min(time_work(lambda: target.copy_(source)) for _ in range(rounds))
        / 1e9
    )


def main() -> None:
    """Measure and print every case, and write it as JSON if that is asked for."""
    global DEVICE
    parser = options(__doc__, rounds=7, batch=0, threads=0)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="bfloat16 on CUDA")
    args = parser.parse_args()
    DEVICE, cuda = args.device, args.device == "cuda"
    torch.set_num_threads(args.threads or torch.get_num_threads())
    keep_memory()  # as the program does: fresh pages would be most of some blocks' time
    dtype = getattr(torch, args.dtype or ("bfloat16" if cuda else "float32"))
    cases = make_cases(args.batch or (512 if cuda else 16), dtype)
    print(f"{str(dtype)[6:]}, {torch.get_num_threads()} threads")
    print(f"{'':<28}{'µs per image':>30}{'× ours':>10}{'GB/s':>9}{'  device' if cuda else ''}")
    for number, case in enumerate(cases, 1):
        measure(case, args.rounds)
        print("\n".join(format_case(case)), flush=True)
        if args.json:
            write_cases(args.json, cases[:number], dtype=str(dtype), finished=False)
    copied = measure_copying(args.rounds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"copying: {copied:.1f} GB/s; peak resident: {peak / 2**30:.2f} GiB")
    if args.json:
        more = {"copy_gb_per_second": copied, "peak_resident": peak, "finished": True}
        write_cases(args.json, cases, dtype=str(dtype), **more)


def write_cases(path: Any, measured: list[Case], **more: Any) -> None:
    """Write what was measured as JSON."""
    names = "name", "images", "bytes", "seconds", "peak_device"
    numbers = [{name: getattr(case, name) for name in names} for case in measured]
    write_json(path, {**machine(DEVICE), **more, "rows": numbers})


DEVICE = "cpu"
"""Set by `main`."""

if __name__ == "__main__":
    main()
