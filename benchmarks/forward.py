"""Speed of the forward pass alone, by batch size, compared with eager PyTorch.

python benchmarks/forward.py --batches 1 64 1024

Statement: images per second of the paper's network in inference. Compared: eager PyTorch with
`F.local_response_norm`, the same in channels_last (and bf16 on a GPU), and ours as
`alexnet evaluate` sets it up. For GPUs; it needs no library but torch. `infer.py` compares more
libraries on a CPU.
"""

from __future__ import annotations

import torch
from torch import nn

from interleave import Contestant, Turn, contest, keeper, options, report, table
from train_step import CLASSES, EagerPaper


def make_turn(network: nn.Module, images: torch.Tensor, times: int, cast: bool) -> Turn:
    """Return a turn of `times` forward passes of a batch, with autocast to bf16 if `cast`."""

    def turn() -> int:
        with torch.inference_mode(), torch.autocast(images.device.type, torch.bfloat16, cast):
            for _ in range(times):
                network(images)
        return times * len(images)

    return turn


def eager(device: str, batch: int, times: int, tuned: bool = False) -> Turn:
    """The paper's network in eager PyTorch; `tuned`: channels_last and, on a GPU, bf16."""
    form = torch.channels_last if tuned else torch.contiguous_format
    network = EagerPaper().to(device, memory_format=form).eval()
    images = torch.randn(batch, 3, 224, 224, device=device).contiguous(memory_format=form)
    return make_turn(network, images, times, tuned and device != "cpu")


def ours(device: str, batch: int, times: int) -> Turn:
    """The same network of this package, set up as in `alexnet evaluate` and `alexnet predict`."""
    from alexnet import device as devices
    from alexnet.recipes.recipe import Recipe
    from alexnet.training.loop import new_network

    machine = devices.set_up_machine(device)
    network = devices.move_to_device(
        new_network(Recipe(initialization="variance"), CLASSES).eval(), machine
    )
    images = torch.randn(batch, 3, 224, 224, device=device, dtype=machine.dtype)
    images = images.contiguous(memory_format=torch.channels_last)
    return make_turn(network, images, times, machine.precision == "bf16")


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
