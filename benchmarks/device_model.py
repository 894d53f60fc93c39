"""The time of a training step on 1 to 1,024 devices: compute that was measured, and bytes.

python benchmarks/device_model.py --figure docs/devices.png
python benchmarks/device_model.py --images-per-second 85.9 --gigabytes-per-second 1.25

Statement: with the compute of one K20, PCI Express 2.0 and nothing fitted, the model gives the
speedups on 2 and 4 GPUs that Krizhevsky published in 2014 (arXiv 1404.5997, table 1) to 4 %. On 8
GPUs, which share the path between two CPUs, it promises 14 % more than was published.

    time of a step = images of a device / its images per second
                   + bytes that a device sends / bandwidth + messages in sequence × latency

Communication is not hidden behind compute: this is what the exact sum of this program does, and an
upper bound for programs that hide some of it. The bytes are those of `alexnet.parallel.traffic`,
which a test compares with what processes send. One of N devices sends in a step of B images

    replicas    8 P (N − 1) / N          gradients of P parameters to their owners, weights back
    hybrid      8 C (N − 1) / N          the same for the C parameters of the convolutions, and
                + B × 106,504 (N−1) / N  outputs of pool5 and fc6 and their gradients
                + B × 4,000 (N − 1)      logits of all shards, summed in a fixed order
    towers      230,304 B, on two devices. On more, which this program does not offer, N / 2 pairs
                of towers are replicas of one another

So replicas send the same however large the batch is. Hybrid sends less as long as the batch is
below 4,100 images on 2 devices, 3,400 on 8 and 1,300 on 64. (The network of 2014 has 61.1 million
parameters, 2.5 of them in convolutions: nearly the same.)
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import nn

from alexnet import nets
from alexnet.parallel.traffic import Traffic, count_hybrid, count_replicas, count_towers

KINDS = "replicas", "towers", "hybrid"
COUNTS = tuple(1 << power for power in range(11))
"""Numbers of devices: 1 to 1,024."""

IMAGES, EPOCHS = 1_281_167, 90
PUBLISHED = {1: (98.05, 1.0), 2: (50.24, 1.95), 4: (26.20, 3.74), 8: (15.68, 6.25)}
"""Devices: hours of 90 epochs on K20 GPUs, and speedup; fully connected layers updated once a batch
of 128 images per GPU."""
PUBLISHED_EACH_PASS = {2: (50.90, 1.93), 4: (26.78, 3.66), 8: (15.91, 6.16)}
"""The same with these layers updated after every pass of 128 images."""


@dataclass(frozen=True)
class Machine:
    """What a device computes, and how devices are connected."""

    name: str
    images_per_second: float
    """Of a whole training step on one device."""
    bytes_per_second: float
    """That a device can send while it receives as many."""
    latency: float = 2e-5
    """Seconds that a message takes before its first byte arrives."""
    origin: str = ""
    """Where the numbers come from."""


@cache
def make_network() -> nn.Module:
    """Return the paper's network without memory for its weights."""
    with torch.device("meta"):
        return nets.build("alexnet", 1000)


@cache
def count_traffic(kind: str, n: int) -> Traffic:
    """Return the bytes that all of `n` devices send in a step."""
    network = make_network()
    if kind == "replicas":
        return count_replicas(network, n)
    if kind == "hybrid":
        return count_hybrid(network, 224, n)
    if kind != "towers":
        raise ValueError(f"kind is {kind!r}, but must be one of {', '.join(KINDS)}")
    among_pairs = count_replicas(network, n // 2).per_step  # two halves of the weights
    return Traffic(count_towers(network, 224).per_image, among_pairs)


def count_bytes(kind: str, n: int, batch: int) -> float:
    """Return the bytes that one of `n` devices sends in a step with this global batch."""
    return count_traffic(kind, n).of_step(batch) / n if n > 1 else 0.0


def count_messages(kind: str, n: int) -> float:
    """Return how many messages follow one another in a step."""
    if n == 1:
        return 0.0
    if kind == "replicas":
        return 2.0 * (n - 1)
    if kind == "towers":
        return 8.0 + 2 * (n // 2 - 1)
    return 2.0 * (n - 1) + 6 * n * math.log2(n)  # six exchanges in each of n passes


def predict_seconds(kind: str, n: int, batch: int, machine: Machine) -> float:
    """Return the time of a step of `batch` images on `n` devices."""
    compute = batch / n / machine.images_per_second
    sent = count_bytes(kind, n, batch) / machine.bytes_per_second
    return compute + sent + count_messages(kind, n) * machine.latency


def predict_efficiency(kind: str, n: int, batch: int, machine: Machine) -> float:
    """Return the images per second of `n` devices relative to `n` times those of one."""
    return batch / machine.images_per_second / n / predict_seconds(kind, n, batch, machine)


def make_k20(n: int) -> Machine:
    """Return the machine of the published table with `n` of its GPUs in use."""
    hours, _ = PUBLISHED[1]
    return Machine(
        "K20, PCI Express 2.0",
        IMAGES * EPOCHS / (hours * 3600),
        6e9 if n <= 4 else 3e9,
        origin="compute: 98.05 hours on one GPU. 6 GB/s among four GPUs of one CPU, half of that "
        "when all eight communicate",
    )


def compare_published() -> list[tuple[int, float, float]]:
    """Return devices, predicted speedup and published speedup of the hybrid."""
    return [
        (n, n * predict_efficiency("hybrid", n, 128 * n, make_k20(n)), speedup)
        for n, (_, speedup) in PUBLISHED.items()
    ]


def format_table(machine: Machine, batch: int, weak: bool) -> str:
    """Return a table of predicted efficiencies: a row for each number of devices."""
    what = f"{batch} images per device" if weak else f"{batch} images in all"
    lines = [f"{machine.name}, {what}", f"{'devices':>8}" + "".join(f"{k:>12}" for k in KINDS)]
    for n in COUNTS:
        total = batch * n if weak else batch
        cells = (f"{predict_efficiency(kind, n, total, machine):>12.1%}" for kind in KINDS)
        lines.append(f"{n:>8}" + "".join(cells))
    return "\n".join(lines)


def draw(path: Path, machines: list[Machine], per_device: int, in_all: int) -> None:
    """Draw predicted efficiencies, and the published ones, as a PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, rows = pyplot.subplots(
        2, len(machines), figsize=(3.6 * len(machines), 6), sharex=True, sharey=True
    )
    for row, (weak, batch) in zip(rows, ((True, per_device), (False, in_all)), strict=True):
        for axes, machine in zip(row, machines, strict=True):
            for kind in KINDS:
                totals = [batch * n if weak else batch for n in COUNTS]
                points = [
                    predict_efficiency(kind, n, total, _adapt(machine, n))
                    for n, total in zip(COUNTS, totals, strict=True)
                ]
                axes.plot(COUNTS, points, label=kind)
            what = f"{batch:,} images per device" if weak else f"{batch:,} images in all"
            axes.set_title(f"{machine.name}\n{what}", fontsize=9)
            if weak and machine.name == make_k20(1).name:
                published = [speedup / n for n, (_, speedup) in PUBLISHED.items()]
                axes.plot([*PUBLISHED], published, "k.", label="published (hybrid)")
                axes.legend(fontsize=8)
    for axes in rows[-1]:
        axes.set_xscale("log", base=2)
        axes.set_xticks(COUNTS[::2], [f"{n:,}" for n in COUNTS[::2]])
        axes.set_xlabel("devices")
    for row in rows:
        row[0].set_ylabel("efficiency")
        row[0].set_ylim(0, 1.03)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def _adapt(machine: Machine, n: int) -> Machine:
    """Return the machine, whose GPUs may share paths from some number on."""
    return make_k20(n) if machine.name == make_k20(1).name else machine


def main() -> None:
    """Print the tables; draw the figure if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images-per-second", type=float, default=85.9, help="of one device")
    parser.add_argument("--gigabytes-per-second", type=float, default=1.25, help="10 Gb/s Ethernet")
    parser.add_argument("--latency", type=float, default=2e-5, help="seconds")
    parser.add_argument("--per-device", type=int, default=128, help="images of a device in a step")
    parser.add_argument("--in-all", type=int, default=1024, help="images in a step of fixed size")
    parser.add_argument("--figure", type=Path, help="draw to this PNG file")
    given = parser.parse_args()
    measured = Machine(
        f"{given.images_per_second:g} images/s, {given.gigabytes_per_second:g} GB/s",
        given.images_per_second,
        given.gigabytes_per_second * 1e9,
        given.latency,
    )
    print("devices   predicted   published   (speedup of the hybrid on K20 GPUs)")
    for n, predicted, published in compare_published():
        print(f"{n:>7}{predicted:>12.2f}{published:>12.2f}")
    for weak, batch in ((True, given.per_device), (False, given.in_all)):
        print("\n" + format_table(measured, batch, weak))
    if given.figure:
        fast = Machine("assumed: 10,000 images/s, 50 GB/s", 10_000, 50e9)
        draw(given.figure, [make_k20(1), measured, fast], given.per_device, given.in_all)


if __name__ == "__main__":
    main()
