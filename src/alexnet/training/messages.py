"""The messages of a training: after an epoch, at the end, and on errors.

Called by the other modules of `training`. Functions from numbers to text; nothing here prints,
and nothing here imports the loop.
"""

from __future__ import annotations

import torch

from alexnet.checkpoint import Position
from alexnet.device import Machine
from alexnet.evaluation.counts import has_top5
from alexnet.recipes.recipe import Recipe
from alexnet.terminal import format_count

FLAT_LOSS = """The loss has stayed at {loss:.3f} = ln({classes}) for {steps} steps: the network has
learned nothing. Common causes: a learning rate that is too high or too low (now {rate:g}; try a
third of it, or three times it); the printed initialization, which is slow to start on few images
(--initialization variance, or --recipe small); labels that do not belong to their images (look at
them: alexnet pack --info PACK --sheet x.png)."""


def format_epoch(epoch: int, epochs: int, measured: dict[str, float], n_classes: int) -> str:
    """One line about a finished epoch, of 80 columns at most.

    `epoch` counts from 1; `measured` is its history entry.
    """
    line = f"epoch {epoch}/{epochs}  loss {measured['train_loss']:.2f}"
    if "val_top1" in measured:
        line += f", val loss {measured['val_loss']:.2f}, {format_errors(measured, n_classes)}"
    return line


def format_errors(measured: dict[str, float], n_classes: int) -> str:
    """Error and accuracy on the validation images; the top-5 error of more than five classes."""
    top1 = measured["val_top1"]
    top5 = f", top-5 {measured['val_top5']:.1%}" if has_top5(n_classes) else ""
    return f"error {top1:.1%}{top5}, accuracy {1 - top1:.1%}"


def find_best(history: tuple[dict[str, float], ...]) -> int:
    """Return the place in a history of the epoch with the lowest validation error.

    Without validation images it is the last.
    """
    return min(range(len(history)), key=lambda i: history[i].get("val_top1", -i))


def format_finished(position: Position, n_classes: int) -> str:
    """The message for a training whose epochs are all done already."""
    history = position.history
    best = find_best(history)
    done = format_count(position.epoch, "epoch")
    line = f"This training is finished: it has all its {done}. "
    if "val_top1" in history[best]:
        line += f"Its best is epoch {best + 1}: {format_errors(history[best], n_classes)}. "
    else:
        line += f"Training loss at the end: {history[best]['train_loss']:.4f}. "
    return f"{line}To train for more epochs: --epochs {position.epoch + 10}"


def format_flat_loss(loss: float, classes: int, steps: int, rate: float) -> str:
    """A warning that the mean loss of `steps` steps is that of guessing, with the usual causes."""
    text = FLAT_LOSS.format(loss=loss, classes=classes, steps=steps, rate=rate)
    return " ".join(text.split())


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the memory of the GPU or of the host is full."""
    kinds = MemoryError, torch.OutOfMemoryError
    return isinstance(error, kinds) or "can't allocate memory" in str(error)


def explain_out_of_memory(error: BaseException, recipe: Recipe, machine: Machine) -> str:
    """The message of a MemoryError: what did not fit, and two ways to go on."""
    why = (str(error).splitlines() or [type(error).__name__])[0]
    fewer = max(1, recipe.batch_size // 2)
    images = format_count(recipe.batch_size, "image")
    return (
        f"a step of {images} of {recipe.crop}×{recipe.crop} pixels does not fit into the memory of "
        f"{machine.device} ({why}). End other programs that use this memory and go on "
        f"(--resume), or train anew with a smaller batch: --batch-size {fewer}"
    )
