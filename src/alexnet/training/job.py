"""What a training is given, and how it ended, as data.

`training.train` makes a `TrainingJob` for the loop, which returns a `TrainingOutcome`. Nothing here
computes; `training.loop` must not be imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alexnet.checkpoint import Checkpoint, Position
from alexnet.device import Machine
from alexnet.packs.pack import Pack
from alexnet.recipes.recipe import Recipe
from alexnet.terminal import format_count
from alexnet.training.division import WHOLE, Division
from alexnet.training.transfer import Transfer


@dataclass(frozen=True)
class TrainingJob:
    """The inputs of a training, which do not change while it runs."""

    pack: Pack
    run: Path
    """Folder that the run is written to."""
    recipe: Recipe
    machine: Machine
    start: Checkpoint | None
    """The checkpoint to resume from; None for a new training."""
    init: Transfer | None
    """The earlier training whose layers this one begins with; None: all weights are drawn."""
    save_seconds: float = 600.0
    """Seconds between two checkpoints within an epoch."""
    log_seconds: float = 10.0
    """Seconds between two reports."""
    division: Division = WHOLE
    """How it is divided among processes."""


@dataclass(frozen=True)
class TrainingOutcome:
    """How a training ended."""

    run: Path
    position: Position
    signal: int | None
    """The number of the signal that stopped it early; None if none did."""
    saved: bool
    """Whether `last.safetensors` holds this position: False if the disk was full."""

    def __fspath__(self) -> str:
        """Return the run's folder: the outcome can be given wherever a run is named by its path."""
        return str(self.run)

    def __repr__(self) -> str:
        """Return the run, the epochs done, the last errors, and how it ended if early."""
        parts = [f"{str(self.run)!r}: {format_count(self.position.epoch, 'epoch')} done"]
        if self.position.step:
            parts.append(f"{format_count(self.position.step, 'step')} of the next")
        for measured in self.position.history[-1:]:
            parts.append(f"training loss {measured['train_loss']:.4f}")
            if "val_top1" in measured:
                parts.append(f"validation error {measured['val_top1']:.2%}")
        if self.signal is not None:
            parts.append(f"stopped by signal {self.signal}")
        if not self.saved:
            parts.append("NOT saved")
        return f"TrainingOutcome({', '.join(parts)})"
