"""How soon each initialization leaves ln(classes) on few photographs.

    python benchmarks/initialization.py photos.pack --steps 100

Trains the paper's network from several starts on the same batches, and prints the mean loss of the
twenty steps before each mark. No learning rate schedule: the rate is constant.
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
from alexnet.recipes.recipe import RECIPES, Recipe
from alexnet.training.sgd import SGD
from alexnet.training.step import stepper
from alexnet.training.train import new_network
from interleave import options, report

MARK = 20


def losses(pack: Pack, recipe: Recipe, steps: int, device: str) -> list[float]:
    """The losses of the first steps of a training."""
    machine = devices.machine(device)
    how = Preprocessing.of(pack, recipe).to(machine.device)
    network = devices.place(new_network(recipe, len(pack.classes)).train(), machine)
    shape = recipe.batch_size, 3, recipe.crop, recipe.crop
    sgd, step = SGD(network, recipe), stepper(network, machine, shape)
    found: list[float] = []
    while len(found) < steps:
        batches = Batches(pack.splits["train"], how, recipe, machine)
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
        began = time.perf_counter()
        curves[name] = losses(pack, recipe, args.steps, args.device)
        means = [statistics.mean(curves[name][mark - MARK : mark]) for mark in marks]
        seconds = time.perf_counter() - began
        lines.append(f"{name:<36}" + "".join(f"{m:8.3f}" for m in means) + f"   {seconds:.0f} s")
        print(lines[-1], flush=True)
    report(args.json, args.device, [], ["", *lines], pack=str(args.pack), losses=curves)


if __name__ == "__main__":
    main()
