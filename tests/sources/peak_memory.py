"""Run with a path: opens it as a source, reads all its entries, prints what became of it.

One line of JSON: the bytes by which this process grew, how many things were used and for which
reasons others were not, and the error, if there was one.
"""

import json
import resource
import sys
from collections import Counter
from pathlib import Path

import numpy as np  # noqa: F401 - what is loaded before does not count

from alexnet.sources import Skipped, open_source


def peak() -> int:
    """Return the peak resident memory of this process, in bytes.

    Not `ru_maxrss` where Linux has something better: a new process begins with that of its parent.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(path: str) -> None:
    before, reasons, error = peak(), Counter(), ""
    try:
        source = open_source(path)
        for split in source.splits:
            for item in source.entries(split):
                reasons[item.reason if isinstance(item, Skipped) else "used"] += 1
    except (ValueError, OSError) as caught:
        error = str(caught)
    json.dump({"grown": peak() - before, "reasons": reasons, "error": error}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
