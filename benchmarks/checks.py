"""Check, before anything is timed on a GPU, that it computes what it should.

python benchmarks/checks.py

Five groups of checks, each a comparison of two results that should be equal or close:

    kernels   each kernel with its reference, values and gradients, in float32 and bfloat16
    crops     crops of records with their reference
    steps     the training step recorded as a graph with the step launched kernel by kernel
    loaders   batches of records that are resident on the GPU, or streamed to it, with batches
              that the CPU prepares
    resumed   a training that is stopped and resumed in a second process with one that runs through,
              for the small network and the full-size one

On a CPU the same code runs, which says nothing about a GPU. `benchmarks/gpu.py` runs this first.
Exits with status 1 if a check fails.
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
from alexnet.batches.epochs import Batches
from alexnet.batches.loaders import HostLoader
from alexnet.batches.preprocessing import Preprocessing
from alexnet.kernels import crop, norm_pool, references_only, relu_pool, response_norm
from alexnet.kernels.runtime.layout import to_channels_last
from alexnet.nets.layers import set_key
from alexnet.processor import find_bf16_units
from alexnet.recipes.recipe import Recipe
from alexnet.training.log import Screen
from alexnet.training.loop import new_network
from alexnet.training.step import TrainingStep, make_step
from alexnet.training.train import train
from interleave import machine, options, write_json
from made import made_pack

Check = tuple[str, float, float]
"""What was compared, the largest difference measured, and the largest allowed."""
TOLERANCES = {torch.float32: 2e-5, torch.bfloat16: 2e-2}
BLOCKS: dict[str, tuple[Callable[..., Tensor], tuple[int, ...]]] = {
    "ReLU, norm, pool, two towers": (partial(norm_pool, towers=2), (96, 55, 55)),
    "ReLU, norm, pool, one tower": (norm_pool, (256, 27, 27)),
    "norm, pool, ReLU": (partial(norm_pool, order="norm-pool-relu", over_n=True), (96, 27, 27)),
    "norm alone": (response_norm, (64, 13, 13)),
    "ReLU, max pool": (relu_pool, (256, 13, 13)),
    "ReLU, mean pool": (partial(relu_pool, kind="avg"), (64, 8, 8)),
    "mean pool, ReLU": (partial(relu_pool, kind="avg", order="pool-relu"), (64, 15, 15)),
}


def compare(result: Tensor, expected: Tensor, ties: bool = False) -> float:
    """Return the largest difference, divided by the largest expected number.

    It is infinite if a number of the result is not finite. With `ties`, one number in 10,000 is
    left out: where two maxima are nearly equal, rounding decides which of them gets the gradient.
    """
    result, expected = result.detach().double(), expected.detach().double()
    if not result.isfinite().all():
        return float("inf")
    differences = (result - expected).abs().flatten()
    left_out = differences.numel() // 10_000 if ties else 0
    worst = differences.topk(left_out + 1).values[-1]
    return float(worst / expected.abs().max().clamp_min(1e-30))


def check_kernels(device: str, images: int) -> Iterator[Check]:
    """Compare every block with its reference in float64, values and gradients."""
    for name, (operation, shape) in BLOCKS.items():
        for dtype, allowed in TOLERANCES.items():
            torch.manual_seed(0)
            x = to_channels_last(3 * torch.randn(images, *shape).to(device, dtype))
            x, exact = (y.detach().requires_grad_() for y in (x, x.double()))
            out = operation(x)
            with references_only():
                expected = operation(exact)
            gradient = torch.randn(expected.shape).to(device, dtype)
            out.backward(gradient)
            expected.backward(gradient.double())
            assert x.grad is not None
            assert exact.grad is not None
            title = f"{name}, {str(dtype)[6:]}"
            yield title, compare(out, expected), allowed
            yield f"{title}, gradient", compare(x.grad, exact.grad, ties=True), 2 * allowed


def check_crops(device: str, images: int) -> Iterator[Check]:
    """Compare crops with their reference, for both kinds of records."""
    for pixels, shape in ("rgb", (256, 256, 3)), ("yuv420", (98304,)):
        torch.manual_seed(0)
        records = torch.randint(0, 256, (images, *shape), dtype=torch.uint8).to(device)
        offsets = torch.randint(0, 33, (2, images)).to(device)
        options: dict[str, Any] = {
            "tops": offsets[0],
            "lefts": offsets[1],
            "flips": (torch.rand(images) < 0.5).to(device),
            "shifts": 20 * torch.randn(images, 3).to(device),
            "mean": 255 * torch.rand(256, 256, 3).to(device),
        }
        options |= {"size": 224, "side": 256, "scale": 1 / 64, "pixels": pixels}
        for dtype, allowed in TOLERANCES.items():
            indices = torch.arange(images - 1, -1, -1).to(device)
            result = crop(records, indices, dtype=dtype, **options)
            with references_only():
                expected = crop(records, indices, **options)
            yield f"crops, {pixels}, {str(dtype)[6:]}", compare(result, expected), allowed


def check_steps(device: str, batch: int) -> Iterator[Check]:
    """Compare the step that training uses with the plain one: losses, gradients, dropout too."""
    precisions = [("float32", 1e-5), ("bf16", 1e-2)]
    float32_only = device == "cpu" and find_bf16_units() is None
    for precision, allowed in precisions[:1] if float32_only else precisions:
        where = devices.set_up_machine(device, precision)  # type: ignore[arg-type]
        recipe = Recipe(initialization="variance", batch_size=batch)
        network = devices.move_to_device(new_network(recipe, 100).train(), where)
        images = to_channels_last(torch.randn(batch, 3, 224, 224).to(device, where.dtype))
        labels = torch.randint(0, 100, (batch,)).to(device)
        used = make_step(network, where, tuple(images.shape))
        results = []
        # Twice, because a replay may leave something behind that changes the next one.
        for step in used, used, TrainingStep(network, where):
            network.zero_grad()
            set_key(network, 7)
            loss = step(images, labels)
            results.append([loss, *(p.grad.clone() for p in network.parameters())])
        for name, replayed in ("a replay", results[0]), ("a second replay", results[1]):
            worst = max(compare(a, b) for a, b in zip(replayed, results[2], strict=True))
            yield f"{name} beside the plain step, {precision}", worst, allowed
        short = images[: batch // 2], labels[: batch // 2]
        yield f"a shorter batch, {precision}", float(not used(*short).isfinite()), 0.0


def check_loaders(device: str, batch: int) -> Iterator[Check]:
    """Compare the batches of every loader with those that the CPU prepares."""
    pack, recipe = made_pack(4 * batch + 3), Recipe(batch_size=batch)
    split, preprocessing = pack.splits["train"], Preprocessing.of(pack, recipe)
    plain = Batches(split, preprocessing, recipe, devices.Machine(torch.device("cpu")))
    assert isinstance(plain.loader, HostLoader)
    for resident in "yes", "no":
        where = devices.set_up_machine(device, "float32", resident)  # type: ignore[arg-type]
        batches = Batches(split, preprocessing.to(where.device), recipe, where)
        worst = 0.0
        for a, b in zip(batches.epoch(1), plain.epoch(1), strict=True):
            worst = max(worst, compare(a.images.cpu(), b.images), compare(a.labels.cpu(), b.labels))
        yield f"batches from {type(batches.loader).__name__}", worst, TOLERANCES[torch.float32]


class StoppingScreen(Screen):
    """Stops the training at a step, as a user would from a terminal, and prints nothing."""

    def __init__(self, step: int) -> None:
        self.stop_at = step

    def say(self, text: str) -> None:
        """Print nothing."""

    def progress(self, progress: Any) -> None:
        """Send the signal that Ctrl-C sends, at the step given."""
        if progress.step == self.stop_at:
            os.kill(os.getpid(), signal.SIGINT)


SMALL = Recipe(network="cifar", crop=28, pixel_scale=1 / 64, epochs=2)
FULL = Recipe(pixel_scale=1 / 64, epochs=1)
STOPPED_AT = 2
"""The step after which a training is stopped: in the middle of an epoch."""


def check_resumed(device: str, batch: int) -> Iterator[Check]:
    """Compare weights and momenta after a stop and a resume in a second process with none."""
    for recipe in SMALL, FULL:
        recipe = replace(recipe, initialization="variance", schedule="constant", batch_size=batch)
        with tempfile.TemporaryDirectory() as folder:
            straight, stopped = Path(folder, "straight"), Path(folder, "stopped")
            train_on_made_pack(device, recipe, straight)
            train_on_made_pack(device, recipe, stopped, stop=STOPPED_AT)
            another = multiprocessing.get_context("spawn").Process(
                target=train_on_made_pack,
                args=(device, recipe, stopped),
                kwargs={"resume": stopped},
            )
            another.start()
            another.join()
            if another.exitcode:
                raise RuntimeError(f"the resumed training ended with {another.exitcode}")
            one, other = (checkpoint.load(run / "last.safetensors") for run in (straight, stopped))
        for part in "weights", "momenta":
            tensors, resumed = getattr(one, part), getattr(other, part)
            worst = max(compare(tensors[name], resumed[name]) for name in tensors)
            yield f"{recipe.network}, resumed beside never stopped, {part}", worst, 0.0


def train_on_made_pack(
    device: str, recipe: Recipe, run: Path, stop: int = -1, resume: Path | None = None
) -> None:
    """Train on random records, as the program does it, up to the step `stop` if it is given."""
    size = 32 if recipe.crop < 32 else 256
    pack = made_pack((STOPPED_AT + 1) * recipe.batch_size + 1, size=size, pixels="rgb")
    screen = StoppingScreen(stop)
    train(pack, run, recipe, device=device, log_seconds=0, screen=screen, resume=resume)


CHECKS = {
    "kernels": check_kernels,
    "crops": check_crops,
    "steps": check_steps,
    "loaders": check_loaders,
    "resumed": check_resumed,
}


def catch_errors(name: str, checks: Iterator[Check]) -> Iterator[Check]:
    """Yield the checks; an error ends the group and becomes a check that has failed."""
    try:
        yield from checks
    except Exception as error:  # noqa: BLE001 - the other groups must still run
        yield f"{name}: {type(error).__name__}: {error}"[:300], float("inf"), 0.0


def main() -> None:
    parser = options(__doc__, images=16)
    args = parser.parse_args()
    rows, failed = [], 0
    for name, check in CHECKS.items():
        began = time.perf_counter()
        for title, worst, allowed in catch_errors(name, check(args.device, args.images)):
            good = worst <= allowed
            failed += not good
            print(f"{'right' if good else 'WRONG'}  {worst:9.1e} of {allowed:.0e}  {title}")
            rows.append({"what": title, "difference": worst, "allowed": allowed})
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
