"""`alexnet train`: train a network on images or a pack.

This module has the options and the order of the steps; `recipe_options` chooses the recipe,
`training_pack` the pack, `resumption` the run to resume, and `several_processes` checks what
torchrun has started. torch is imported only within `run`.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from alexnet.commands.dry_run import show_plan
from alexnet.commands.recipe_options import Changes, RecipeChoice, get_given_fields
from alexnet.commands.resumption import (
    Resume,
    find_folder,
    find_restarted,
    find_resumed,
    read_recipe,
)
from alexnet.commands.several_processes import (
    SHARED,
    check_several,
    format_command,
    open_shared_pack,
)
from alexnet.commands.training_output import (
    JsonScreen,
    QuietScreen,
    format_next_steps,
    format_outcome,
    print_end,
    print_start,
    silence,
)
from alexnet.commands.training_pack import TrainingPack
from alexnet.recipes.recipe import Recipe

if TYPE_CHECKING:
    from alexnet.device import Machine
    from alexnet.packs.pack import Pack
    from alexnet.processes import World
    from alexnet.training.division import Division
    from alexnet.training.job import TrainingOutcome
    from alexnet.training.log import Screen
    from alexnet.training.transfer import Transfer


@dataclass(frozen=True)
class Train:
    """Train a network on a pack, or on images, which are packed first."""

    images: Positional[str]
    """A pack, or images in any form that `alexnet pack` reads."""
    run_folder: Positional[Path | None] = None
    """Folder of the run. By default runs/<name>-<date and time>."""
    recipe: str | None = None
    """A named recipe to start from. By default one is chosen for the images, and its name is
    printed."""
    resume: Annotated[Resume, arg(metavar="[RUN]")] = None
    """Continue from the last checkpoint of this run, or from this checkpoint file. Without a value:
    continue the run in the given folder, else the newest run on these images in or around the
    current folder."""
    init: Path | None = None
    """Start with the weights of this run. The last layer is not copied if the classes differ. To
    freeze layers or reduce their learning rates, use --rates."""
    take: tuple[str, ...] = ()
    """Copy only these layers from --init."""
    reset: tuple[str, ...] = ()
    """Copy all layers from --init except these."""
    device: str = "auto"
    """auto, cpu, cuda, or cuda:1 for the second GPU."""
    precision: Literal["auto", "float32", "tf32", "bf16"] = "auto"
    """Precision of matrix products and convolutions; the weights are always float32. auto: bf16 on
    a GPU that has it, else float32."""
    resident: Literal["auto", "yes", "no"] = "auto"
    """Whether the images are kept in the memory of the GPU. auto: if they fit."""
    compiled: Annotated[bool, arg(name="compile")] = False
    """Compile the training step with torch.compile, which takes about a minute at the start."""
    save_minutes: float = 10.0
    """Minutes between checkpoints within an epoch; one is always saved after every epoch."""
    log_seconds: float = 10.0
    """Seconds between two lines of the log."""
    time: str | None = None
    """Train for about this time, as 20m, 90s or 1h30m: a few seconds are measured, and the number
    of epochs and the schedule are planned for it."""
    devices: Literal["replicas", "towers", "hybrid"] | None = None
    """How the processes that torchrun has started share the training. replicas, the default: each
    has the whole network and computes a part of the batch (--slices). towers: two processes have
    one tower each (Figure 2). hybrid: each has the convolutions for its part of the batch, and a
    part of the units of the fully connected layers (arXiv 1404.5997; --slices, --fc-period)."""
    reduction: Literal["tree", "bucketed"] = "tree"
    """With replicas, how gradients are summed. tree: over the slices of the batch, with the same
    bits on any number of processes. bucketed: while they are computed, by PyTorch's
    DistributedDataParallel, with last bits that depend on the number of processes."""
    exchange: Literal["exact", "bf16"] = "exact"
    """With --devices towers: whether what the towers send each other is rounded to bf16, which
    halves it."""
    quiet: bool = False
    """Print warnings and errors only, and one line at the end."""
    json: bool = False
    """Print a JSON object per epoch on stdout, and one at the start and at the end."""
    config: Path | None = None
    """Read options and recipe fields from this TOML file, or from the recipe.json of a run. Options
    on the command line win."""
    print_config: bool = False
    """Print the recipe as TOML, as --config reads it, and do not train."""
    dry_run: bool = False
    """Show the recipe, the images, the network, and the memory, disk space and time expected;
    check everything, and write nothing."""
    changes: Annotated[Changes, arg(name="")] = field(default_factory=Changes)
    """Fields of the recipe that are to be different."""

    def run(self) -> int:
        """Join the other processes, if there are any, and train."""
        from alexnet.processes import join

        self._check_options()
        with join() as world:
            return self._run(world)

    def _run(self, world: World) -> int:
        """Pack the images if necessary, choose the recipe, train, and print the next commands."""
        folder, resumed, choice, machine = world.check(lambda: self._check_start(world))
        images = TrainingPack(self.images, choice, resumed, self._transfer)
        if self.dry_run or self.print_config:
            if world.rank:
                return 0
            return show_plan(images, folder, machine, only_recipe=self.print_config)
        folder = Path(world.broadcast(str(folder)))  # also: all have checked before one writes
        with silence(self.quiet or world.rank > 0):
            pack = open_shared_pack(images, folder, world)
            images.warn_of_change(pack)
            if resumed is not None and (recipe := read_recipe(resumed)) is not None:
                recipe = dataclasses.replace(recipe, **choice.changes)
            else:
                recipe = choice.choose_for_pack(pack)
        if self.time is not None:
            recipe = self._plan(pack, folder, recipe, machine, choice.changes)
        if self.json and world.rank == 0:
            print_start(pack, folder, recipe)
        world.agree({"device": machine.device.type, "precision": machine.precision})
        outcome = self._train(pack, folder, recipe, resumed, world)
        if world.rank:
            return 128 + outcome.signal if outcome.signal is not None else int(not outcome.saved)
        return self._report(outcome, folder, recipe, len(pack.classes))

    def _check_start(self, world: World) -> tuple[Path, Path | None, RecipeChoice, Machine]:
        """Check what can be checked before images are packed, the same on all processes.

        Returns the folder of the run, the run to resume, the recipe's choice, and the machine.
        """
        from alexnet.commands.refusals import TrainingPlan, check_order, check_start
        from alexnet.device import set_up_machine
        from alexnet.packing.automatic import pack_name
        from alexnet.runs import check_folder

        check_order(self.images, self.run_folder)
        machine = set_up_machine(self.device, self.precision, self.resident, self.compiled)
        with silence(self.quiet or world.rank > 0):
            resumed = find_restarted(self.run_folder)
            resumed = resumed or find_resumed(self.resume, self.run_folder, self.images)
        name = f"{pack_name(self.images)}-{time.strftime('%Y%m%d-%H%M%S')}"  # in local time
        folder = self.run_folder or find_folder(resumed) or Path("runs") / name
        check_folder(folder, Path(self.images).absolute())
        choice = RecipeChoice(self.recipe, self.init, get_given_fields(self.changes))
        plan = TrainingPlan(folder, choice, resumed, self._transfer)
        intervals = {"save_minutes": self.save_minutes, "log_seconds": self.log_seconds}
        check_start(plan, intervals=intervals)
        if resumed is None:  # the named recipes have the defaults of these two fields
            fields = {k: v for k, v in choice.changes.items() if k in ("slices", "fc_period")}
            self._divide(world, Recipe(**fields))
        return folder, resumed, choice, machine

    def _plan(
        self, pack: Pack, folder: Path, recipe: Recipe, machine: Machine, kept: Collection[str]
    ) -> Recipe:
        """Return the recipe with as many epochs as fit into `--time`."""
        from alexnet.training.planning import parse_time, plan_recipe

        assert self.time is not None
        seconds = parse_time(self.time)
        plan = plan_recipe(pack, folder, recipe, machine, seconds, init=self._transfer, kept=kept)
        with silence(self.quiet):
            print(plan.describe(), file=sys.stderr)
        return plan.recipe

    def _check_options(self) -> None:
        """Raise ValueError for options that do not go together."""
        if self.init and self.resume is not None:
            raise ValueError(
                "--resume continues a training, --init begins a new one: give one of them"
            )
        if (self.take or self.reset) and not self.init:
            raise ValueError("--take and --reset name layers of a run: say which, --init RUN")
        check_several(
            self.devices, self.device, self.time, self.compiled, has_folder=bool(self.run_folder)
        )
        if self.time is None:
            return
        from alexnet.training.planning import parse_time

        parse_time(self.time)
        if self.resume is not None:
            raise ValueError(
                "--time plans a new training. A resumed one has its number of epochs: leave --time "
                "away, or give another number, --epochs"
            )
        if "epochs" in get_given_fields(self.changes):
            raise ValueError("--time plans the number of epochs: leave --epochs away, or --time")

    @property
    def _transfer(self) -> Transfer | None:
        """The earlier training that this one begins with."""
        from alexnet.training.transfer import Transfer

        return Transfer(self.init, self.take, self.reset) if self.init else None

    def _divide(self, world: World, recipe: Recipe) -> Division:
        """Return how the training is shared. Raises ValueError where that is not possible."""
        import torch

        from alexnet.training.division import make_division

        wire = torch.bfloat16 if self.exchange == "bf16" else None
        return make_division(self.devices, world, recipe, wire, self.reduction)

    def _train(
        self, pack: Pack, folder: Path, recipe: Recipe, resumed: Path | None, world: World
    ) -> TrainingOutcome:
        import torch

        from alexnet import __version__
        from alexnet.training.train import train

        division = self._divide(world, recipe)
        facts = {name: getattr(self, name) for name in SHARED}
        facts |= {"version": __version__, "torch": torch.__version__}
        world.agree({**facts, "recipe": str(recipe), "pack": pack.checksum})
        with self._open_screen(world.rank) as screen:
            return train(
                pack,
                folder,
                recipe,
                device=self.device,
                precision=self.precision,
                resident=self.resident,
                compiled=self.compiled,
                resume=resumed,
                init=self._transfer,
                save_minutes=self.save_minutes,
                log_seconds=self.log_seconds,
                screen=screen,
                division=division,
            )

    @contextmanager
    def _open_screen(self, rank: int) -> Iterator[Screen]:
        """The screen for a person, a quiet one, or one that prints JSON beside either; none for
        other processes than the first."""
        from alexnet.screen import TrainingScreen
        from alexnet.training.log import Screen

        if rank:
            yield Screen()
            return
        with nullcontext(QuietScreen()) if self.quiet else TrainingScreen() as screen:
            yield JsonScreen(screen) if self.json else screen

    def _report(
        self, outcome: TrainingOutcome, folder: Path, recipe: Recipe, n_classes: int
    ) -> int:
        """Print how the training ended and what to do next; return the exit status."""
        shared = {name: getattr(self, name) for name in SHARED}
        resume = format_command(["train", self.images, "--resume", str(folder)], shared)
        with suppress(BrokenPipeError):  # nobody reads the output any more; the training is done
            if self.json:
                print_end(outcome, n_classes)
        if outcome.signal is not None:
            state = "saved" if outcome.saved else "NOT saved"
            print(f"Stopped and {state}. Continue with: {resume}", file=sys.stderr)
            return 128 + outcome.signal
        if not outcome.saved:
            print(
                f"The end of this training is NOT saved. Free some space on the disk, then: "
                f"{resume}",
                file=sys.stderr,
            )
            return 1
        with suppress(BrokenPipeError):
            if not self.json:
                print(format_outcome(outcome), flush=True)
            if not self.json and not self.quiet:
                print(format_next_steps(folder, recipe), flush=True)
        return 0
