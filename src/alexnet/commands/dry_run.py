"""`alexnet train --dry-run` and `--print-config`: what a training would be, without doing it.

    images      counted by their names, not decoded
    recipe      chosen as by the training itself
    memory      counted on a network without weights (`training.memory`)
    disk space  records of the images; checkpoints
    time        some steps on random pixels, with the real network, device and batch size, after
                others that compile the kernels and warm up the memory

Nothing is written. `commands.train` calls `show_plan` after it has refused what it can. torch is
imported only within the functions.
"""

from __future__ import annotations

import dataclasses
import statistics
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from alexnet.recipes.named import RECIPES
from alexnet.recipes.recipe import Recipe
from alexnet.terminal import format_count

if TYPE_CHECKING:
    from alexnet.commands.training_pack import Outline, TrainingPack
    from alexnet.device import Machine
    from alexnet.training.memory import TrainingMemory

WARM_UP = 3
"""Steps that are not timed: the first ones compile kernels and take new memory from the system."""
STEPS = 8
"""Steps that are timed, at most."""
LONGEST = 6.0
"""Seconds after which no further step is done, but one that is not timed and one that is."""
PROCESS = 450_000_000
"""Bytes of Python, PyTorch and compiled kernels. PROCESS and COPIES were fitted to the peaks
(ru_maxrss) of steps on a CPU, 0.53, 2.02 and 2.36 GB for `cifar`, `small` and `paper`; the sums
are within 5 % of them, and of the 2.05 GB of a training of one epoch by `small`."""
COPIES = 2
"""Bytes beyond those that are counted, in multiples of the weights."""
FORWARD_SHARE = 1 / 3
"""Time of a forward pass, as a share of a training step: the backward pass takes two of three."""


def show_plan(images: TrainingPack, folder: Path, machine: Machine, *, only_recipe: bool) -> int:
    """Print what a training would be; with `only_recipe` its recipe as TOML, and nothing else."""
    from alexnet.commands.config_file import format_recipe

    outline = images.outline(folder)
    name, reason, recipe = choose_recipe(images, outline)
    if only_recipe:
        print(f"# Recipe `{name}` ({reason})." if reason else "# The recipe of the resumed run.")
        print(format_recipe(name if reason else "paper", recipe.to_dict()))
        return 0
    for line in (
        *_describe_images(outline),
        *_describe_recipe(name, reason, recipe),
        *_describe_machine(outline, recipe, machine, folder),
    ):
        print(line, flush=True)
    print("\nNothing was written. The same command without --dry-run trains.")
    return 0


def choose_recipe(images: TrainingPack, outline: Outline) -> tuple[str, str, Recipe]:
    """Return the name of the recipe, the reason, and the recipe, as the training chooses them.

    The reason is empty for the recipe of a resumed run.
    """
    from alexnet.commands.resumption import read_recipe

    choice = images.choice
    if images.resumed is not None and (recipe := read_recipe(images.resumed)) is not None:
        return str(images.resumed), "", dataclasses.replace(recipe, **choice.changes)
    train, validation = outline.counts.get("train", 0), bool(outline.counts.get("val"))
    name, reason = choice.choose_name(outline.kind, outline.size, train, validation)
    return name, reason, choice.make_recipe(name, outline.size)


def _describe_images(outline: Outline) -> Iterator[str]:
    counts = ", ".join(f"{count:,} {split}" for split, count in outline.counts.items())
    yield f"Images:      {outline.images} ({outline.kind})"
    yield f"             {counts}; {format_count(outline.n_classes, 'class')}"
    yield f"             {outline.description}"


def _describe_recipe(name: str, reason: str, recipe: Recipe) -> Iterator[str]:
    text = f"`{name}` ({reason})" if reason else f"that of {name}"
    yield textwrap.fill(f"Recipe:      {text}", 80, subsequent_indent=" " * 13)
    differences = recipe.differences(RECIPES["paper"])
    yield " " * 13 + ("It departs from the paper in:" if differences else "It is the paper's.")
    for field, (value, paper) in differences.items():
        yield f"               {field:<16} {value}   (paper: {paper})"


def _describe_machine(
    outline: Outline, recipe: Recipe, machine: Machine, folder: Path
) -> Iterator[str]:
    """Yield the lines on the network, memory, disk space and time; the last one takes a while."""
    from alexnet.commands.refusals import count_checkpoint_bytes, count_parameters
    from alexnet.training.memory import count_training_memory

    parameters = count_parameters(recipe, outline.n_classes)
    crop = f"crops of {recipe.crop}×{recipe.crop}"
    yield f"Network:     {recipe.network}, {parameters:,} parameters, {crop}"
    memory = count_training_memory(recipe, outline.n_classes, machine.precision)
    yield f"Device:      {machine.device}, {machine.precision}"
    yield f"Memory:      about {_gigabytes(_count_memory(memory, machine))}"
    checkpoint = count_checkpoint_bytes(recipe, outline.n_classes)
    pack = f"{_gigabytes(outline.pack_bytes)} for the pack, " if outline.pack_bytes else ""
    yield f"Disk space:  {pack}{_gigabytes(2 * checkpoint)} for the checkpoints"
    yield f"Run:         {folder}"
    yield from _describe_time(outline, recipe, machine)


def _count_memory(memory: TrainingMemory, machine: Machine) -> int:
    """Return the bytes of a training: on a GPU as they are reserved, on a CPU those of the process.

    The latter is its highest resident memory: what one step takes, and PROCESS and COPIES.
    """
    if machine.device.type == "cuda":
        return memory.whole
    step = memory.gradients + memory.activations + memory.largest
    weights = (1 + COPIES) * memory.weights + memory.momenta
    return PROCESS + weights + step + memory.images


def _describe_time(outline: Outline, recipe: Recipe, machine: Machine) -> Iterator[str]:
    from alexnet.screen import format_duration

    train, validation = outline.counts.get("train", 0), outline.counts.get("val", 0)
    if not train:
        yield "Time:        not known: there are no training images"
        return
    seconds = measure_step(recipe, outline.n_classes, machine)
    rate = recipe.batch_size / seconds
    epoch = (train + FORWARD_SHARE * validation) / rate
    total = recipe.epochs * epoch
    yield (
        f"Time:        about {format_duration(epoch)} an epoch, {format_duration(total)} for "
        f"{format_count(recipe.epochs, 'epoch')}"
    )
    yield f"             ({rate:,.0f} images/s, in some steps on random pixels;"
    yield "             reading and packing the images are not counted)"


def measure_step(recipe: Recipe, classes: int, machine: Machine) -> float:
    """Return the median time of a training step on random pixels, in seconds, once warmed up."""
    import torch

    from alexnet import device as devices
    from alexnet.training.loop import new_network
    from alexnet.training.sgd import SGD
    from alexnet.training.step import make_step

    network = devices.move_to_device(new_network(recipe, classes).train(), machine)
    sgd = SGD(network, recipe)
    shape = recipe.batch_size, 3, recipe.crop, recipe.crop
    step = make_step(network, machine, shape)
    pixels = torch.randn(shape, device=machine.device, dtype=machine.dtype)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(classes, shape[:1], device=machine.device)

    def do_step() -> None:
        sgd.step(step(pixels, labels), 1e-6)
        _wait(machine)

    return time_warm(do_step)


def time_warm(do_step: Callable[[], None]) -> float:
    """Return the median time of a step in seconds, without the first WARM_UP ones.

    After LONGEST seconds no further step is begun, but two are done at the least, and the first is
    never counted: it compiles the kernels, which is done once, and takes longer than the others.
    """
    began = time.perf_counter()
    times: list[float] = []
    while len(times) < WARM_UP + STEPS:
        start = time.perf_counter()
        if len(times) >= 2 and start - began >= LONGEST:
            break
        do_step()
        times.append(time.perf_counter() - start)
    return statistics.median(times[min(WARM_UP, len(times) - 1) :])


def _wait(machine: Machine) -> None:
    """Wait for the work of a GPU."""
    if machine.device.type == "cuda":
        import torch

        torch.cuda.synchronize()


def _gigabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e8 else f"{max(1, n_bytes // 10**6)} MB"
