"""Everything that has to be measured on a GPU, within ten minutes, from the source tree alone.

python benchmarks/gpu.py --out results      # on the machine with the GPU; nothing to install
python benchmarks/gpu.py --dry --out tmp    # the same scripts on a CPU, with the tiniest sizes

First the checks, then one benchmark after the other, each in a process with a time limit. Every
one that finishes leaves a JSON file in the folder; `summary.json` says how each ended.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BATCHES = [128, 256, 512, 1024, 2048]


@dataclass(frozen=True)
class Part:
    """One script, what it is asked on a GPU and in a dry run, and the seconds it may take."""

    name: str
    script: str
    full: str
    dry: str
    seconds: float


PARTS = [
    Part("checks", "checks.py", "--images 16", "--images 2", 120),
    Part(
        "data",
        "train_step.py",
        f"--data --batch 128 --steps 64 --rounds 5 --batches {' '.join(map(str, BATCHES))}",
        "--data --batch 2 --steps 1 --rounds 1 --batches 2",
        170,
    ),
    Part("epoch", "epoch.py", "--batch {best}", "--batch {best} --images 5", 150),
    Part("epoch-128", "epoch.py", "--batch 128 --images 200000", "--batch 2 --images 3", 80),
    Part(
        "train_step",
        "train_step.py",
        "--batch 128 --steps 20 --rounds 8 "
        "--only eager compiled torchvision tuned ours ours-compiled product",
        "--batch 2 --rounds 1 --only ours product",
        140,
    ),
    Part("kernels", "kernels.py", "", "--batch 1 --rounds 1", 90),
    Part("small", "small.py", "--steps 50", "--batch 2 --steps 1 --rounds 1", 80),
    Part(
        "forward",
        "forward.py",
        "--batches 64 1024 --images 4096",
        "--batches 2 --images 2 --rounds 1",
        100,
    ),
    Part(
        "kernels-float32", "kernels.py", "--dtype float32 --batch 256", "--batch 1 --rounds 1", 60
    ),
]


class Session:
    """The parts that have run, and the time that is left."""

    def __init__(self, out: Path, device: str, minutes: float) -> None:
        self.out, self.device = out, device
        self.end = time.monotonic() + 60 * minutes
        self.ended: dict[str, dict[str, Any]] = {}

    def run(self, part: Part, dry: bool) -> None:
        """Run a part to its end or to its limit, whichever comes first."""
        options = (part.dry if dry else part.full).format(best=2 if dry else self.best())
        common = f"--device {self.device} --json {self.out / part.name}.json"
        left = min(part.seconds, self.end - time.monotonic())
        print(f"\n== {part.name}: {part.script} {options}", flush=True)
        began = time.monotonic()
        words = [*options.split(), *common.split()]
        how = limited([sys.executable, str(HERE / part.script), *words], left)
        seconds = time.monotonic() - began
        self.ended[part.name] = {"ended": how, "seconds": round(seconds, 1), "options": options}
        (self.out / "summary.json").write_text(json.dumps(self.ended, indent=1) + "\n")

    def best(self) -> int:
        """The best batch size that was found, or what usually is."""
        try:
            rows = json.loads((self.out / "data.json").read_text())["median"]
        except (OSError, ValueError, KeyError):
            return BATCHES[-2]
        mine = {name: rate for name, rate in rows.items() if name.startswith("ours")}
        return int(max(mine, key=mine.__getitem__).split()[-1]) if mine else BATCHES[-2]


def limited(command: list[str], seconds: float) -> str:
    """How a command ended, together with all processes that it has started."""
    if seconds <= 0:
        return "not started: no time left"
    source = str(HERE.parent / "src")
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}, start_new_session=True
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
    parser.add_argument("--out", type=Path, default=HERE / "results" / "gpu")
    parser.add_argument("--dry", action="store_true", help="on the CPU, with tiny sizes")
    parser.add_argument("--only", nargs="*", choices=[part.name for part in PARTS])
    parser.add_argument("--minutes", type=float, default=9.7)
    args = parser.parse_args()
    args.out = args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    session = Session(args.out, "cpu" if args.dry else "cuda", args.minutes)
    for part in PARTS:
        if part.name in (args.only or [part.name]):
            session.run(part, args.dry)
    print("\n== summary")
    for name, how in session.ended.items():
        print(f"{name:<18}{how['seconds']:>7.1f} s  {how['ended']}")
    if any(how["ended"] != "done" for how in session.ended.values()):
        sys.exit("not everything ended well: see above")


if __name__ == "__main__":
    main()
