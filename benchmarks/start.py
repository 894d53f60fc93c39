"""Start-up time of commands and imports, compared with Python and PyTorch themselves.

    python benchmarks/start.py --json benchmarks/results/start.json

Statement: help and usage errors appear without the time that importing torch takes. Whole processes
are timed in wall seconds. They take turns, and the first round is not counted.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from interleave import options, report

STARTS = {
    "python -c pass": "pass",
    "import numpy": "import numpy",
    "import torch": "import torch",
    "import alexnet": "import alexnet",
    "alexnet --help": "from alexnet.cli import main; main(['--help'])",
    "alexnet trian (a usage error)": "from alexnet.cli import main; main(['trian'])",
    "import alexnet; alexnet.Classifier": "import alexnet; alexnet.Classifier",
    "import alexnet; alexnet.train": "import alexnet; alexnet.train",
    "alexnet networks": "from alexnet.cli import main; main(['networks', '--layers', 'cifar'])",
}


def time_process(code: str) -> float:
    """Return the wall time of a process that runs this code, in seconds."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    args = options(__doc__, rounds=7).parse_args()
    found: dict[str, list[float]] = {name: [] for name in STARTS}
    for round_number in range(args.rounds + 1):
        for name, code in STARTS.items():
            took = time_process(code)
            if round_number:
                found[name].append(took)
    lines = [f"{'':<38}{'seconds':>10}{'least':>9}{'most':>9}{'× import torch':>17}"]
    for name, times in found.items():
        pairs = [a / b for a, b in zip(times, found["import torch"], strict=True)]
        lines.append(
            f"{name:<38}{statistics.median(times):10.2f}{min(times):9.2f}{max(times):9.2f}"
            f"{statistics.median(pairs):17.2f}"
        )
    report(args.json, args.device, [], lines, seconds=found)


if __name__ == "__main__":
    main()
