"""Compare the speed of several programs fairly on a machine that other programs use too.

Every contestant runs in a process of its own, so that its memory and allocator are its own. They
take turns: A B C, A B C, … The ratio of a round compares turns that were next to each other in
time, so that slow changes of the machine's speed cancel; tables give the median ratio and its
range. On a GPU a turn is repeated until it takes TURN_SECONDS, because clocks take a while to
settle. All other benchmarks import this module.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from alexnet.device import read_processor_name

Turn = Callable[[], int]
"""A function that processes some images and returns their number. If it has an attribute `ready`,
that is called before the clock starts."""
TURN_SECONDS = 3.0
"""Minimum duration of a turn on a GPU. On a CPU the options of a benchmark determine it."""


@dataclass
class Contestant:
    """One program that is timed: `prepare(device, **options)` makes its turn in a new process."""

    name: str
    prepare: Callable[..., Turn]
    options: dict[str, Any] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)
    """Images per second, one number per round."""
    peak_resident: int = 0
    peak_device: int = 0
    error: str = ""

    def start(self, device: str) -> None:
        """Start the process and wait until it has warmed up."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        work = self.prepare, self.options, device
        self._process = context.Process(target=_work, args=(theirs, *work))
        self._process.start()
        theirs.close()  # otherwise recv() would not end when the process dies
        self._take()

    def turn(self) -> None:
        """Run one round and append its rate."""
        if not self.error:
            self._pipe.send("go")
            self._take()

    def _take(self) -> None:
        try:
            answer = self._pipe.recv()
        except EOFError:
            self._process.join()
            answer = {"error": f"its process died ({self._process.exitcode})"}
        self.error = answer.get("error", "")
        if "rate" in answer:
            self.rates.append(answer["rate"])
        self.peak_resident = answer.get("resident", 0)
        self.peak_device = answer.get("device", 0)

    def stop(self) -> None:
        """End the process and those that it started."""
        with suppress(OSError):  # the process has already ended
            self._pipe.send("stop")
        self._process.join(10)
        self._process.kill()
        self._process.join()


def _work(pipe: Connection, prepare: Callable[..., Turn], options: Any, device: str) -> None:
    try:
        turn = prepare(device, **options)
        ready = getattr(turn, "ready", lambda: None)
        ready()
        turn()
        on_gpu, times = device.startswith("cuda"), 1
        if on_gpu:
            ready()
            times = times_for(TURN_SECONDS, timed(turn, device)[1])
        pipe.send(memory(device))
        while pipe.recv() == "go":
            ready()
            images, seconds = timed(turn, device, times)
            pipe.send({"rate": images / seconds, **memory(device)})
    except Exception as error:  # noqa: BLE001 - a contestant that cannot run is a row that says so
        pipe.send({"error": f"{type(error).__name__}: {error}".splitlines()[0][:90]})


def timed(turn: Turn, device: str, times: int = 1) -> tuple[int, float]:
    """Run a turn `times` times; return its images and the seconds until the device has finished."""
    _wait(device)
    began = time.perf_counter()
    images = sum(turn() for _ in range(times))
    _wait(device)
    return images, time.perf_counter() - began


def times_for(least: float, once: float) -> int:
    """Return how often work of `once` seconds must be repeated to take at least `least` seconds."""
    return max(1, math.ceil(least / max(once, 1e-6)))


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def memory(device: str) -> dict[str, int]:
    """Return peak memory in bytes: resident (this process and its children) and on the GPU."""
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    resident += sum(_peak_of(child.pid) for child in multiprocessing.active_children())
    peak = torch.cuda.max_memory_allocated() if device.startswith("cuda") else 0
    return {"resident": resident, "device": peak}


def _peak_of(pid: int | None) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has ended, or this is not Linux
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def contest(
    contestants: list[Contestant],
    rounds: int,
    device: str,
    keep: Callable[[], None] = lambda: None,
) -> None:
    """Start all contestants, then give each a turn in every round. Call `keep` after each round."""
    with ExitStack() as started:
        for contestant in contestants:
            started.callback(contestant.stop)
            contestant.start(device)
        for _ in range(rounds):
            for contestant in contestants:
                contestant.turn()
            keep()


def ratio(one: Contestant, other: Contestant) -> tuple[float, float, float]:
    """Return median, minimum and maximum over rounds of the ratio of rates, one / other."""
    pairs = [a / b for a, b in zip(one.rates, other.rates, strict=False)]  # one may have died
    return statistics.median(pairs), min(pairs), max(pairs)


def table(contestants: list[Contestant], reference: Contestant) -> str:
    """Return a table, one row per contestant: images/s, ratio to the reference, peak memory."""
    lines = [f"{'':<46}{'images/s':>26}{'× reference':>22}{'resident':>10}{'device':>9}"]
    for c in contestants:
        if c.error or not c.rates:
            lines.append(f"{c.name:<46}  not run: {c.error}")
            continue
        rate = f"{statistics.median(c.rates):,.1f} [{min(c.rates):,.1f}–{max(c.rates):,.1f}]"
        times = "reference"
        if c is not reference and reference.rates:
            times = "{:.2f} [{:.2f}–{:.2f}]".format(*ratio(c, reference))
        memory = f"{c.peak_resident / 2**30:9.2f}G{c.peak_device / 2**30:8.2f}G"
        lines.append(f"{c.name:<46}{rate:>26}{times:>22}{memory}")
    return "\n".join(lines)


def verdict(what: str, found: float, target: float) -> str:
    """Return a line that says whether a target was met. Missed targets are reported as well."""
    return f"{'met   ' if found >= target else 'MISSED'}  {what}: {found:.2f} (target {target:.2f})"


def machine(device: str) -> dict[str, Any]:
    """Return date, machine, number of cores and threads, and version of torch."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else read_processor_name()
    return {
        "date": date.today().isoformat(),
        "machine": name,
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def options(doc: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """Return a parser of --device, --json, and one option for each of `defaults`."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cuda = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=cuda, help="cpu or cuda")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    for name, value in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    return parser


def report(
    path: Path | None, device: str, contestants: list[Contestant], lines: list[str], **more: Any
) -> None:
    """Print the lines and, if `path` is given, save everything there as finished."""
    print("\n".join(lines), flush=True)
    write_rows(path, device, contestants, printed=lines, finished=True, **more)


def keeper(
    path: Path | None, device: str, contestants: list[Contestant], **more: Any
) -> Callable[[], None]:
    """Return a function that saves the rounds so far, for a benchmark that may be stopped."""
    return lambda: write_rows(path, device, contestants, finished=False, **more)


def write_rows(path: Path | None, device: str, contestants: list[Contestant], **more: Any) -> None:
    """Write the rates of all contestants and the facts of the machine, if `path` is given."""
    if path is None:
        return
    rows = [
        {
            "name": c.name,
            "images_per_second": c.rates,
            "peak_resident": c.peak_resident,
            "peak_device": c.peak_device,
            "error": c.error,
        }
        for c in contestants
    ]
    write_json(path, {**machine(device), **more, "rows": rows})


def write_json(path: Path, found: dict[str, Any]) -> None:
    """Write a JSON file atomically: it is complete even if the program is killed meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(found, indent=1) + "\n")
    partial.replace(path)
