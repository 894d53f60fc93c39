"""Where a measurement comes from: its images, command, commit, machine, versions and date.

`measuring` stores these facts in every measurement and `page` prints them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alexnet.claims.trainings import MeasurementSettings
    from alexnet.packs.pack import Pack

NAMES = {"ilsvrc2010": "ILSVRC-2010", "ilsvrc2012": "ILSVRC-2012", "cifar10": "CIFAR-10"}
"""The names of datasets by the kind of their source; others are called by their folder."""


def describe_pack(pack: Pack) -> dict[str, Any]:
    """Return the facts about a pack that are saved with a measurement."""
    kind = pack.source["kind"]
    return {
        "name": NAMES.get(kind, Path(pack.source["path"]).name),
        "kind": kind,
        "images": len(pack.splits["train"]),
        "measured": {name: len(split) for name, split in pack.splits.items() if name != "train"},
        "classes": len(pack.classes),
        "size": pack.size,
        "checksum": pack.checksum,
    }


def describe_origin(settings: MeasurementSettings) -> dict[str, Any]:
    """Return date, commit, machine, versions and command; precision is that of the trainings."""
    from alexnet import device as devices
    from alexnet import runs

    facts = devices.describe_machine(devices.set_up_machine(settings.device, settings.precision))
    if settings.run is not None:
        facts["precision"] = runs.read_environment(settings.run).get("precision")
    command = ["alexnet", *(word for word in sys.argv[1:] if word != "--json")]
    date = time.strftime("%Y-%m-%d")
    return {"date": date, "commit": read_commit(), **facts, "command": command}


def read_commit() -> str | None:
    """Return the commit of the source that runs, "-dirty" if it was changed; None if unknown."""
    source = Path(__file__)
    try:
        # Fails if git does not track this file, as in an environment inside another repository.
        _run_git(source.parent, "ls-files", "--error-unmatch", source.name)
        return _run_git(source.parent, "describe", "--always", "--dirty", "--abbrev=12")
    except (OSError, subprocess.SubprocessError):
        return None


def _run_git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
