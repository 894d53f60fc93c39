"""Speed of a whole training step (forward, backward, update), compared with other programs.

python benchmarks/train_step.py --batch 64 --json benchmarks/results/train_step.json
python benchmarks/train_step.py --data      # from uint8 records, with all augmentation

Statement: on a CPU the step is at least 2.7 times as fast as the paper's network in eager PyTorch
and 1.35 times as fast as torchvision's; on a GPU, twice as fast as eager PyTorch in bf16. Compared:
the paper's network in eager and compiled PyTorch, torchvision's architecture as it comes, tuned,
and in Keras if it is installed, and matrix products alone. With --data, loading is included: ours
from a pack, the eager network from JPEGs in a DataLoader.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.device import Precision
from interleave import (
    Contestant,
    Turn,
    contest,
    keeper,
    options,
    ratio,
    report,
    table,
    verdict,
)

CLASSES = 1000
PAPER_BATCH = 128
USUAL_STEPS = 24
"""Steps per turn of the DataLoader baseline, which needs about a second for a few steps."""
STEP_FLOP = 4.13e9
"""Operations per image of a training step: 724 million multiply-adds forward and twice that
backward, except for the gradient of the image, which is not computed. A multiply-add is two."""


class EagerPaper(nn.Module):
    """The paper's network, written with PyTorch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 11, stride=4, padding=2)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)
        self.fc6, self.fc7, self.fc8 = (
            nn.Linear(9216, 4096),
            nn.Linear(4096, 4096),
            nn.Linear(4096, CLASSES),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.local_response_norm(F.relu(self.conv1(x)), 5, 5e-4, k=2), 3, 2)
        x = F.max_pool2d(F.local_response_norm(F.relu(self.conv2(x)), 5, 5e-4, k=2), 3, 2)
        x = F.relu(self.conv4(F.relu(self.conv3(x))))
        x = F.max_pool2d(F.relu(self.conv5(x)), 3, 2)
        x = F.dropout(F.relu(self.fc6(x.flatten(1))), training=self.training)
        return self.fc8(F.dropout(F.relu(self.fc7(x)), training=self.training))


def torchvision_network() -> nn.Module:
    """Return torchvision's `alexnet`: no normalization, no groups, 64-192-384-256-256 filters."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(True), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(True), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(True),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(True),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(3, 2),
        nn.AdaptiveAvgPool2d((6, 6)), nn.Flatten(),
        nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU(True),
        nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(True), nn.Linear(4096, CLASSES),
    )  # fmt: skip


def keep_memory() -> None:
    """Make glibc keep freed memory: page faults cost a fifth of a step."""
    libc = ctypes.CDLL(None)
    libc.mallopt(-4, 0)
    libc.mallopt(-1, 2**31 - 1)


def make_step(
    network: nn.Module, device: str, batch: int, *, tuned: bool, steps: int, autocast: bool = False
) -> Turn:
    """Return turns of `steps` steps with torch.optim.SGD; `tuned`: channels_last, fused update."""
    form = torch.channels_last if tuned else torch.contiguous_format
    network = network.to(device, memory_format=form).train()
    images = torch.randn(batch, 3, 224, 224, device=device).contiguous(memory_format=form)
    labels = torch.randint(0, CLASSES, (batch,), device=device)
    sgd = torch.optim.SGD(network.parameters(), 0.01, 0.9, weight_decay=5e-4, fused=tuned)

    def turn() -> int:
        for _ in range(steps):
            with torch.autocast(device, torch.bfloat16, enabled=autocast):
                loss = F.cross_entropy(network(images), labels)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
        return steps * batch

    return turn


def paper_eager(device: str, batch: int, steps: int) -> Turn:
    return make_step(EagerPaper(), device, batch, tuned=False, steps=steps)


def paper_compiled(device: str, batch: int, steps: int) -> Turn:
    return make_step(torch.compile(EagerPaper()), device, batch, tuned=False, steps=steps)  # type: ignore[arg-type]


def paper_bf16(device: str, batch: int, steps: int) -> Turn:
    """Eager PyTorch tuned for a GPU, which is the reference there."""
    return make_step(EagerPaper(), device, batch, tuned=True, steps=steps, autocast=True)


def paper_bf16_compiled(device: str, batch: int, steps: int) -> Turn:
    network: nn.Module = torch.compile(EagerPaper())  # type: ignore[assignment]
    return make_step(network, device, batch, tuned=True, steps=steps, autocast=True)


def torchvision_plain(device: str, batch: int, steps: int) -> Turn:
    return make_step(torchvision_network(), device, batch, tuned=False, steps=steps)


def torchvision_tuned(device: str, batch: int, steps: int) -> Turn:
    if device == "cpu":
        keep_memory()
    cuda = device != "cpu"
    return make_step(torchvision_network(), device, batch, tuned=True, steps=steps, autocast=cuda)


def keras(device: str, batch: int, steps: int) -> Turn:
    """torchvision's architecture in Keras on TensorFlow; a step is one train_on_batch."""
    import os

    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras as k
    import numpy as np

    def convolution(filters: int, size: int, **more: object) -> object:
        return k.layers.Conv2D(filters, size, padding="same", activation="relu", **more)

    network = k.Sequential([
        k.layers.Input((224, 224, 3)), k.layers.ZeroPadding2D(2),
        k.layers.Conv2D(64, 11, 4, activation="relu"), k.layers.MaxPool2D(3, 2),
        convolution(192, 5), k.layers.MaxPool2D(3, 2),
        convolution(384, 3), convolution(256, 3), convolution(256, 3), k.layers.MaxPool2D(3, 2),
        k.layers.Flatten(),
        k.layers.Dropout(0.5), k.layers.Dense(4096, activation="relu"),
        k.layers.Dropout(0.5), k.layers.Dense(4096, activation="relu"), k.layers.Dense(CLASSES),
    ])  # fmt: skip
    loss = k.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(k.optimizers.SGD(0.01, 0.9, weight_decay=5e-4), loss)
    images = np.random.default_rng(0).standard_normal((batch, 224, 224, 3), np.float32)
    labels = np.zeros(batch, np.int64)

    def turn() -> int:
        for _ in range(steps):
            network.train_on_batch(images, labels)
        return steps * batch

    return turn


def ours_bf16(device: str, batch: int, steps: int) -> Turn:
    """The same as `alexnet train --precision bf16` sets it up."""
    return ours(device, batch, steps, precision="bf16")


def ours_compiled(device: str, batch: int, steps: int) -> Turn:
    """The same as `alexnet train --compile` sets it up."""
    return ours(device, batch, steps, compiled=True)


def ours(
    device: str, batch: int, steps: int, precision: Precision = "auto", compiled: bool = False
) -> Turn:
    """This package's network, kernels and update rule, set up as `alexnet train` sets them up."""
    from alexnet import device as devices
    from alexnet.recipes.recipe import Recipe
    from alexnet.training.loop import new_network
    from alexnet.training.sgd import SGD
    from alexnet.training.step import make_step

    machine = devices.set_up_machine(device, precision, compiled=compiled)
    recipe = Recipe(batch_size=batch, initialization="variance")
    network = devices.move_to_device(new_network(recipe, CLASSES).train(), machine)
    images = torch.randn(batch, 3, 224, 224, device=device, dtype=machine.dtype)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, CLASSES, (batch,), device=device)
    sgd, step = SGD(network, recipe), make_step(network, machine, tuple(images.shape))

    def turn() -> int:
        for _ in range(steps):
            sgd.step(step(images, labels), 0.001)
        return steps * batch

    return turn


def with_data(device: str, batch: int, steps: int) -> Turn:
    """The same with batches from uint8 records, with the loader that `alexnet train` would choose.

    Records are yuv420 of 256×256: ILSVRC-2012 packed so fits into a GPU with 141 GB.
    """
    from made import Training, made_pack

    losses = Training(device, batch, made_pack(max(16 * batch, 4096) // batch * batch)).endless()

    def turn() -> int:
        for _ in range(steps):
            next(losses)
        return steps * batch

    return turn


def eager_with_data(device: str, batch: int, steps: int) -> Turn:
    """The paper's network in eager PyTorch, with JPEGs decoded by Pillow in a DataLoader."""
    from usual import Folder, Loader, photographs

    folder = tempfile.TemporaryDirectory()
    cuda, workers = device != "cpu", os.cpu_count() or 1
    network = EagerPaper().to(device).train()
    sgd = torch.optim.SGD(network.parameters(), 0.01, 0.9, weight_decay=5e-4)
    files = Folder(photographs(Path(folder.name), 4 * batch))
    loader = Loader(files, batch, workers, pinned=cuda)

    def turn() -> int:
        for _ in range(steps):
            images, labels = (x.to(device, non_blocking=cuda) for x in next(loader))
            loss = F.cross_entropy(network(images), labels)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
        return steps * batch

    turn.ready = loader.settle  # type: ignore[attr-defined]
    turn.folder = folder  # type: ignore[attr-defined]  # the files live as long as the turn
    return turn


def product(device: str, batch: int, steps: int) -> Turn:
    """Matrix products of 4096×4096 only, with as many multiply-adds as a step."""
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    a, b = (torch.randn(4096, 4096, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    products = max(1, round(steps * batch * STEP_FLOP / (2 * 4096**3)))

    def turn() -> int:
        for _ in range(products):
            torch.mm(a, b, out=out)
        return round(products * 2 * 4096**3 / STEP_FLOP)

    return turn


ENTRIES: dict[str, tuple[str, Callable[..., Turn]]] = {
    "eager": ("paper's network, eager, F.local_response_norm", paper_eager),
    "compiled": ("the same, torch.compile", paper_compiled),
    "eager-bf16": ("paper's, eager, bf16, channels_last", paper_bf16),
    "compiled-bf16": ("the same, torch.compile", paper_bf16_compiled),
    "torchvision": ("torchvision's, as it comes (no norm)", torchvision_plain),
    "tuned": ("torchvision's, tuned", torchvision_tuned),
    "keras": ("torchvision's in Keras on TensorFlow", keras),
    "ours": ("the paper's network, ours", ours),
    "bf16": ("ours, --precision bf16", ours_bf16),
    "ours-compiled": ("ours, --compile", ours_compiled),
    "product": ("nothing but products (4096³)", product),
}
FOR_GPU = "eager-bf16", "compiled-bf16"
REFERENCE = {"cpu": "torchvision", "cuda": "eager-bf16"}
TARGETS = {
    "cpu": {"eager": 2.7, "torchvision": 1.35, "keras": 1.05, "product": 0.85},
    "cuda": {"eager-bf16": 2.0, "compiled-bf16": 1.2, "tuned": 1.0, "product": 0.25},
}
"""Target ratios of ours to another. Those on a GPU were set before anything was measured there."""


def beside_others(args: Namespace) -> tuple[list[Contestant], list[str]]:
    """Compare all programs at one batch size, with images already on the device."""
    turns = {"batch": args.batch, "steps": args.steps}
    kind = args.device.partition(":")[0]
    usual = [key for key in ENTRIES if kind != "cpu" or key not in FOR_GPU]
    found = {key: Contestant(*ENTRIES[key], turns) for key in args.only or usual}
    everyone = list(found.values())
    contest(everyone, args.rounds, args.device, keeper(args.json, args.device, everyone, **turns))
    lines = [table(everyone, found.get(REFERENCE[kind], everyone[0])), ""]
    for key, target in TARGETS[kind].items():
        if key in found and found[key].rates and "ours" in found and found["ours"].rates:
            median = ratio(found["ours"], found[key])[0]
            lines.append(verdict(f"ours ÷ {found[key].name}", median, target))
    return everyone, lines


def from_records(args: Namespace) -> tuple[list[Contestant], list[str]]:
    """Compare steps with loading and augmentation, ours at several batch sizes."""
    usual = {"batch": args.batch, "steps": min(args.steps, USUAL_STEPS)}
    everyone = [Contestant("eager, fed by a DataLoader", eager_with_data, usual)]
    for batch in args.batches:
        steps = max(1, args.steps * args.batch // batch)
        turns = {"batch": batch, "steps": steps}
        everyone.append(Contestant(f"ours from records, batch {batch}", with_data, turns))
    contest(everyone, args.rounds, args.device, keeper(args.json, args.device, everyone))
    usual_one, *mine = everyone
    lines = [table(everyone, usual_one), ""]
    rates = {c.options["batch"]: statistics.median(c.rates) for c in mine if c.rates}
    if not rates:
        return everyone, lines
    best = max(rates, key=rates.__getitem__)
    lines.append(f"best batch: {best}")
    if args.device != "cpu":
        winner = next(c for c in mine if c.options["batch"] == best)
        lines += targets_on_gpu(rates, best, ratio(winner, usual_one)[0] if usual_one.rates else 0)
    return everyone, lines


def targets_on_gpu(rates: dict[int, float], best: int, times_usual: float) -> list[str]:
    """Return the lines that say whether the targets for an H200 were met."""
    lines = [verdict("thousand images/s at the best batch", rates[best] / 1000, 60)]
    if PAPER_BATCH in rates:
        lines.append(verdict("thousand images/s at batch 128", rates[PAPER_BATCH] / 1000, 20))
    return [*lines, verdict("ours at the best batch ÷ eager by a DataLoader", times_usual, 8)]


def main() -> None:
    parser = options(__doc__, batch=64, rounds=8, steps=1)
    parser.add_argument("--only", nargs="*", choices=list(ENTRIES), help="run only these")
    parser.add_argument("--data", action="store_true", help="include loading, at each of --batches")
    parser.add_argument("--batches", nargs="*", type=int, default=[128, 256, 512, 1024, 2048])
    args = parser.parse_args()
    everyone, lines = (from_records if args.data else beside_others)(args)
    medians = {c.name: statistics.median(c.rates) for c in everyone if c.rates}
    report(args.json, args.device, everyone, lines, batch=args.batch, median=medians)


if __name__ == "__main__":
    main()
