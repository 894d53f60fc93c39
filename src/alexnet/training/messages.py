"""The messages of a training: after an epoch, at the end, and on errors.

Called by the other modules of `training`. Functions from numbers to text; nothing here prints,
and nothing here imports the loop.
"""

from __future__ import annotations

import torch

from alexnet.checkpoint import Position
from alexnet.device import Machine
from alexnet.recipes.recipe import Recipe

FLAT_LOSS = """The loss has stayed at {loss:.3f} = ln({classes}) for {steps} steps: the network has
learned nothing. Common causes: a learning rate that is too high or too low (now {rate:g}; try a
third of it, or three times it); the printed initialization, which is slow to start on few images
(--initialization variance, or --recipe small); labels that do not belong to their images (look at
them: alexnet pack --info PACK --sheet x.png)."""


def format_epoch(epoch: int, epochs: int, measured: dict[str, float]) -> str:
    """One line about a finished epoch. `epoch` counts from 1; `measured` is its history entry."""
    line = f"epoch {epoch}/{epochs}  training loss {measured['train_loss']:.4f}"
    if "val_top1" in measured:
        line += (
            f"  validation loss {measured['val_loss']:.4f}  top-1 error {measured['val_top1']:.2%}"
            f"  top-5 error {measured['val_top5']:.2%}"
        )
    return line


def format_finished(position: Position) -> str:
    """The message for a training whose epochs are all done already."""
    history = position.history
    # the lowest error; without validation images the last epoch, whose -i is the lowest
    best = min(range(len(history)), key=lambda i: history[i].get("val_top1", -i))
    line = f"This training is finished: it has all its {position.epoch} epochs. "
    if "val_top1" in history[best]:
        line += (
            f"Its best is epoch {best + 1}: top-1 error {history[best]['val_top1']:.2%}, top-5 "
            f"error {history[best]['val_top5']:.2%}. "
        )
    else:
        line += f"Training loss at the end: {history[best]['train_loss']:.4f}. "
    return f"{line}To train for more epochs: --epochs {position.epoch + 10}"


def format_flat_loss(loss: float, classes: int, steps: int, rate: float) -> str:
    """A warning that the mean loss of `steps` steps is that of guessing, with the usual causes."""
    return FLAT_LOSS.format(loss=loss, classes=classes, steps=steps, rate=rate)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the memory of the GPU or of the host is full."""
    kinds = MemoryError, torch.OutOfMemoryError
    return isinstance(error, kinds) or "can't allocate memory" in str(error)


def explain_out_of_memory(error: BaseException, recipe: Recipe, machine: Machine) -> str:
    """The message of a MemoryError: what did not fit, and two ways to go on."""
    why = (str(error).splitlines() or [type(error).__name__])[0]
    fewer = max(1, recipe.batch_size // 2)
    return (
        f"a step of {recipe.batch_size} images of {recipe.crop}×{recipe.crop} pixels does not fit "
        f"into the memory of {machine.device} ({why}). End other programs that use this memory "
        f"and go on (--resume), or train anew with a smaller batch: --batch-size {fewer}"
    )
