"""What `alexnet train` has to mind when torchrun has started it in several processes.

The processes themselves are joined in `alexnet.processes`; here are the options that they share,
those that they cannot have, the pack that one of them makes for all, and the command that starts
them again. `commands.train` calls this module. It must not import torch.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alexnet.commands.training_pack import TrainingPack
    from alexnet.packs.pack import Pack
    from alexnet.processes import World

SHARED: dict[str, str | None] = {"devices": None, "reduction": "tree", "exchange": "exact"}
"""Options that say how processes share a training, with their defaults."""


def is_one_of_several() -> bool:
    """Whether torchrun has started several processes, of which this is one."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


def check_several(
    devices: str | None, device: str, time: str | None, compiled: bool, *, has_folder: bool
) -> None:
    """Raise ValueError for options that several processes cannot have.

    The first four are options of `alexnet train`; `has_folder` says whether the folder of the run
    was given.
    """
    if devices in ("towers", "hybrid"):
        for name, is_given in (("compile", compiled), ("time", time is not None)):
            if is_given:
                raise ValueError(f"--{name} does not go together with --devices {devices}")
    if not is_one_of_several():
        return
    if time is not None:
        raise ValueError(
            "--time measures the speed of one process, and there are "
            f"{os.environ['WORLD_SIZE']}: give --epochs in its place"
        )
    if ":" in device and os.environ.get("LOCAL_WORLD_SIZE", "1") != "1":
        raise ValueError(
            f"--device {device} names one GPU for all processes of this machine: say --device "
            "cuda, and each takes its own"
        )
    if not has_folder and os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0":
        raise ValueError(
            "under torchrun --max-restarts, a training that is started again has to find its run: "
            "name the folder of the run after the images"
        )


def open_shared_pack(images: TrainingPack, folder: Path, world: World) -> Pack:
    """Return the pack, which the first process makes if it has to be made."""
    pack = images.open_or_make(folder) if world.rank == 0 else None
    world.barrier()
    return pack or images.open_or_make(folder)


def format_command(words: list[str], shared: Mapping[str, str | None]) -> str:
    """Return a command of `alexnet` as it is typed, under torchrun if this one was.

    `shared` has the values of the options in SHARED.
    """
    command = ["alexnet", *words]
    if is_one_of_several():
        n_here = os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"])
        command = ["torchrun", "--nproc-per-node", n_here, "-m", *command]
    for name, value in shared.items():
        if value is not None and value != SHARED[name]:
            command += [f"--{name}", value]
    return shlex.join(command)
