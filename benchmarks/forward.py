"""Classifying on a GPU: images/s of the network alone, ours beside eager PyTorch, by batch size.

python benchmarks/forward.py --batches 1 64 1024

`infer.py` does the same on a CPU, beside more libraries. This one needs nothing but torch.
"""

from __future__ import annotations

import torch
from torch import nn

from interleave import Contestant, Turn, contest, keeper, options, report, table
from train_step import CLASSES, EagerPaper


def in_torch(network: nn.Module, images: torch.Tensor, times: int, cast: bool) -> Turn:
    def turn() -> int:
        with torch.inference_mode(), torch.autocast(images.device.type, torch.bfloat16, cast):
            for _ in range(times):
                network(images)
        return times * len(images)

    return turn


def eager(device: str, batch: int, times: int, tuned: bool = False) -> Turn:
    """F.local_response_norm; tuned: channels_last and, on a GPU, bf16."""
    form = torch.channels_last if tuned else torch.contiguous_format
    network = EagerPaper().to(device, memory_format=form).eval()
    images = torch.randn(batch, 3, 224, 224, device=device).contiguous(memory_format=form)
    return in_torch(network, images, times, tuned and device != "cpu")


def ours(device: str, batch: int, times: int) -> Turn:
    """As `alexnet evaluate` and `alexnet predict` set it up."""
    from alexnet import device as devices
    from alexnet.recipes.recipe import Recipe
    from alexnet.training.loop import new_network

    machine = devices.set_up_machine(device)
    network = devices.move_to_device(
        new_network(Recipe(initialization="variance"), CLASSES).eval(), machine
    )
    images = torch.randn(batch, 3, 224, 224, device=device, dtype=machine.dtype)
    images = images.contiguous(memory_format=torch.channels_last)
    return in_torch(network, images, times, machine.precision == "bf16")


def main() -> None:
    parser = options(__doc__, rounds=5, images=64)
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 64])
    args = parser.parse_args()
    everyone: list[Contestant] = []
    lines: list[str] = []
    for batch in args.batches:
        turns = {"batch": batch, "times": max(1, args.images // batch)}
        found = [
            Contestant(f"eager, batch {batch}", eager, turns),
            Contestant(f"eager, tuned, batch {batch}", eager, {**turns, "tuned": True}),
            Contestant(f"ours, batch {batch}", ours, turns),
        ]
        everyone += found
        contest(found, args.rounds, args.device, keeper(args.json, args.device, everyone))
        lines += [table(found, found[args.device != "cpu"]), ""]  # tuned is the reference on a GPU
    report(args.json, args.device, everyone, lines, batches=args.batches)


if __name__ == "__main__":
    main()
