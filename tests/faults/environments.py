"""Kills and hostile inputs in every environment of tests/matrix.py, one after the other.

python -m tests.faults.environments --kills 20 --inputs 5000 --json-folder FOLDER
python -m tests.faults.environments avx2 without-numba
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.faults.machine import NAME
from tests.matrix import ENVIRONMENTS, ROOT, Environment


def programs(options: argparse.Namespace, environment: Environment, seed: int) -> list[list[str]]:
    """The programs of one environment, each with its record."""
    kills, inputs = str(options.kills), str(options.inputs)
    found = {
        "train": ["kills", "train", "--network", "small", "--kills", kills],
        "pack": ["kills", "pack", "--kills", kills],
        "fuzz": ["fuzz", "--inputs", inputs],
    }
    python = [sys.executable, "-W", "ignore::RuntimeWarning", "-m"]
    return [
        [*python, f"tests.faults.{words[0]}", *words[1:], "--seed", str(seed), "--json",
         str(options.json_folder / f"{environment.name}-{name}.json")]
        for name, words in found.items()
    ]  # fmt: skip


def run(options: argparse.Namespace, environment: Environment, seed: int) -> bool:
    """Run the programs of one environment; whether nothing was wrong."""
    variables = {**os.environ, **environment.settings, NAME: environment.name}
    paths = environment.settings.get("PYTHONPATH"), os.environ.get("PYTHONPATH")
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    variables["PYTHONHASHSEED"] = str(seed)
    good = True
    for program in programs(options, environment, seed):
        began = time.monotonic()
        done = subprocess.run(program, cwd=ROOT, env=variables, capture_output=True, text=True)
        seconds, last = time.monotonic() - began, (done.stdout.strip() or done.stderr).splitlines()
        print(f"{environment.name}: {program[4:7]} {seconds:.0f} s: {''.join(last[-1:])}")
        if done.returncode:
            print(done.stdout[-3000:] + done.stderr[-3000:])
        good &= done.returncode == 0
    return good


def main() -> int:
    """Run the environments asked for; 1 if anything was wrong."""
    parser = argparse.ArgumentParser("python -m tests.faults.environments", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    names = [environment.name for environment in ENVIRONMENTS]
    parser.add_argument("names", nargs="*", metavar="ENVIRONMENT", help=", ".join(names))
    parser.add_argument("--kills", type=int, default=20, help="of trainings, and of packings")
    parser.add_argument("--inputs", type=int, default=5000)
    folder = Path("benchmarks", "results", "faults")
    parser.add_argument("--json-folder", type=Path, default=folder, help=f"by default {folder}")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(names)):
        parser.error(f"no environment {', '.join(unknown)}: there are {', '.join(names)}")
    good = True
    for seed, environment in enumerate(ENVIRONMENTS, start=1):
        if not options.names or environment.name in options.names:
            good &= run(options, environment, seed)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
