"""Before anything is timed on a GPU: does it compute what it should?

python benchmarks/checks.py

Kernels beside their formulas, forward and backward, in float32 and bfloat16; the recorded step
beside the step launched piece by piece; records at home on the GPU, streamed to it, and cropped by
the CPU; a training stopped, and resumed in a second process, beside one that was not: the small
network and the full-size one, as the program trains them. On a CPU the same code runs, which
says nothing about a GPU.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alexnet import checkpoint
from alexnet import device as devices
from alexnet.batches.augment import Preprocessing
from alexnet.batches.batches import Batches
from alexnet.batches.loaders import OnHost
from alexnet.kernels import crop, formulas_only, norm_pool, relu_pool, response_norm
from alexnet.kernels.runtime.layout import channels_last
from alexnet.nets.layers import set_key
from alexnet.processor import bf16_units
from alexnet.recipes.recipe import Recipe
from alexnet.training.log import Screen
from alexnet.training.step import Step, stepper
from alexnet.training.train import new_network, train
from interleave import machine, options, write_json
from made import made_pack

Check = tuple[str, float, float]
"""What was compared, the largest difference found, and the largest allowed."""
ALLOWED = {torch.float32: 2e-5, torch.bfloat16: 2e-2}
BLOCKS: dict[str, tuple[Callable[..., Tensor], tuple[int, ...]]] = {
    "ReLU, norm, pool, two towers": (partial(norm_pool, towers=2), (96, 55, 55)),
    "ReLU, norm, pool, one tower": (norm_pool, (256, 27, 27)),
    "norm, pool, ReLU": (partial(norm_pool, order="norm-pool-relu", over_n=True), (96, 27, 27)),
    "norm alone": (response_norm, (64, 13, 13)),
    "ReLU, max pool": (relu_pool, (256, 13, 13)),
    "ReLU, mean pool": (partial(relu_pool, kind="avg"), (64, 8, 8)),
    "mean pool, ReLU": (partial(relu_pool, kind="avg", order="pool-relu"), (64, 15, 15)),
}


def off(found: Tensor, wanted: Tensor, ties: bool = False) -> float:
    """The largest difference, as a share of the largest number wanted; NaNs are infinitely far.

    With `ties` one number in 10,000 may be anything: where two maxima are nearly equal, rounding
    decides which of them gets the gradient.
    """
    found, wanted = found.detach().double(), wanted.detach().double()
    if not found.isfinite().all():
        return float("inf")
    differences = (found - wanted).abs().flatten()
    left_out = differences.numel() // 10_000 if ties else 0
    worst = differences.topk(left_out + 1).values[-1]
    return float(worst / wanted.abs().max().clamp_min(1e-30))


def kernels(device: str, images: int) -> Iterator[Check]:
    """Every block beside its formula in float64, values and gradients."""
    for name, (operation, shape) in BLOCKS.items():
        for dtype, allowed in ALLOWED.items():
            torch.manual_seed(0)
            x = channels_last(3 * torch.randn(images, *shape).to(device, dtype))
            mine, exact = (y.detach().requires_grad_() for y in (x, x.double()))
            out = operation(mine)
            with formulas_only():
                wanted = operation(exact)
            gradient = torch.randn(wanted.shape).to(device, dtype)
            out.backward(gradient)
            wanted.backward(gradient.double())
            assert mine.grad is not None
            assert exact.grad is not None
            words = f"{name}, {str(dtype)[6:]}"
            yield words, off(out, wanted), allowed
            yield f"{words}, gradient", off(mine.grad, exact.grad, ties=True), 2 * allowed


def crops(device: str, images: int) -> Iterator[Check]:
    """Crops beside their formula, both kinds of records."""
    for pixels, shape in ("rgb", (256, 256, 3)), ("yuv420", (98304,)):
        torch.manual_seed(0)
        records = torch.randint(0, 256, (images, *shape), dtype=torch.uint8).to(device)
        places = torch.randint(0, 33, (2, images)).to(device)
        how: dict[str, Any] = {
            "tops": places[0],
            "lefts": places[1],
            "flips": (torch.rand(images) < 0.5).to(device),
            "shifts": 20 * torch.randn(images, 3).to(device),
            "mean": 255 * torch.rand(256, 256, 3).to(device),
        }
        how |= {"size": 224, "side": 256, "scale": 1 / 64, "pixels": pixels}
        for dtype, allowed in ALLOWED.items():
            chosen = torch.arange(images - 1, -1, -1).to(device)
            found = crop(records, chosen, dtype=dtype, **how)
            with formulas_only():
                wanted = crop(records, chosen, **how)
            yield f"crops, {pixels}, {str(dtype)[6:]}", off(found, wanted), allowed


def steps(device: str, batch: int) -> Iterator[Check]:
    """The step as it is used beside the plain one: the same losses and gradients, dropout too."""
    precisions = [("float32", 1e-5), ("bf16", 1e-2)]
    alone = device == "cpu" and bf16_units() is None
    for precision, allowed in precisions[:1] if alone else precisions:
        where = devices.machine(device, precision)  # type: ignore[arg-type]
        recipe = Recipe(initialization="variance", batch_size=batch)
        network = devices.place(new_network(recipe, 100).train(), where)
        images = channels_last(torch.randn(batch, 3, 224, 224).to(device, where.dtype))
        labels = torch.randint(0, 100, (batch,)).to(device)
        used = stepper(network, where, tuple(images.shape))
        found = []
        for step in used, used, Step(network, where):  # twice, for what a replay leaves behind
            network.zero_grad()
            set_key(network, 7)
            loss = step(images, labels)
            found.append([loss, *(p.grad.clone() for p in network.parameters())])
        for name, mine in ("a replay", found[0]), ("a second replay", found[1]):
            worst = max(off(a, b) for a, b in zip(mine, found[2], strict=True))
            yield f"{name} beside the plain step, {precision}", worst, allowed
        short = images[: batch // 2], labels[: batch // 2]
        yield f"a shorter batch, {precision}", float(not used(*short).isfinite()), 0.0


def homes(device: str, batch: int) -> Iterator[Check]:
    """Batches from every home of the records, beside those that the CPU makes."""
    pack, recipe = made_pack(4 * batch + 3), Recipe(batch_size=batch)
    split, how = pack.splits["train"], Preprocessing.of(pack, recipe)
    plain = Batches(split, how, recipe, devices.Machine(torch.device("cpu")))
    assert isinstance(plain.loader, OnHost)
    for resident in "yes", "no":
        where = devices.machine(device, "float32", resident)  # type: ignore[arg-type]
        mine = Batches(split, how.to(where.device), recipe, where)
        worst = 0.0
        for a, b in zip(mine.epoch(1), plain.epoch(1), strict=True):
            worst = max(worst, off(a.images.cpu(), b.images), off(a.labels.cpu(), b.labels))
        yield f"batches from {type(mine.loader).__name__}", worst, ALLOWED[torch.float32]


class Stop(Screen):
    """Asks the training to stop at a step."""

    def __init__(self, step: int) -> None:
        self.at = step

    def say(self, text: str) -> None:
        """Say nothing."""

    def progress(self, progress: Any) -> None:
        """Send the signal that a terminal would send."""
        if progress.step == self.at:
            os.kill(os.getpid(), signal.SIGINT)


SMALL = Recipe(network="cifar", crop=28, pixel_scale=1 / 64, epochs=2)
FULL = Recipe(pixel_scale=1 / 64, epochs=1)
STOPPED_AT = 2
"""The step after which a training is stopped, in the middle of an epoch."""


def resumed(device: str, batch: int) -> Iterator[Check]:
    """Stopped in an epoch and resumed in another process: the weights of never having stopped."""
    for recipe in SMALL, FULL:
        recipe = replace(recipe, initialization="variance", schedule="constant", batch_size=batch)
        with tempfile.TemporaryDirectory() as folder:
            straight, stopped = Path(folder, "straight"), Path(folder, "stopped")
            trained(device, recipe, straight)
            trained(device, recipe, stopped, stop=STOPPED_AT)
            another = multiprocessing.get_context("spawn").Process(
                target=trained, args=(device, recipe, stopped), kwargs={"resume": stopped}
            )
            another.start()
            another.join()
            if another.exitcode:
                raise RuntimeError(f"the resumed training ended with {another.exitcode}")
            one, other = (checkpoint.load(run / "last.safetensors") for run in (straight, stopped))
        for part in "weights", "momenta":
            mine, theirs = getattr(one, part), getattr(other, part)
            worst = max(off(mine[name], theirs[name]) for name in mine)
            yield f"{recipe.network}, resumed beside never stopped, {part}", worst, 0.0


def trained(
    device: str, recipe: Recipe, run: Path, stop: int = -1, resume: Path | None = None
) -> None:
    """Train on made-up records, as the program does it, until the step `stop`."""
    size = 32 if recipe.crop < 32 else 256
    pack = made_pack((STOPPED_AT + 1) * recipe.batch_size + 1, size=size, pixels="rgb")
    screen = Stop(stop)
    train(pack, run, recipe, device=device, log_seconds=0, screen=screen, resume=resume)


CHECKS = {"kernels": kernels, "crops": crops, "steps": steps, "homes": homes, "resumed": resumed}


def guarded(name: str, checks: Iterator[Check]) -> Iterator[Check]:
    """The checks; one that raises an error is wrong, and the other groups still run."""
    try:
        yield from checks
    except Exception as error:  # noqa: BLE001 - the other checks still have something to say
        yield f"{name}: {type(error).__name__}: {error}"[:300], float("inf"), 0.0


def main() -> None:
    parser = options(__doc__, images=16)
    args = parser.parse_args()
    rows, failed = [], 0
    for name, check in CHECKS.items():
        began = time.perf_counter()
        for words, worst, allowed in guarded(name, check(args.device, args.images)):
            good = worst <= allowed
            failed += not good
            print(f"{'right' if good else 'WRONG'}  {worst:9.1e} of {allowed:.0e}  {words}")
            rows.append({"what": words, "difference": worst, "allowed": allowed})
            if args.json:
                finished = {"finished": False, "failed": failed, "rows": rows}
                write_json(args.json, {**machine(args.device), **finished})
        print(f"  {name}: {time.perf_counter() - began:.1f} s", flush=True)
    if args.json:
        facts = {"finished": True, "failed": failed, "rows": rows}
        write_json(args.json, {**machine(args.device), **facts})
    sys.exit(f"{failed} of {len(rows)} checks failed" if failed else 0)


if __name__ == "__main__":
    main()
