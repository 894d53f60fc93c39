"""Run the tests that depend on the processor again in other environments, one after the other.

python tests/matrix.py             # all of them: about ten minutes on two cores
python tests/matrix.py avx2 1-thread
python tests/matrix.py --list

`make test` runs all tests once in the normal environment. Here torch, oneDNN, MKL and Numba are
restricted to fewer instructions than this processor has, the number of threads is changed, or Numba
is missing; every environment has another seed of Python's hashes. The environments that failed are
listed at the end, with the command that runs them again.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
NUMERIC = (
    "tests/kernels",
    "tests/nets",
    *(
        "tests/training/test_repeat.py",
        "tests/training/test_sgd.py",
        "tests/training/test_memory.py",
    ),
    *("tests/test_processor.py", "tests/test_device.py"),
    *("tests/evaluation/test_counts.py", "tests/evaluation/test_same_pixels.py"),
    *(
        "tests/batches/test_augment.py",
        "tests/batches/test_epochs.py",
        "tests/batches/test_views.py",
        "tests/images/test_records.py",
        "tests/images/test_resizing.py",
    ),
    *(
        "tests/images/test_decoding.py",
        "tests/images/test_jpeg.py",
        "tests/images/test_memory.py",
        "tests/images/test_modes.py",
        "tests/images/test_orientation.py",
        "tests/packing/test_direct.py",
        "tests/packing/test_without_numba.py",
    ),
)
"""Tests of numerical code. The other tests do not depend on instruction sets or threads."""


@dataclass(frozen=True)
class Environment:
    """Environment variables that are set while the tests run."""

    name: str
    settings: dict[str, str]
    options: tuple[str, ...] = field(default=())
    """Additional options of pytest."""


ENVIRONMENTS = [
    Environment("aten-default", {"ATEN_CPU_CAPABILITY": "default"}),
    Environment("avx2", {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    Environment("mkl-compatible", {"MKL_CBWR": "COMPATIBLE"}),
    Environment("numba-generic", {"NUMBA_CPU_NAME": "generic"}),
    Environment("1-thread", {"OMP_NUM_THREADS": "1"}),
    Environment("3-threads", {"OMP_NUM_THREADS": "3"}),
    Environment(
        "without-numba",
        {"PYTHONPATH": str(ROOT / "tests" / "without_numba")},
        ("-W", "ignore:numba cannot be imported:RuntimeWarning"),
    ),
]


def run(environment: Environment, seed: int, workers: str) -> bool:
    """Run the tests in one environment; return whether they passed."""
    settings = {**environment.settings, "PYTHONHASHSEED": str(seed)}
    if path := os.environ.get("PYTHONPATH"):
        settings["PYTHONPATH"] = os.pathsep.join(filter(None, [settings.get("PYTHONPATH"), path]))
    words = [
        "-m",
        "pytest",
        "-q",
        "-m",
        "not slow and not faults",
        "-n",
        workers,
        *environment.options,
        *NUMERIC,
    ]
    shown = [f"{name}={shlex.quote(value)}" for name, value in settings.items()]
    print(f"== {environment.name}: {' '.join(shown)} python {shlex.join(words)}", flush=True)
    start = time.monotonic()
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env={**os.environ, **settings})
    outcome = "passed" if done.returncode == 0 else f"FAILED ({done.returncode})"
    print(f"== {environment.name}: {outcome} in {time.monotonic() - start:.0f} s", flush=True)
    return done.returncode == 0


def main() -> None:
    """Run the environments that are named, by default all. Exits with 1 if one failed."""
    names = [environment.name for environment in ENVIRONMENTS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="ENVIRONMENT", help=", ".join(names))
    parser.add_argument(
        "--list", action="store_true", help="print the names of the environments and exit"
    )
    parser.add_argument(
        "-n", dest="workers", default="2", help="number of pytest processes (default: 2)"
    )
    args = parser.parse_args()
    if unknown := set(args.names) - set(names):
        parser.error(f"no environment is called {', '.join(unknown)}; there are {', '.join(names)}")
    if args.list:
        print("\n".join(names))
        return
    failed = [
        environment.name
        for seed, environment in enumerate(ENVIRONMENTS)
        if (not args.names or environment.name in args.names)
        and not run(environment, seed, args.workers)
    ]
    if failed:
        sys.exit(
            f"failed in: {', '.join(failed)}. Repeat: python tests/matrix.py {' '.join(failed)}"
        )


if __name__ == "__main__":
    main()
