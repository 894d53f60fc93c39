"""What this package and each of its extras weigh when they are installed.

python benchmarks/sizes.py --json benchmarks/results/sizes.json

Statement: the sizes that README gives beside the extras. An extra is what it needs beyond the base
installation: all requirements of its packages, in turn, as `importlib.metadata` knows them, without
what the base needs anyway. A distribution weighs the sum of its files, compiled bytecode left out.
The extras must be installed where this runs (`pip install -c constraints.txt '.[export,serve]'`);
one that is not whole is listed with what it lacks, and has no size.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from datetime import date
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

NAME = "alexnet"
OWN_EXTRAS = ("dev",)
"""Extras that are left out: they are for work on this package."""
LISTED = 4
"""The heaviest distributions of an extra that the table names."""


class Closure(NamedTuple):
    """The distributions that something needs."""

    found: dict[str, Distribution]
    """By normalized name."""
    missing: set[str]
    """Names of those that are not installed."""


def normalize(name: str) -> str:
    """Return the name of a distribution as all its spellings are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def collect_requirements(name: str, extras: frozenset[str] = frozenset()) -> Closure:
    """Return a distribution, with some of its extras, and all that it needs, in turn."""
    closure, seen = Closure({}, set()), set()
    waiting = [(normalize(name), extras)]
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found = distribution(name)
        except PackageNotFoundError:
            closure.missing.add(name)
            continue
        closure.found[name] = found
        for text in found.requires or ():
            needed = Requirement(text)
            if any(applies(needed, extra) for extra in extras or {""}):
                waiting.append((normalize(needed.name), frozenset(needed.extras)))
    return closure


def applies(requirement: Requirement, extra: str) -> bool:
    """Return whether a requirement holds on this machine, with this extra or, of "", without."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def count_bytes(found: Distribution) -> int:
    """Return the bytes of the files of a distribution that are there, without bytecode."""
    paths = (Path(str(found.locate_file(file))) for file in found.files or ())
    return sum(path.stat().st_size for path in paths if path.suffix != ".pyc" and path.is_file())


def measure_extras() -> list[dict[str, object]]:
    """Return a row for the base installation, and one for each extra beyond it."""
    base = collect_requirements(NAME)
    rows = [describe("", base)]
    for extra in distribution(NAME).metadata.get_all("Provides-Extra") or ():
        if extra in OWN_EXTRAS:
            continue
        whole = collect_requirements(NAME, frozenset({extra}))
        added = {name: x for name, x in whole.found.items() if name not in base.found}
        rows.append(describe(extra, Closure(added, whole.missing - base.missing)))
    return rows


def describe(extra: str, closure: Closure) -> dict[str, object]:
    """Return a row of the table: an extra ("" for the base), its size and its distributions."""
    sizes = {name: count_bytes(found) for name, found in closure.found.items()}
    ordered = dict(sorted(sizes.items(), key=lambda pair: -pair[1]))
    return {
        "extra": extra,
        "bytes": None if closure.missing else sum(sizes.values()),
        "distributions": ordered,
        "versions": {name: closure.found[name].version for name in ordered},
        "missing": sorted(closure.missing),
    }


def format_rows(rows: list[dict[str, object]]) -> list[str]:
    """Return the lines of the table."""
    lines = [f"{'installed':<16}{'MB':>8}{'packages':>10}  the heaviest, in MB"]
    for row in rows:
        sizes: dict[str, int] = row["distributions"]  # type: ignore[assignment]
        size = f"{row['bytes'] / 1e6:.0f}" if row["bytes"] is not None else "?"  # type: ignore[operator]
        heavy = ", ".join(f"{name} {size / 1e6:.0f}" for name, size in [*sizes.items()][:LISTED])
        if row["missing"]:
            heavy = f"not installed: {', '.join(row['missing'])}"  # type: ignore[arg-type]
        title = f"+ [{row['extra']}]" if row["extra"] else NAME
        lines.append(f"{title:<16}{size:>8}{len(sizes):>10}  {heavy}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", type=Path, help="write the sizes to this file")
    args = parser.parse_args()
    rows = measure_extras()
    print("\n".join(format_rows(rows)))
    if args.json is not None:
        facts = {
            "date": str(date.today()),
            "platform": sys.platform,
            "python": sys.version.split()[0],
            "torch": version("torch"),
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
