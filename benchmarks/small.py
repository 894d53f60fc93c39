"""Speed of training the 32×32 network, and the time to 25 % training error on CIFAR-10.

python benchmarks/small.py                       # images per second
python benchmarks/small.py --pack cifar.pack     # also the seconds to 25 % training error

Statement: a training step is at least 1.25 times (GPU: 2 times) as fast as tuned eager PyTorch.
Compared: the same network in eager PyTorch as it comes, and in channels_last with the fused
optimizer (and bf16 on a GPU).
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

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

TARGET = 1.25, 2.0
"""Target ratios to the tuned eager network on a CPU and on a GPU. The latter was set before any
measurement on a GPU."""


def eager_network() -> nn.Module:
    """Return the same network, written with PyTorch's own layers."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, padding=2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU(True),
        nn.Conv2d(32, 32, 5, padding=2), nn.ReLU(True),
        nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(True),
        nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False),
        nn.Flatten(), nn.Linear(1024, 10),
    )  # fmt: skip


def eager(device: str, batch: int, steps: int, form: torch.memory_format) -> Turn:
    network = eager_network().to(device, memory_format=form).train()
    images = torch.randn(batch, 3, 32, 32, device=device).contiguous(memory_format=form)
    labels = torch.randint(0, 10, (batch,), device=device)
    fused = form == torch.channels_last
    sgd = torch.optim.SGD(network.parameters(), 0.01, 0.9, weight_decay=5e-4, fused=fused)

    def turn() -> int:
        for _ in range(steps):
            with torch.autocast(device, torch.bfloat16, enabled=fused and device != "cpu"):
                loss = F.cross_entropy(network(images), labels)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
        return steps * batch

    return turn


def ours(device: str, batch: int, steps: int) -> Turn:
    from alexnet import device as devices
    from alexnet.recipes.named import RECIPES
    from alexnet.training.loop import new_network
    from alexnet.training.sgd import SGD
    from alexnet.training.step import make_step

    machine = devices.set_up_machine(device)
    recipe = dataclasses.replace(RECIPES["cifar"], batch_size=batch)
    network = new_network(recipe, 10).to(device, memory_format=torch.channels_last).train()
    images = torch.randn(batch, 3, 32, 32, device=device).contiguous(
        memory_format=torch.channels_last
    )
    labels = torch.randint(0, 10, (batch,), device=device)
    sgd, step = SGD(network, recipe), make_step(network, machine, tuple(images.shape))

    def turn() -> int:
        for _ in range(steps):
            sgd.step(step(images, labels), 0.001)
        return steps * batch

    return turn


def seconds_to(error: float, pack_path: Path, device: str) -> tuple[float, int]:
    """Train with recipe `cifar` down to this training error; return seconds and epochs."""
    import tempfile

    from alexnet.evaluation.scores import evaluate_run
    from alexnet.packs.pack import open_pack
    from alexnet.recipes.named import RECIPES
    from alexnet.training.train import train

    pack, spent = open_pack(pack_path), 0.0
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        for epoch in range(1, 31):
            recipe = dataclasses.replace(RECIPES["cifar"], epochs=epoch, schedule="constant")
            began = time.perf_counter()
            train(pack, run, recipe, device=device, resume=run if epoch > 1 else None)
            spent += time.perf_counter() - began
            found = evaluate_run(
                run / "last.safetensors", pack.path, split="train", device=device
            ).counts.top1
            print(f"  {spent:6.0f} s  epoch {epoch}: training error {found:.2%}", flush=True)
            if found <= error:
                return spent, epoch
    raise SystemExit(f"30 epochs did not reach {error:.0%}")


def main() -> None:
    parser = options(__doc__, batch=128, rounds=10, steps=8)
    parser.add_argument("--pack", type=Path, help="a pack of CIFAR-10: also train on it")
    args = parser.parse_args()
    turns = {"batch": args.batch, "steps": args.steps}
    plain, last = torch.contiguous_format, torch.channels_last
    on_gpu = args.device != "cpu"
    tuned = f"eager, {'bf16, ' if on_gpu else ''}channels_last, fused SGD"
    found = [
        Contestant("eager, NCHW", eager, {**turns, "form": plain}),
        Contestant(tuned, eager, {**turns, "form": last}),
        Contestant("ours", ours, turns),
    ]
    contest(found, args.rounds, args.device, keeper(args.json, args.device, found))
    lines = [table(found, found[1]), ""]
    if found[1].rates and found[2].rates:
        lines.append(
            verdict(f"ours ÷ {found[1].name}", ratio(found[2], found[1])[0], TARGET[on_gpu])
        )
    if args.pack:
        seconds, epochs = seconds_to(0.25, args.pack, args.device)
        lines.append(f"25 % training error on {args.pack} after {seconds:.0f} s ({epochs} epochs)")
    report(args.json, args.device, found, lines, batch=args.batch)


if __name__ == "__main__":
    main()
