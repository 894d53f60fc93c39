"""A process of a job that watches the others, as a program: `python -m tests.watched FOLDER`.

Rank and size come from the environment, as torchrun sets them. Without torch, ranks meet in FOLDER:
each writes a file and waits for those of all. It prints `ready`, then obeys lines on stdin:

    leave           says goodbye and ends with status 0
    fail TEXT       tells the others an error, prints it and ends with status 1
    exit            ends with status 0 without a goodbye, as a program with a fault would
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from alexnet.heartbeats import start_watch


def gather(folder: Path, rank: int, size: int, value: dict[str, Any]) -> list[dict[str, Any]]:
    """The values of all ranks, which each writes to a file of its own."""
    draft = folder / f".{rank}"
    draft.write_text(json.dumps(value))
    draft.rename(folder / str(rank))
    paths = [folder / str(other) for other in range(size)]
    while not all(path.exists() for path in paths):
        time.sleep(0.01)
    return [json.loads(path.read_text()) for path in paths]


def main() -> None:
    """Join, say `ready`, and obey."""
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    size = int(os.environ["WORLD_SIZE"])
    address = os.environ.get("MASTER_ADDR", "localhost")
    watch = start_watch(rank, size, lambda value: gather(folder, rank, size, value), address)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    word, _, rest = (sys.stdin.readline() or "wait").strip().partition(" ")
    if word == "wait":  # for the end that the watch makes
        time.sleep(600)
    if watch is not None and word != "exit":
        watch.leave(rest)
    if word == "fail":
        sys.exit(f"alexnet: {rest}")
    os._exit(0)


if __name__ == "__main__":
    main()
