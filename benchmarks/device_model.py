"""The time of a training step on 1 to 1,024 devices: compute that was measured, and bytes.

python benchmarks/device_model.py --figure docs/devices.png
python benchmarks/device_model.py --images-per-second 85.9 --gigabytes-per-second 1.25

Statement: with the compute of one K20, PCI Express 2.0 and nothing fitted, the model gives the
speedups on 2 and 4 GPUs that Krizhevsky published in 2014 (arXiv 1404.5997, table 1) to 4 %. On 8
GPUs, which share the path between two CPUs, it promises 14 % more than was published.

    time of a step = images of a device / its images per second
                   + bytes that a device sends / bandwidth + messages in sequence × latency

Communication is not hidden behind compute: this is what the exact sum of this program does, and an
upper bound for programs that hide some of it. Bytes that a device sends in a step, with P
parameters in all, C of them in convolutions, B images in the global batch and N devices:

    replicas    8 P (N − 1) / N            gradients to the owners of chunks, weights back
    towers      8 B_pair × 30,336          a device has half of the network and, with another,
                + 8 (P / 2) (M − 1) / M    the images of two; M = N / 2 pairs are replicas
    hybrid      8 C (N − 1) / N            replicas in the convolutions; outputs of pool5 and of
                + 8 B × 17,408 (N−1) / N   two fully connected layers, and their gradients

(The network of 2014 has 61.1 million parameters, 2.5 of them in convolutions: nearly the same.) So
replicas send the same however large the batch is, and hybrid less as long as the global batch is
below about 3,400 images, whatever the number of devices.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

PARAMETERS = 60_965_224
CONVOLUTIONS = 2_334_080
"""Parameters of the convolutions among them (`nets.alexnet`)."""
POOL5, HIDDEN = 9216, 4096
"""Outputs of pool5, and of each hidden fully connected layer."""
TOWER_VALUES = 128 * 13 * 13 + POOL5 // 2 + 2 * (HIDDEN // 2)
"""Values an image that a tower sends: its half of what conv3, fc6, fc7 and fc8 read."""
HYBRID_VALUES = POOL5 + 2 * HIDDEN
"""Values an image that a shard sends or hands on: inputs of fc6, fc7 and fc8."""
FLOAT = 4
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


def count_bytes(kind: str, n: int, batch: int) -> float:
    """Return the bytes that one of `n` devices sends in a step with this global batch."""
    if n == 1:
        return 0.0
    if kind == "replicas":
        return 2 * FLOAT * PARAMETERS * (n - 1) / n
    if kind == "towers":
        pairs = n // 2
        shared = 2 * FLOAT * PARAMETERS / 2 * (pairs - 1) / pairs
        return shared + 2 * FLOAT * TOWER_VALUES * batch / pairs
    if kind == "hybrid":
        shared = 2 * FLOAT * CONVOLUTIONS * (n - 1) / n
        return shared + 2 * FLOAT * HYBRID_VALUES * batch * (n - 1) / n
    raise ValueError(f"kind is {kind!r}, but must be one of {', '.join(KINDS)}")


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
