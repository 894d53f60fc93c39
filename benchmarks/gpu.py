"""Run all benchmarks that need a GPU, in two calls of less than ten minutes each.

python benchmarks/gpu.py --call 1 --out results    # on the machine with the GPU
python benchmarks/gpu.py --call 2 --out results
python benchmarks/gpu.py --call 1 --dry --out tmp  # the same scripts on a CPU, with tiny sizes

Needs torch, Triton, Numba, Pillow and safetensors; this package need not be installed. The first
call starts with `checks.py`. Then the benchmarks run, each in a process with a time limit. Each
saves its rows after every round, so that a part that is stopped leaves the rounds it finished.
After every part, two files are written again:

    summary-1.json       how each part ended, and the end of what it printed
    results-1.tar.gz     the JSON files and the whole output of all parts
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BATCHES = [128, 256, 512, 1024, 2048]
MINUTES = 9.4
"""Time limit of a call. Machines often allow ten minutes per command."""
DRY_TIMES = 5
"""Factor of the time limits in a dry run, because compiling kernels on a CPU takes longer."""
LINES = 60
"""Number of lines of a part's output that the summary keeps."""


@dataclass(frozen=True)
class Part:
    """A script, its options on a GPU and in a dry run, and its time limit in seconds."""

    name: str
    script: str
    full: str
    dry: str
    seconds: float


CALLS: dict[int, list[Part]] = {
    1: [
        Part("checks", "checks.py", "--images 16", "--images 2", 135),
        Part(
            "data",
            "train_step.py",
            f"--data --batch 128 --steps 64 --rounds 4 --batches {' '.join(map(str, BATCHES))}",
            "--data --batch 2 --steps 1 --rounds 1 --batches 2",
            175,
        ),
        Part("epoch", "epoch.py", "--batch {best}", "--batch {best} --images 5", 95),
        Part("epoch-128", "epoch.py", "--batch 128 --images 200000", "--batch 2 --images 3", 45),
        Part(
            "streamed",
            "epoch.py",
            "--batch {best} --images 200000 --resident no",
            "--batch 2 --images 3 --resident no",
            45,
        ),
        Part(
            "forward",
            "forward.py",
            "--batches 1024 --images 4096 --rounds 3",
            "--batches 2 --images 2 --rounds 1",
            60,
        ),
    ],
    2: [
        Part(
            "train_step",
            "train_step.py",
            "--batch 128 --steps 20 --rounds 5 --only eager-bf16 ours eager tuned product",
            "--batch 2 --rounds 1 --only ours product",
            140,
        ),
        Part("layers", "layers.py", "--batch 128 --rounds 4", "--batch 1 --rounds 1", 75),
        Part("kernels", "kernels.py", "--rounds 4", "--batch 1 --rounds 1", 65),
        Part("small", "small.py", "--steps 50 --rounds 4", "--batch 2 --steps 1 --rounds 1", 70),
        Part(
            "compiled",
            "train_step.py",
            "--batch 128 --steps 20 --rounds 4 --only eager-bf16 compiled-bf16 ours-compiled",
            "--batch 2 --rounds 1 --only ours",
            160,
        ),
        Part(
            "kernels-float32",
            "kernels.py",
            "--dtype float32 --batch 256 --rounds 4",
            "--batch 1 --rounds 1",
            45,
        ),
    ],
}


class Session:
    """The state of a call: how each part ended, and when the call must end."""

    def __init__(self, call: int, out: Path, parts: Path, device: str, minutes: float) -> None:
        self.call, self.out, self.device = call, out, device
        self.parts = parts
        """The folder that the parts write to; `save` packs it into one archive."""
        self.end = time.monotonic() + 60 * minutes
        self.ended: dict[str, dict[str, Any]] = {}

    def run(self, part: Part, dry: bool) -> None:
        """Run a part until it ends or reaches its time limit, then save all results so far."""
        options = (part.dry if dry else part.full).format(best=2 if dry else self.find_best_batch())
        common = f"--device {self.device} --json {self.parts / part.name}.json"
        seconds = part.seconds * (DRY_TIMES if dry else 1)
        left = min(seconds, self.end - time.monotonic())
        print(f"\n== {part.name}: {part.script} {options}", flush=True)
        begin = time.monotonic()
        words = [*options.split(), *common.split()]
        log = self.parts / f"{part.name}.txt"
        outcome = run_limited([sys.executable, str(HERE / part.script), *words], left, log)
        printed = log.read_text(errors="replace") if log.exists() else ""
        print(printed, end="")
        self.ended[part.name] = {
            "ended": outcome,
            "seconds": round(time.monotonic() - begin, 1),
            "options": options,
            "printed": printed.splitlines()[-LINES:],
        }
        self.save()

    def save(self) -> None:
        """Write the summary, and one archive of all results."""
        summary = json.dumps(self.ended, indent=1, ensure_ascii=False)
        replace_file(self.out / f"summary-{self.call}.json", summary.encode() + b"\n")
        packed = self.parts / "all.tar.gz"
        with tarfile.open(packed, "w:gz") as archive:
            for path in sorted(self.parts.iterdir()):
                if path.suffix in (".json", ".txt"):
                    archive.add(path, f"call-{self.call}/{path.name}")
        replace_file(self.out / f"results-{self.call}.tar.gz", packed.read_bytes())

    def find_best_batch(self) -> int:
        """Return the batch size that was fastest in the part `data`, or 1024 without it."""
        try:
            rows = json.loads((self.parts / "data.json").read_text())["rows"]
        except (OSError, ValueError, KeyError):
            return BATCHES[-2]
        rates = {
            int(row["name"].split()[-1]): statistics.median(row["images_per_second"])
            for row in rows
            if row["name"].startswith("ours") and row["images_per_second"]
        }
        return max(rates, key=rates.__getitem__) if rates else BATCHES[-2]


def replace_file(path: Path, content: bytes) -> None:
    """Write a file atomically: it is complete even if the program is killed meanwhile."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def run_limited(command: list[str], seconds: float, log: Path) -> str:
    """Run a command for at most `seconds`, with its output in the file `log`; return how it ended.

    At the limit, the command and all processes that it started are killed.
    """
    if seconds <= 0:
        return "not started: no time left"
    source = str(HERE.parent / "src")
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"stopped after {seconds:.0f} s"
    return "done" if code == 0 else f"failed ({code})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--call", type=int, choices=CALLS, required=True)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "gpu")
    parser.add_argument("--dry", action="store_true", help="run on the CPU with tiny sizes")
    names = [part.name for parts in CALLS.values() for part in parts]
    parser.add_argument("--only", nargs="*", choices=names, help="run only these parts of the call")
    parser.add_argument(
        "--minutes", type=float, help=f"time limit of the whole call (default: {MINUTES})"
    )
    args = parser.parse_args()
    minutes = args.minutes or MINUTES * (DRY_TIMES if args.dry else 1)
    args.out = args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    device = "cpu" if args.dry else "cuda"
    with tempfile.TemporaryDirectory() as parts:
        session = Session(args.call, args.out, Path(parts), device, minutes)
        for part in CALLS[args.call]:
            if part.name in (args.only or [part.name]):
                session.run(part, args.dry)
    print("\n== summary")
    for name, outcome in session.ended.items():
        print(f"{name:<18}{outcome['seconds']:>7.1f} s  {outcome['ended']}")
    if any(outcome["ended"] != "done" for outcome in session.ended.values()):
        sys.exit("not every part succeeded: see the summary above")


if __name__ == "__main__":
    main()
