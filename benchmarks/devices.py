"""Images per second of 1, 2 and 4 processes that train one network, each kind beside PyTorch's.

python benchmarks/devices.py --json benchmarks/results/devices.json
python benchmarks/devices.py --device cuda --processes 1 2 4 8        # as many GPUs as processes

Compared, with the same global batch: one process; PyTorch's DistributedDataParallel of the same
network and update rule; replicas with the exact sum over a tree, and with bucketed sums; towers (two
processes); hybrid.
On a CPU each process has one thread, so that one process uses one core. The processes of a machine
with fewer cores than processes share them: then no kind can be faster than the cores allow, and the
column "efficiency", images per second relative to N times those of one process, says what the
exchange costs only as far as N is at most the number of cores. The table says how many there are.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from interleave import Contestant, Turn, contest, keeper, options, report

CLASSES = 1000
SLICES = 4
"""Slices of the batch of replicas and hybrid: each number of processes divides them."""
KINDS = "one", "ddp", "replicas", "bucketed", "towers", "hybrid"
COUNTS = {"one": (1,), "towers": (1, 2)}
"""Numbers of processes of the kinds that cannot have any number."""


class Job:
    """Processes that do steps together when they are told, and are told by the pipes to them."""

    def __init__(self, kind: str, n: int, device: str, batch: int, steps: int) -> None:
        with socket.create_server(("localhost", 0)) as taken:
            port = taken.getsockname()[1]
        place = {"WORLD_SIZE": str(n), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
        place |= {"OMP_NUM_THREADS": "1", "LOCAL_WORLD_SIZE": str(n)}
        words = [kind, device, str(batch), str(steps)]
        self.processes = [
            subprocess.Popen(
                [sys.executable, __file__, "--work", *words],
                env=os.environ | place | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if rank else None,
                text=True,
            )
            for rank in range(n)
        ]
        self.images = batch * steps
        self._wait()

    def turn(self) -> int:
        """Have all processes do their steps; return the number of images."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        self._wait()
        return self.images

    def _wait(self) -> None:
        """Wait for the word of every process. Raises RuntimeError if one has ended."""
        for process in self.processes:
            assert process.stdout is not None
            if not process.stdout.readline():
                self.stop()
                raise RuntimeError(f"a process ended with {process.wait()}")

    def stop(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.kill()
            process.communicate()


def prepare(device: str, kind: str, n: int, batch: int, steps: int) -> Turn:
    """Start the processes of a contestant."""
    job = Job(kind, n, device, batch, steps)

    def turn() -> int:
        return job.turn()

    turn.job = job  # type: ignore[attr-defined]  # the processes live as long as the turn
    return turn


def work(kind: str, device: str, batch: int, steps: int) -> None:
    """Be one of the processes: do so many steps for every line on stdin."""
    import torch

    from alexnet.processes import join

    with join() as world:
        torch.set_num_threads(1)
        if device == "cuda":
            device = f"cuda:{world.local_rank}"
        step = make_ddp_step(world, device, batch) if kind == "ddp" else None
        step = step or make_step(kind, world, device, batch)
        step()
        while True:
            if device != "cpu":
                torch.cuda.synchronize()
            world.barrier()
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            if not sys.stdin.readline():
                return
            for _ in range(steps):
                step()


def make_batch(n: int, device: str, dtype: Any) -> tuple[Any, Any]:
    """Return random images and labels."""
    import torch

    images = torch.randn(n, 3, 224, 224, device=device, dtype=dtype)
    labels = torch.randint(0, CLASSES, (n,), device=device)
    return images.contiguous(memory_format=torch.channels_last), labels


def make_ddp_step(world: Any, device: str, batch: int) -> Callable[[], None]:
    """Return a step of DistributedDataParallel with this network, its kernels and fused SGD."""
    import torch
    from torch.nn.parallel import DistributedDataParallel

    from alexnet import device as devices
    from alexnet.recipes.recipe import Recipe
    from alexnet.training.loop import new_network

    machine = devices.set_up_machine(device, "auto")
    recipe = Recipe(batch_size=batch, initialization="variance")
    whole = devices.move_to_device(new_network(recipe, CLASSES).train(), machine)
    network = DistributedDataParallel(whole) if world.size > 1 else whole
    images, labels = make_batch(batch // world.size, device, machine.dtype)
    sgd = torch.optim.SGD(network.parameters(), 0.001, 0.9, weight_decay=5e-4, fused=True)

    def step() -> None:
        with machine.cast():
            loss = torch.nn.functional.cross_entropy(network(images).float(), labels)
        sgd.zero_grad()
        loss.backward()
        sgd.step()

    return step


def make_step(kind: str, world: Any, device: str, batch: int) -> Callable[[], None]:
    """Return a step as `alexnet train --devices KIND` does it."""
    from alexnet import device as devices
    from alexnet.recipes.recipe import Recipe
    from alexnet.training.division import make_division
    from alexnet.training.loop import new_network
    from alexnet.training.schedule import Rates

    machine = devices.set_up_machine(device, "auto")
    slices = SLICES if kind in ("replicas", "hybrid") else 1
    recipe = Recipe(batch_size=batch, initialization="variance", slices=slices)
    name: Any = {"one": None, "bucketed": "replicas"}.get(kind, kind)
    reduction: Any = "bucketed" if kind == "bucketed" else "tree"
    division = make_division(name, world, recipe, reduction=reduction)
    whole = new_network(recipe, CLASSES).train()
    network = devices.move_to_device(division.divide(whole), machine)
    sgd = division.make_sgd(network, recipe)
    images, labels = make_batch(len(division.find_rows(batch)), device, machine.dtype)
    step = division.make_step(network, sgd, machine, (batch, 3, 224, 224))
    rates = Rates(1e-3, 2e-3)
    key = iter(range(1 << 60))

    def do_step() -> None:
        step.begin(next(key), rates, batch)
        sgd.step(step(images, labels), rates)

    return do_step


def format_rows(contestants: list[Contestant]) -> list[str]:
    """Return a table: images per second, and efficiency relative to one process."""
    first = contestants[0]
    lines = [f"{'':<26}{'images/s':>22}{'efficiency':>26}"]
    for c in contestants:
        if c.error or not c.rates:
            lines.append(f"{c.name:<26}  not run: {c.error}")
            continue
        n = c.options["n"]
        parts = [own / (n * alone) for own, alone in zip(c.rates, first.rates, strict=False)]
        rate = f"{statistics.median(c.rates):.1f} [{min(c.rates):.1f}–{max(c.rates):.1f}]"
        share = f"{statistics.median(parts):.0%} [{min(parts):.0%}–{max(parts):.0%}]"
        lines.append(f"{c.name:<26}{rate:>22}{share:>26}")
    return lines


def main() -> None:
    """Compare all kinds with all numbers of processes."""
    if "--work" in sys.argv[1:2]:
        kind, device, batch, steps = sys.argv[2:]
        work(kind, device, int(batch), int(steps))
        return
    parser = options(__doc__, batch=64, steps=1, rounds=4)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=[*KINDS])
    given = parser.parse_args()
    contestants = [
        Contestant(
            f"{kind}, {n} process{'es' if n > 1 else ''}",
            prepare,
            {"kind": kind, "n": n, "batch": given.batch, "steps": given.steps},
        )
        for kind in dict.fromkeys(["one", *given.kinds])
        for n in COUNTS.get(kind, given.processes)
        if n in given.processes or kind == "one"
    ]
    facts = {"batch": given.batch, "slices": SLICES, "shared_cores": os.cpu_count()}
    with suppress(KeyboardInterrupt):
        keep = keeper(given.json, given.device, contestants, **facts)
        contest(contestants, given.rounds, given.device, keep)
    lines = [f"global batch {given.batch}; {os.cpu_count()} cores, shared by all processes", ""]
    report(given.json, given.device, contestants, lines + format_rows(contestants), **facts)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
