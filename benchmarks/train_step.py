"""A whole training step (forward, backward, update), ours beside others', in one interleaved run.

python benchmarks/train_step.py --batch 64 --json benchmarks/results/train_step.json
"""

from __future__ import annotations

import ctypes
import statistics
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from interleave import Contestant, Turn, contest, options, ratio, report, table, verdict

CLASSES = 1000
STEP_FLOP = 4.13e9
"""Operations an image of a training step: 724 million multiply-adds forward, twice that backward,
less the gradient of the image, which nobody needs."""


class EagerPaper(nn.Module):
    """The paper's network as one writes it with what PyTorch has."""

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
    """torchvision's `alexnet`, written out: no norm, no groups, 64-192-384-256-256 filters."""
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
    """Page faults cost a fifth of a step: have glibc keep what is freed."""
    libc = ctypes.CDLL(None)
    libc.mallopt(-4, 0)
    libc.mallopt(-1, 2**31 - 1)


def stepper(
    network: nn.Module, device: str, batch: int, *, tuned: bool, steps: int, autocast: bool = False
) -> Turn:
    """The usual step with torch.optim.SGD; tuned: channels_last and the fused optimizer."""
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
    return stepper(EagerPaper(), device, batch, tuned=False, steps=steps)


def paper_compiled(device: str, batch: int, steps: int) -> Turn:
    return stepper(torch.compile(EagerPaper()), device, batch, tuned=False, steps=steps)  # type: ignore[arg-type]


def torchvision_plain(device: str, batch: int, steps: int) -> Turn:
    return stepper(torchvision_network(), device, batch, tuned=False, steps=steps)


def torchvision_tuned(device: str, batch: int, steps: int) -> Turn:
    if device == "cpu":
        keep_memory()
    cuda = device != "cpu"
    return stepper(torchvision_network(), device, batch, tuned=True, steps=steps, autocast=cuda)


def keras(device: str, batch: int, steps: int) -> Turn:
    """torchvision's architecture in Keras on TensorFlow, one train_on_batch a step."""
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


def ours(device: str, batch: int, steps: int) -> Turn:
    """This package's network, kernels and update rule, set up as `alexnet train` sets them up."""
    from alexnet.learn import devices
    from alexnet.learn.sgd import SGD
    from alexnet.learn.step import stepper
    from alexnet.learn.train import fresh
    from alexnet.recipe import Recipe

    machine = devices.machine(device)
    recipe = Recipe(batch_size=batch, initialization="variance")
    network = fresh(recipe, CLASSES).to(device, memory_format=torch.channels_last).train()
    images = torch.randn(batch, 3, 224, 224, device=device, dtype=machine.dtype)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, CLASSES, (batch,), device=device)
    sgd, step = SGD(network, recipe), stepper(network, machine, tuple(images.shape))

    def turn() -> int:
        for _ in range(steps):
            sgd.step(step(images, labels), 0.001)
        return steps * batch

    return turn


def product(device: str, batch: int, steps: int) -> Turn:
    """What the step would take if only its products took time, at the rate of a large one."""
    a, b = (torch.randn(4096, 4096, device=device) for _ in range(2))
    out = torch.empty(4096, 4096, device=device)
    products = max(1, round(steps * batch * STEP_FLOP / (2 * 4096**3)))

    def turn() -> int:
        for _ in range(products):
            torch.mm(a, b, out=out)
        return round(products * 2 * 4096**3 / STEP_FLOP)

    return turn


def main() -> None:
    parser = options(__doc__, batch=64, rounds=8, steps=1)
    parser.add_argument("--only", nargs="*", help="run these contestants alone")
    args = parser.parse_args()
    entries: dict[str, tuple[str, Callable[..., Turn]]] = {
        "eager": ("paper's network, eager, F.local_response_norm", paper_eager),
        "compiled": ("the same, torch.compile", paper_compiled),
        "torchvision": ("torchvision's, as it comes (no norm)", torchvision_plain),
        "tuned": ("torchvision's, tuned", torchvision_tuned),
        "keras": ("torchvision's in Keras on TensorFlow", keras),
        "ours": ("the paper's network, ours", ours),
        "product": ("nothing but products (4096³)", product),
    }
    chosen = args.only or list(entries)
    turns = {"batch": args.batch, "steps": args.steps}
    found = {key: Contestant(*entries[key], turns) for key in chosen}
    contest(list(found.values()), args.rounds, args.device)
    lines = [table(list(found.values()), found.get("torchvision", found["ours"])), ""]
    targets = {"eager": 2.7, "torchvision": 1.35, "keras": 1.05, "product": 0.85}
    for key, target in targets.items():
        if key in found and found[key].rates and found["ours"].rates:
            median = ratio(found["ours"], found[key])[0]
            lines.append(verdict(f"ours ÷ {found[key].name}", median, target))
    medians = {key: statistics.median(c.rates) for key, c in found.items() if c.rates}
    report(args.json, args.device, list(found.values()), lines, batch=args.batch, median=medians)


if __name__ == "__main__":
    main()
