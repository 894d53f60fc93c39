"""The first steps of training with each initialization, on a small set of photographs.

    python benchmarks/initialization.py photos.pack --steps 100

Statement: with variance-preserving initialization, the loss falls below ln(classes) (chance level)
many steps earlier than with the paper's Gaussians. Compared: both initializations and several
constant learning rates, on the same batches. Prints the mean loss of the last twenty steps before
each of several steps.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from pathlib import Path

from alexnet import device as devices
from alexnet.batches.epochs import Batches
from alexnet.batches.preprocessing import Preprocessing
from alexnet.packs.pack import Pack, open_pack
from alexnet.recipes.named import RECIPES
from alexnet.recipes.recipe import Recipe
from alexnet.training.loop import new_network
from alexnet.training.sgd import SGD
from alexnet.training.step import make_step
from interleave import options, report

MARK = 20
"""The number of steps that a mean is over, and between two of them."""


def compute_losses(pack: Pack, recipe: Recipe, steps: int, device: str) -> list[float]:
    """Return the losses of the first steps of a training, up to the first that is not finite."""
    machine = devices.set_up_machine(device)
    preprocessing = Preprocessing.of(pack, recipe).to(machine.device)
    network = devices.move_to_device(new_network(recipe, len(pack.classes)).train(), machine)
    shape = recipe.batch_size, 3, recipe.crop, recipe.crop
    sgd, step = SGD(network, recipe), make_step(network, machine, shape)
    found: list[float] = []
    while len(found) < steps:
        batches = Batches(pack.splits["train"], preprocessing, recipe, machine)
        for batch in batches.epoch(len(found) // len(batches)):
            loss = step(batch.images, batch.labels)
            sgd.step(loss, recipe.learning_rate)
            found.append(loss.item())
            if len(found) == steps or not math.isfinite(found[-1]):
                return found
    return found


def main() -> None:
    parser = options(__doc__, steps=100, batch=64)
    parser.add_argument("pack", type=Path, help="a pack of photographs")
    args = parser.parse_args()
    pack = open_pack(args.pack)
    paper = dataclasses.replace(RECIPES["paper"], batch_size=args.batch)
    small = dataclasses.replace(RECIPES["small"], batch_size=args.batch)
    starts = {
        "printed (section 5), rate 0.01": paper,
        "variance-preserving, rate 0.005": dataclasses.replace(small, learning_rate=0.005),
        "variance-preserving, rate 0.01": dataclasses.replace(small, learning_rate=0.01),
        "variance-preserving, rate 0.02": dataclasses.replace(small, learning_rate=0.02),
    }
    marks = range(MARK, args.steps + 1, MARK)
    lines = [f"{'mean loss of the ' + str(MARK) + ' steps before step':<36}"]
    lines[0] += "".join(f"{mark:>8}" for mark in marks) + f"   (ln {len(pack.classes)} = "
    lines[0] += f"{math.log(len(pack.classes)):.3f})"
    curves = {}
    for name, recipe in starts.items():
        start = time.perf_counter()
        curves[name] = compute_losses(pack, recipe, args.steps, args.device)
        means = [statistics.mean(curves[name][mark - MARK : mark]) for mark in marks]
        seconds = time.perf_counter() - start
        lines.append(f"{name:<36}" + "".join(f"{m:8.3f}" for m in means) + f"   {seconds:.0f} s")
        print(lines[-1], flush=True)
    report(args.json, args.device, [], ["", *lines], pack=str(args.pack), losses=curves)


if __name__ == "__main__":
    main()
